"""The worker process by itself."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from fake_tree import PYTHON, environment, inherited, make_job, make_tree

WORKER = [PYTHON, "-P", "-m", "sgm_core.worker"]


def test_a_worker_whose_parent_died_while_it_started_ends(tmp_path: Path) -> None:
    job = make_job(tmp_path, steps=100_000)
    (tmp_path / "job.json").write_text(job.to_json())
    dead = subprocess.Popen(["true"])
    dead.wait()
    variables = environment(
        make_tree(tmp_path), tmp_path, SGM_PARENT_PID=str(dead.pid), FAKE_STEP="0.01"
    )
    worker = subprocess.Popen(
        [*WORKER, str(tmp_path / "job.json")], env=inherited(**variables), stdout=subprocess.PIPE
    )
    worker.communicate(timeout=20)
    assert worker.returncode == 143


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "usage: python -m sgm_core.worker JOB.json"),
        (["no.json"], "no.json: the job cannot be read"),
        (["-"], "not a job"),
    ],
)
def test_a_worker_without_a_job_says_so(
    tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    done = subprocess.run(
        [*WORKER, *arguments],
        input="{}",
        capture_output=True,
        text=True,
        env=inherited(**environment(make_tree(tmp_path), tmp_path)),
        check=False,
    )
    assert done.returncode == 2
    event = json.loads(done.stdout)
    assert event["event"] == "error"
    assert sentence in event["message"]
    assert done.stderr.strip() == event["message"]
