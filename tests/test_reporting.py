"""The report of a grid is drawn by a process of its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flows import reporting
from flows.project import Project
from flows.searching import Searched
from sgm_core.errors import SgmError


def killed(*_: object) -> None:
    os.kill(os.getpid(), 9)


def refused(*_: object) -> None:
    raise SgmError("the disk is full")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.delenv("SGM_HOME", raising=False)
    (tmp_path / "params.yaml").touch()
    return Project.at(tmp_path)


def write(project: Project) -> None:
    class Nothing(Searched):
        all_jobs, finals, cheap = [], {}, []  # type: ignore[assignment]

    reporting.write_report(project, Nothing([]), {}, "rolls", None)


def test_one_whose_process_is_killed_is_one_sentence(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reporting, "_written", killed)
    with pytest.raises(SgmError, match="report of rolls is not written.*killed; run again"):
        write(project)


def test_an_error_keeps_its_sentence(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporting, "_written", refused)
    with pytest.raises(SgmError, match="^the disk is full$"):
        write(project)
