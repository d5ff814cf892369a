"""Workers forked from one process: the same cells, the same ends, and a new process where that fails."""

from __future__ import annotations

import ctypes
import dataclasses
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
from fake_tree import environment, log_of, make_job, make_tree
from test_executors import PARENT, gone, until
from test_executors import Bench as Executors
from test_workers import check_same_bits, real_jobs

from flows.executors import LocalProcesses, Stopped
from flows.nursery import can_fork
from sgm_core.cell import Outcome
from sgm_core.code import ROOT
from sgm_core.errors import SgmError

pytestmark = pytest.mark.skipif(not can_fork(), reason="orphans have no reaper on this system")


class Bench:
    """A copied tree with a fake trainer, and an executor of two slots on it with a nursery."""

    def __init__(self, root: Path) -> None:
        self.root, self.tree = root, make_tree(root)
        self.events: list[dict[str, Any]] = []
        self.executor = LocalProcesses(2, [], environment(self.tree, root))
        self.executor.load(make_job(root))

    @property
    def nursery(self) -> int:
        """The process id of the nursery."""
        held = self.executor._nursery
        assert held is not None
        return held[1].process.pid

    def run(self, seed: int, **more: Any) -> Outcome:
        return self.executor.run(make_job(self.root, seed=seed, **more), self.events.append)

    def pids(self) -> list[int]:
        """The process of every training, in order."""
        return [int(line.split()[3]) for line in log_of(self.root) if line.startswith("start")]

    def cmdline(self, pid: int) -> list[str]:
        found: list[str] = psutil.Process(pid).cmdline()
        return found


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.executor.close()


def adopts_orphans() -> bool:
    flag = ctypes.c_int()
    assert not ctypes.CDLL(None).prctl(37, ctypes.byref(flag), 0, 0, 0)  # PR_GET_CHILD_SUBREAPER
    return bool(flag.value)


def test_workers_are_forked_lead_their_groups_and_end_with_the_executor(bench: Bench) -> None:
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda seed: bench.run(seed, steps=40), range(4)))
    nursery, pids = bench.nursery, set(bench.pids())
    assert 1 <= len(pids) <= 2
    for pid in pids:
        assert "--fork" in bench.cmdline(pid)
        assert psutil.Process(pid).ppid() == os.getpid()
        assert os.getpgid(pid) == pid != nursery
    assert "threads=1 gpu=" in log_of(bench.root)[0]
    assert adopts_orphans()
    bench.executor.close()
    assert all(gone(pid) for pid in (*pids, nursery))
    assert not adopts_orphans()


def test_a_killed_worker_is_forked_again_and_an_error_tells_its_code(bench: Bench) -> None:
    bench.executor.retries = 1
    with pytest.raises(SgmError, match=r"killed by signal 9 \(SIGKILL\) 2 times"):
        bench.run(0, fail="killed")
    with pytest.raises(SgmError, match="exit code 7; its last words: the last line"):
        bench.run(1, fail="exit")
    assert not bench.run(2).cached
    pids = bench.pids()
    assert len(set(pids)) == 4
    assert "--fork" in bench.cmdline(pids[-1])


def test_a_dead_nursery_costs_a_new_process_and_nothing_else(bench: Bench) -> None:
    bench.run(0)
    os.kill(bench.nursery, signal.SIGKILL)
    os.kill(bench.pids()[0], signal.SIGKILL)
    until(lambda: gone(bench.pids()[0]))
    until(lambda: not bench.executor._slots[0].worker.usable)  # type: ignore[union-attr]
    bench.run(1)
    assert "--fork" not in bench.cmdline(bench.pids()[-1])
    assert [e for e in bench.events if e["event"] == "message"] == []


def test_edited_code_is_never_stale_although_the_nursery_imported_the_former(bench: Bench) -> None:
    bench.executor.retries = 0
    bench.run(0)
    nursery = bench.nursery
    helper = bench.tree / "sgm_core" / "train" / "helper.py"
    helper.write_text("STEP = 1 + 0\n")
    bench.run(1)
    assert gone(nursery)
    assert "--fork" not in bench.cmdline(bench.pids()[-1])


