"""One process for many cells: as good as a new one for each, and a new one where it must be."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_tree import environment, log_of, make_job, make_tree
from test_executors import gone, until

from flows.executors import LocalProcesses
from sgm_core.cell import Job, Outcome, jobs_of
from sgm_core.code import ROOT
from sgm_core.config import load_config
from sgm_core.data import prepare
from sgm_core.errors import SgmError
from sgm_core.evaluate.reference import make_reference
from sgm_core.renew import renewed


class Bench:
    """A copied tree with a fake trainer, and an executor of one slot on it."""

    def __init__(self, root: Path) -> None:
        self.root, self.tree = root, make_tree(root)
        self.events: list[dict[str, Any]] = []
        self.executor = LocalProcesses(1, [], environment(self.tree, root))

    def run(self, seed: int, **more: Any) -> Outcome:
        return self.executor.run(make_job(self.root, seed=seed, **more), self.events.append)

    def pids(self) -> list[int]:
        """The process of every training, in order."""
        lines = [line for line in log_of(self.root) if line.startswith("start")]
        return [int(line.split()[3]) for line in lines]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.executor.close()


def test_a_slot_keeps_its_process_whoever_asks_and_gives_it_up_at_the_end(bench: Bench) -> None:
    for seed in range(4):  # from threads that end: the kernel ties a process to its maker
        thread = threading.Thread(target=bench.run, args=(seed,))
        thread.start()
        thread.join()
    pids = bench.pids()
    assert len(pids) == 4
    assert len(set(pids)) == 1
    assert not gone(pids[0])
    bench.executor.close()
    assert gone(pids[0])


def test_an_error_ends_the_process_and_the_next_cell_has_a_new_one(bench: Bench) -> None:
    bench.run(0)
    with pytest.raises(SgmError, match="ZeroDivisionError"):
        bench.run(1, fail="bug")
    bench.run(2)
    first, second, third = bench.pids()
    assert first == second != third
    assert gone(first)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_process_that_dies_while_it_idles_is_replaced_in_silence(
    bench: Bench, number: int
) -> None:
    bench.run(0)
    os.kill(bench.pids()[0], number)
    until(lambda: gone(bench.pids()[0]))
    until(lambda: not bench.executor._slots[0].worker.usable)  # type: ignore[union-attr]
    bench.run(1)
    assert len(set(bench.pids())) == 2
    assert [e for e in bench.events if e["event"] == "message"] == []


def test_edited_code_is_never_stale_and_costs_no_retry(bench: Bench) -> None:
    bench.executor.retries = 0
    bench.run(0)
    helper = bench.tree / "sgm_core" / "train" / "helper.py"
    helper.write_text("STEP = 1  # a comment changes nothing\n")
    bench.run(1)
    helper.write_text("STEP = 1 + 0\n")
    bench.run(2)
    first, second, third = bench.pids()
    assert first == second != third


def test_other_threads_and_a_bound_need_another_process(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.run(0)
    bench.run(1, threads=2)
    bench.run(2, threads=2)
    monkeypatch.setattr("flows.workers.MOST_JOBS", 2)
    bench.run(3, threads=2)
    monkeypatch.setattr("flows.workers.MOST_BYTES", 1)
    bench.run(4, threads=2)
    a, b, c, d, e = bench.pids()
    assert a != b == c != d != e
    assert all(gone(pid) for pid in (a, b, d))


def test_what_a_cell_leaves_is_put_back(tmp_path: Path) -> None:
    with renewed():
        os.environ["SGM_TEST_LEFT"] = "1"
        os.environ["OMP_NUM_THREADS"], before = "7", os.environ.get("OMP_NUM_THREADS")
        os.chdir(tmp_path)
        torch.manual_seed(5)
    assert "SGM_TEST_LEFT" not in os.environ
    assert os.environ.get("OMP_NUM_THREADS") == before
    assert Path.cwd() != tmp_path
    assert torch.initial_seed() != 5, "in a new process the global stream starts anywhere"


PARAMS = """\
active: [rolls]
datasets: {points: {kind: swiss_roll, n: 600}}
experiments:
  rolls:
    dataset: points
    seeds: [0, 1, 2]
    processes: {vp: {}, cld: {}}
    nets: {mlp: {kind: mlp, width: 16, depth: 1}}
    training: {steps: 40, batch: 32}
    sampling: {steps: 5}
    evaluation: {samples: 60, curve_samples: 50, nfe_curve: [3], bootstrap: 10}
"""


def real_jobs(root: Path) -> list[Job]:
    (root / "params.yaml").write_text(PARAMS)
    config = load_config(root / "params.yaml")
    data, reference = root / "prepared", root / "reference"
    prepare("points", config.dataset("points"), root, data, lambda _: None)
    make_reference(data, reference, lambda _: None)
    jobs = jobs_of(config.experiment("rolls"), data, reference, root / "store")
    plain = {"pictures": False, "likelihood_items": 0}
    return [dataclasses.replace(job, evaluation=job.evaluation | plain) for job in jobs]


def test_the_fifth_cell_of_a_process_is_bit_for_bit_the_first_of_another(tmp_path: Path) -> None:
    jobs = real_jobs(tmp_path)[:5]
    with LocalProcesses(1, [], {"PYTHONPATH": str(ROOT)}) as executor:
        outcomes = [executor.run(job, lambda _: None) for job in jobs]
    alone = dataclasses.replace(jobs[4], store=tmp_path / "other")
    with LocalProcesses(1, [], {"PYTHONPATH": str(ROOT)}) as executor:
        fresh = executor.run(alone, lambda _: None)
    assert jobs[4].spec.process["kind"] == "cld"
    check_same_bits(outcomes[4], fresh)


def check_same_bits(one: Outcome, other: Outcome) -> None:
    for kind in ("cell", "evaluation"):
        assert digests(getattr(one, kind)) == digests(getattr(other, kind))
        assert any(name.endswith(".safetensors") for name in digests(getattr(one, kind)))
    assert measured(one) == measured(other)


def digests(entry: Any) -> dict[str, str]:
    """SHA-256 of the files of an entry that hold no seconds."""
    timed = ("metrics.json", "history.json", "summary.json")
    return {n: f["sha256"] for n, f in entry.manifest["files"].items() if n not in timed}


def measured(outcome: Outcome) -> list[Any]:
    document = json.loads((outcome.evaluation.path / "metrics.json").read_text())
    return [document["rows"], document["curve"]]


def test_a_worker_that_was_started_ahead_takes_the_first_job(bench: Bench) -> None:
    bench.executor.load(make_job(bench.root, seed=1))
    worker = bench.executor._slots[0].worker
    assert worker is not None
    bench.run(1)
    assert bench.pids() == [worker._process.pid]


def test_an_edit_after_it_was_started_ahead_asks_for_another(bench: Bench) -> None:
    helper = bench.tree / "sgm_core" / "train" / "helper.py"
    note = 'import os\nopen(os.environ["FAKE_LOG"], "a").write("imported\\n")\n'
    helper.write_text(f"{note}STEP = 1\n")
    bench.executor.load(make_job(bench.root, seed=1))
    worker = bench.executor._slots[0].worker
    assert worker is not None
    until(lambda: "imported" in log_of(bench.root))
    helper.write_text(f"{note}STEP = 1 + 0\n")
    bench.run(1)
    (pid,) = bench.pids()
    assert pid != worker._process.pid
