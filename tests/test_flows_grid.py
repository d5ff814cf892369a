"""The embedded grid when a cell fails: the others finish, are logged and reported; nothing is promoted.

Slow: an embedded Prefect server is started in a process of its own.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from flows_checkout import checkout, environment, evaluated, sgm

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

# The command line with an executor that fails one cell, and one sampler of the comparison.
FLAKY = """
import sys
from flows import executors
from sgm_core.errors import SgmError

class Flaky(executors.InProcess):
    def run(self, job, emit):
        if job.spec.name.startswith("ve-"):
            emit({"event": "progress", "phase": "train", "step": 1, "steps": 60, "loss": 1.5})
            raise SgmError(f"cell {job.spec.name}: the loss is not finite at step 2")
        if job.evaluation.get("samplers") == ["heun"]:
            raise SgmError(f"cell {job.spec.name}: memory ran out")
        return super().run(job, emit)

executors.default_executor = lambda *args, **options: Flaky()
from flows.cli import main
main()
"""


def test_one_failing_cell(tmp_path: Path) -> None:
    folder = checkout(tmp_path / "project")
    params = folder / "params.yaml"
    params.write_text(params.read_text().replace("samplers: [ddim]", "samplers: [ddim, heun]"))
    for stage in ("prepare", "reference"):
        assert sgm(folder, stage, "rolls").returncode == 0

    done = _flaky(folder, "grid", "rolls")
    assert done.returncode == 1
    assert "2 of 3 cells of rolls are finished and reported" in done.stderr
    assert "failed: ve-mlp-s0: the loss is not finite at step 2" in done.stderr
    assert "heun of vp-mlp-s0: memory ran out" in done.stderr
    assert (folder / "reports" / "rolls" / "samplers.png").is_file(), "the other one is shown"
    assert "Traceback" not in done.stderr
    assert evaluated(folder) == ["subvp-mlp-s0", "vp-mlp-s0"]
    board = (folder / "reports" / "rolls" / "leaderboard.md").read_text()
    assert "the loss is not finite" in board
    client, runs = _runs(folder)
    assert runs["ve-mlp-s0"].info.status == "FAILED"
    assert runs["ve-mlp-s0"].data.tags["sgm.error"].endswith("not finite at step 2")
    assert runs["vp-mlp-s0"].info.status == "FINISHED"
    assert not client.search_registered_models()
    states = dict.fromkeys(("vp-mlp-s0", "subvp-mlp-s0"), "Completed")
    states |= dict.fromkeys(("ve-mlp-s0", "grid-0"), "Failed")
    assert _tasks(folder) == states, "all are known to Prefect when the command has ended"

    done = sgm(folder, "publish", "rolls")
    assert done.returncode == 1
    assert "1 of 3 cells are not finished (ve-mlp-s0)" in done.stderr

    done = _flaky(folder, "grid", "rolls", "--allow-failures")
    assert done.returncode == 1
    assert "is the new champion" in done.stdout

    failed_run = runs["ve-mlp-s0"].info.run_id
    done = sgm(folder, "grid", "rolls")
    assert done.returncode == 0, done.stderr
    _, runs = _runs(folder)
    assert len(runs) == 4, "the failed run was taken over"
    assert runs["ve-mlp-s0"].info.run_id == failed_run
    assert {run.info.status for run in runs.values()} == {"FINISHED"}


def _flaky(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", FLAKY, *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )


def _tasks(folder: Path) -> dict[str, str]:
    with sqlite3.connect(folder / ".sgm" / "prefect" / "prefect.db") as database:
        return dict(database.execute("SELECT name, state_name FROM task_run"))


def _runs(folder: Path):  # type: ignore[no-untyped-def]
    from mlflow import MlflowClient

    uri = f"sqlite:///{folder}/.sgm/mlflow.db"
    client = MlflowClient(uri, uri)
    experiment = client.get_experiment_by_name("rolls")
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id])
    assert len({run.info.run_name for run in found}) == len(found)
    return client, {run.info.run_name: run for run in found}
