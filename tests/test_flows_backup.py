"""A laptop's backup: copies of the cells, of the database of runs and of its artifacts. Slow."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from flows_checkout import checkout, finished, sgm

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
COPIED = ("store", "mlflow.db", "mlartifacts")


def copy(source: Path, target: Path) -> None:
    target.mkdir(parents=True)
    for name in COPIED:
        place = source / name
        (shutil.copytree if place.is_dir() else shutil.copy2)(place, target / name)


def test_a_lost_disk_comes_back_and_goes_on(tmp_path: Path) -> None:
    folder, backup = checkout(tmp_path / "project"), tmp_path / "backup"
    done = sgm(folder, "run", "again")
    assert done.returncode == 0, done.stdout + done.stderr
    before, history = finished(folder), sgm(folder, "history", "again").stdout
    assert "is the first champion" in history
    copy(folder / ".sgm", backup)
    shutil.rmtree(folder)

    checkout(folder)
    copy(backup, folder / ".sgm")
    for stage in ("prepare", "reference"):
        assert sgm(folder, stage, "again").returncode == 0
    assert sgm(folder, "history", "again").stdout == history
    done = sgm(folder, "grid", "again")
    assert done.returncode == 0, done.stdout + done.stderr
    assert finished(folder) == before, "nothing was trained again"
    arguments = ["sample", "models:/sgm-again@champion", "--n", "3", "--out", "x.npy"]
    done = sgm(folder, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "x.npy").is_file()
