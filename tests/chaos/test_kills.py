"""Processes that die, askers that crowd, cells that fail, a clock that jumps."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from fake_tree import PYTHON, environment, inherited, log_of
from nine import FULL, Nine, Shooter, figures
from test_executors import HUNG

from flows.executors import LocalProcesses
from flows.stopping import EXIT_SECONDS
from sgm_core.cell import CELLS
from sgm_core.code import ROOT
from sgm_core.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def test_kill_9_at_twenty_random_points(tmp_path: Path) -> None:
    (tmp_path / "calm").mkdir()
    (tmp_path / "chaos").mkdir()
    calm, chaos = Nine(tmp_path / "calm"), Nine(tmp_path / "chaos")
    with calm.executor() as executor:
        calm.run(executor)
    with (
        chaos.executor(FAKE_STEP="0.05", FAKE_EVALUATE="0.2") as executor,
        Shooter(20, seed=1, pause=(0.05, 0.3)) as shooter,
    ):
        executor.retries = 20
        chaos.run(executor)
    figures(
        "kill -9 of random workers, 9 cells on 4",
        kills=shooter.hit,
        finished=len(chaos.outcomes),
        lost=9 - len(chaos.outcomes),
        trained_twice=sum(n > 1 for n in chaos.trainings().values()),
        other_weights=sum(calm.hashes()[n] != h for n, h in chaos.hashes().items()),
    )
    assert shooter.hit == 20
    assert not chaos.failures
    assert chaos.trainings() == dict.fromkeys(calm.hashes(), 1)
    assert chaos.hashes() == calm.hashes()
    for job in chaos.jobs:  # each attempt goes on where a checkpoint was
        lines = [line.split() for line in log_of(chaos.root)]
        starts = [int(w[2]) for w in lines if w[:2] == ["start", job.spec.name]]
        assert starts == sorted(starts)


# Asks for nine cells in an order of its own.
ASKER = """
import json, random, sys
from sgm_core.cell import Job, ensure_cell
jobs = [Job.from_json(text) for text in json.load(open(sys.argv[1]))]
random.Random(int(sys.argv[2])).shuffle(jobs)
print(json.dumps(sorted([j.spec.name, ensure_cell(j, lambda event: None).cell.key] for j in jobs)))
"""


def test_fifty_processes_ask_for_the_same_nine_cells(tmp_path: Path) -> None:
    askers = 50 if FULL else 12
    nine, file = Nine(tmp_path, steps=10), tmp_path / "jobs.json"
    file.write_text(json.dumps([job.to_json() for job in nine.jobs]))
    variables = inherited(**environment(nine.tree, tmp_path, FAKE_STEP="0.01"))
    running = [
        subprocess.Popen(
            [PYTHON, "-P", "-c", ASKER, str(file), str(number)],
            env=variables, stdout=subprocess.PIPE, text=True,
        )
        for number in range(askers)
    ]  # fmt: skip
    answers = {process.communicate(timeout=600)[0] for process in running}
    figures(
        "processes that ask for the same 9 cells",
        processes=askers,
        trainings=sum(nine.trainings().values()),
        different_answers=len(answers),
    )
    assert [process.returncode for process in running] == [0] * askers
    assert len(answers) == 1
    assert nine.trainings() == {job.spec.name: 1 for job in nine.jobs}


def test_a_cell_that_fails_leaves_the_other_eight(tmp_path: Path) -> None:
    nine = Nine(tmp_path, s1="nan", s4="memory", s7="killed")
    with nine.executor() as executor:
        nine.run(executor)
    figures("NaN, MemoryError and the kernel's kill in 3 of 9", finished=len(nine.outcomes))
    assert len(nine.outcomes) == 6
    assert sorted(nine.failures) == ["vp-mlp-s1", "vp-mlp-s4", "vp-mlp-s7"]
    assert "the loss is NaN" in nine.failures["vp-mlp-s1"]
    assert "out of memory; lower training.batch" in nine.failures["vp-mlp-s4"]
    assert "killed by signal 9" in nine.failures["vp-mlp-s7"]


FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


@pytest.mark.skipif(FAKETIME is None, reason="needs libfaketime (apt-get install faketime)")
@pytest.mark.parametrize("days", [-1, 1])
def test_a_clock_that_jumps_by_a_day(tmp_path: Path, days: int) -> None:
    nine, job = Nine(tmp_path), 0
    killed: list[int] = []

    def emit(event: dict[str, Any]) -> None:
        if event.get("step") == 20 and not killed:
            starts = [line for line in log_of(tmp_path) if line.startswith("start")]
            killed.append(int(starts[-1].split()[3]))
            executor._environment |= {"LD_PRELOAD": str(FAKETIME), "FAKETIME": f"{days:+}d"}
            os.kill(killed[0], signal.SIGKILL)

    with nine.executor(1, FAKE_STEP="0.02") as executor:
        outcome = executor.run(nine.jobs[job], emit)
    again = Store(nine.jobs[job].store).find(CELLS, outcome.cell.key)
    figures("clock moved in the middle of a cell", days=days, made=outcome.cell.manifest["created"])
    assert again == outcome.cell
    starts = [int(line.split()[2]) for line in log_of(tmp_path) if line.startswith("start")]
    assert len(starts) == 2
    assert starts[1] >= 18, "resumed"
    today = time.strftime("%Y-%m-%d", time.gmtime())
    assert outcome.cell.manifest["created"][:10] != today
    assert outcome.cell.manifest["seconds"] >= 0
    # The next one has the right clock again, and believes what it finds.
    with LocalProcesses(1, [], environment(nine.tree, tmp_path)) as executor:
        nine.run(executor)
    assert len(nine.outcomes) == 9
    assert nine.trainings()["vp-mlp-s0"] == 1


@pytest.mark.skipif(not FULL, reason="make chaos")
def test_sigterm_while_an_upload_hangs() -> None:
    parent = subprocess.Popen(
        [PYTHON, "-c", HUNG, str(EXIT_SECONDS)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    parent.stdout.readline()
    parent.send_signal(signal.SIGTERM)
    sent = time.monotonic()
    assert parent.wait(30) == 143
    seconds = time.monotonic() - sent
    figures("SIGTERM while an upload hangs", seconds=f"{seconds:.1f}")
    assert seconds < 10
    parent.stdout.close()
