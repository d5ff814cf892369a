"""An agent computes only what it finds to be the cell that the grid asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fake_tree import make_job

from flows import agreement
from flows.agreement import key_of, origin, refusal
from flows.pool import _expected
from sgm_core import spec

HERE = {"host": "h2", "commit": "commit aaaaaaaaaaaa", "torch": "torch 2.15"}
THERE = {"host": "h1", "commit": "commit bbbbbbbbbbbb", "torch": "torch 2.15"}
START = "the agent on h2 would compute another cell: it has "


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "origin", lambda: HERE)


@pytest.mark.parametrize(
    ("there", "words"),
    [
        (
            {},
            "commit aaaaaaaaaaaa, and the grid on h1 has commit bbbbbbbbbbbb; run there: "
            "git stash && git fetch && git checkout bbbbbbbbbbbb && make env",
        ),
        (
            {"commit": "commit bbbbbbbbbbbb with edits"},
            "commit aaaaaaaaaaaa, and the grid on h1 has commit bbbbbbbbbbbb with edits; commit what "
            "is edited where the grid runs, and get that commit there",
        ),
        (
            {"torch": "torch 2.13"},
            "torch 2.15, and the grid on h1 has torch 2.13; run there: make env",
        ),
    ],
)
def test_other_code_is_refused_with_what_to_do(
    tmp_path: Path, here: None, monkeypatch: pytest.MonkeyPatch, there: dict[str, str], words: str
) -> None:
    job, asked = make_job(tmp_path), THERE | there
    expected = _expected(job)
    assert expected == {"name": "vp-mlp-s0", "key": key_of(job), "reference": "e" * 64}
    assert refusal(job, expected["key"], asked) == "", (
        "the commit may differ where the key does not"
    )
    assert refusal(None, "", asked) == START + words, "a job that cannot be read is of other code"
    monkeypatch.setattr(spec, "closure_hash", lambda modules: "edited")
    assert refusal(job, expected["key"], asked) == START + words


def test_an_evaluation_of_other_code_is_refused_too(
    tmp_path: Path, here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, real = make_job(tmp_path), spec.closure_hash
    key = key_of(job)

    def edited(modules: Any) -> str:
        return "edited" if "sgm_core.evaluate.run" in modules else real(modules)

    monkeypatch.setattr(spec, "closure_hash", edited)
    assert refusal(job, key, THERE).startswith(START)


def test_the_origin_names_the_commit_of_the_code() -> None:
    found = origin()
    assert set(found) == {"host", "commit", "torch"}
    assert found["commit"].startswith(("commit ", "code without a commit"))
