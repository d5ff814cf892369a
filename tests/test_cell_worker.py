"""The worker process by itself."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
from fake_tree import PYTHON, environment, inherited, make_job, make_tree

from sgm_core.renew import absent

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


LOADED = """
import sys
from pathlib import Path
from sgm_core.cell import Job, load
load(Job.from_json(Path(sys.argv[1]).read_text()))
found = [name for name in ("ot", "sgm_core.report.drawing", *sys.argv[2:]) if name in sys.modules]
import numpy as np
import networkx, sklearn.cluster
from sgm_core.evaluate.points import Points, exact_w2
x = Points(np.random.default_rng(0).normal(size=(50, 2)))
assert exact_w2(x, Points(x.x + 3.0)).value > 4.2
print(*found)
"""


@pytest.mark.parametrize("own", [False, True])
def test_what_pot_can_do_without_is_not_loaded_and_can_be_imported_later(
    tmp_path: Path, own: bool
) -> None:
    job = make_job(tmp_path)
    if own:  # a process of the user's own may ask POT for any solver
        job = dataclasses.replace(job, modules=tmp_path)
    file, unused = tmp_path / "job.json", ["sklearn", "networkx"]
    file.write_text(job.to_json())
    command = [sys.executable, "-c", LOADED, str(file), *unused]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["ot", "sgm_core.report.drawing", *(unused if own else [])]


def test_only_what_is_not_imported_yet_is_absent() -> None:
    assert "wave" not in sys.modules
    with absent("json", "wave"):
        assert __import__("json") is json
        with pytest.raises(ImportError):
            __import__("wave")
    assert __import__("wave").open
    assert sys.modules["json"] is json