def test_an_edit_before_the_first_fork_costs_no_cell(tmp_path: Path) -> None:
    tree = make_tree(tmp_path)
    helper = tree / "sgm_core" / "train" / "helper.py"
    note = 'import os\nopen(os.environ["FAKE_LOG"], "a").write("imported\\n")\n'
    helper.write_text(f"{note}STEP = 1\n")
    executor = LocalProcesses(2, [], environment(tree, tmp_path), retries=0)
    executor.load(make_job(tmp_path))
    until(lambda: "imported" in log_of(tmp_path))
    helper.write_text(f"{note}STEP = 1 + 0\n")
    assert not executor.run(make_job(tmp_path), lambda _: None).cached
    assert executor._nursery is None
    executor.close()


def test_a_nursery_that_hangs_costs_a_new_process(bench: Bench) -> None:
    bench.run(0)
    held = bench.executor._nursery
    assert held is not None
    held[1]._asked.settimeout(0.5)
    nursery = bench.nursery
    os.kill(nursery, signal.SIGSTOP)
    os.kill(bench.pids()[0], signal.SIGKILL)
    until(lambda: not bench.executor._slots[0].worker.usable)  # type: ignore[union-attr]
    assert not bench.run(1).cached
    assert "--fork" not in bench.cmdline(bench.pids()[-1])
    assert gone(nursery)


def test_a_nursery_that_still_imports_ends_with_its_parent(tmp_path: Path) -> None:
    made = Executors(tmp_path)
    (made.tree / "sgm_core" / "train" / "helper.py").write_text(SLOW)
    process = made.parent([make_job(tmp_path, seed=seed) for seed in range(2)], AHEAD)
    until(lambda: len(psutil.Process(process.pid).children()) == 1)
    (nursery,) = psutil.Process(process.pid).children()
    process.kill()
    process.communicate(timeout=30)
    until(lambda: gone(nursery.pid), 5)


def test_other_threads_are_another_kind_of_process(bench: Bench) -> None:
    bench.run(0, threads=2)
    assert "--fork" not in bench.cmdline(bench.pids()[0])
    executor = LocalProcesses(2, [], environment(bench.tree, bench.root))
    executor.load(make_job(bench.root, threads=2))
    assert executor._nursery is None
    assert all(slot.worker is not None for slot in executor._slots)
    executor.close()


def test_a_stop_while_the_nursery_imports_is_quick(tmp_path: Path) -> None:
    tree = make_tree(tmp_path)
    (tree / "sgm_core" / "train" / "helper.py").write_text(SLOW)
    executor = LocalProcesses(2, [], environment(tree, tmp_path))
    executor.load(make_job(tmp_path))
    errors: list[BaseException] = []

    def run() -> None:
        try:
            executor.run(make_job(tmp_path), lambda _: None)
        except Stopped as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    until(lambda: executor._nursery is not None and executor._nursery[1].asked)
    executor.stop()
    thread.join(15)
    assert not thread.is_alive()
    assert len(errors) == 1
    executor.close()


AHEAD = PARENT.replace('    print("ready", flush=True)\n', "    executor.load(jobs[0])\n")
SLOW = "import time\ntime.sleep(60)\nSTEP = 1\n"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_outlives_the_parent(tmp_path: Path, number: int) -> None:
    jobs = [make_job(tmp_path, seed=seed, steps=5000) for seed in range(2)]
    made = Executors(tmp_path)
    process = made.parent(jobs, AHEAD, FAKE_STEP="0.02")
    until(lambda: len(made.notes("start")) == 2)
    below = psutil.Process(process.pid).children(recursive=True)
    assert len(below) == 3  # the nursery and two workers
    process.send_signal(number)
    process.communicate(timeout=30)
    until(lambda: all(gone(child.pid) for child in below), 20)
    assert len(made.notes("stopped")) == 2


def test_a_forked_worker_computes_the_bits_of_a_new_process(tmp_path: Path) -> None:
    jobs = real_jobs(tmp_path)[:4]
    with LocalProcesses(2, [], {"PYTHONPATH": str(ROOT)}) as executor:
        executor.load(jobs[0])
        with ThreadPoolExecutor(2) as pool:
            outcomes = list(pool.map(lambda job: executor.run(job, lambda _: None), jobs))
        assert executor._nursery is not None
    alone = dataclasses.replace(jobs[3], store=tmp_path / "other")
    with LocalProcesses(1, [], {"PYTHONPATH": str(ROOT)}) as executor:
        fresh = executor.run(alone, lambda _: None)
    check_same_bits(outcomes[3], fresh)
