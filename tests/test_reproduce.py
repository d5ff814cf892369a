"""`sgm reproduce`: a champion trained again in a clean clone; what is other is named."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from flows_checkout import checkout, sgm

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A committed checkout whose experiment `again` has a champion."""
    folder = checkout(tmp_path_factory.mktemp("reproduce") / "project", steps=120)
    (folder / ".gitignore").write_text(".sgm/\n/data/prepared/\n/data/reference/\n/reports/\n")
    commit(folder)
    done = sgm(folder, "run", "again")
    assert done.returncode == 0, done.stderr
    assert "is the new champion" in done.stdout
    return folder


def commit(folder: Path) -> None:
    for command in (["add", "-A"], ["commit", "-qm", "state"]):
        git = ["git", "-c", "user.name=t", "-c", "user.email=t@t", *command]
        subprocess.run(git, cwd=folder, check=True)


def test_the_same_weights_come_out_of_the_commit(project: Path, tmp_path: Path) -> None:
    # Whatever the checkout has become since then.
    params = project / "params.yaml"
    text = params.read_text()
    params.write_text(text.replace("steps: 120", "steps: 130"))
    done = sgm(project, "reproduce", "models:/sgm-again@champion", "--into", str(tmp_path / "w"))
    params.write_text(text)
    assert done.returncode == 0, done.stderr
    last = done.stdout.splitlines()[-1]
    assert "version 1 of sgm-again is reproduced" in last and "the same weights, SHA-256" in last
    assert (tmp_path / "w" / "clone" / "sgm_core").is_dir()
    # The folder is kept, and going on with it finds the training finished.
    done = sgm(project, "reproduce", "models:/sgm-again/1", "--into", str(tmp_path / "w"))
    assert done.returncode == 0, done.stderr


def test_code_that_was_not_committed_is_named(project: Path) -> None:
    trainer = project / "sgm_core" / "train" / "run.py"
    text = trainer.read_text()
    edited = text.replace('int(spec["seed"]), device', 'int(spec["seed"]) + 1, device')
    assert edited != text
    trainer.write_text(edited)
    try:
        done = sgm(project, "run", "again")
        assert done.returncode == 0, done.stderr
    finally:
        trainer.write_text(text)
    done = sgm(project, "reproduce", "models:/sgm-again/2")
    assert done.returncode == 1
    assert "version 2 of sgm-again cannot be trained again from" in done.stderr
    assert "the code of sgm_core (the tree had changes that are not committed)" in done.stderr


def test_data_that_changed_is_named(tmp_path: Path) -> None:
    folder = checkout(tmp_path / "project", steps=60)
    raw = folder / "data" / "raw" / "points.csv"
    rows = np.random.default_rng(0).standard_normal((300, 2))
    np.savetxt(raw, rows, delimiter=",", header="x,y", comments="")
    params = folder / "params.yaml"
    mine = "{kind: table, path: data/raw/points.csv}"
    params.write_text(re.sub(r"\{kind: swiss_roll.*\}", mine, params.read_text()))
    (folder / ".gitignore").write_text(".sgm/\n/data/\n/reports/\n")
    commit(folder)
    done = sgm(folder, "run", "again")
    assert done.returncode == 0, done.stderr
    # Raw data that is not in git is taken from the project's folder.
    done = sgm(folder, "reproduce", "models:/sgm-again@champion")
    assert done.returncode == 0, done.stderr
    rows[7, 1] += 1e-3
    np.savetxt(raw, rows, delimiter=",", header="x,y", comments="")
    done = sgm(folder, "reproduce", "models:/sgm-again@champion")
    assert done.returncode == 1
    assert "the data of again is not what the version was trained on" in done.stderr
    assert "restore data/raw (dvc pull)" in done.stderr


def test_without_git_there_is_no_lineage_to_clone(tmp_path: Path) -> None:
    folder = checkout(tmp_path / "project", steps=60, git=False)
    done = sgm(folder, "run", "again")
    assert done.returncode == 0, done.stderr
    done = sgm(folder, "reproduce", "models:/sgm-again@champion")
    assert done.returncode == 1
    assert "was published from a folder without git; it has no commit to clone" in done.stderr
    assert "Traceback" not in done.stderr
