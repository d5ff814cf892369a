"""Executors: slots, kills, stops, errors; the worker's life with its parent."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
from fake_tree import PYTHON, REAL, environment, inherited, log_of, make_job, make_tree

from flows.executors import LocalProcesses, Stopped
from sgm_core.cell import Job
from sgm_core.errors import SgmError
from sgm_core.store import Store

# A parent that runs jobs on LocalProcesses in threads, as a Prefect task runner does.
PARENT = """
import json, sys, threading
from concurrent.futures import ThreadPoolExecutor
from flows.executors import LocalProcesses
from sgm_core.cell import Job
jobs = [Job.from_json(t) for t in json.load(open(sys.argv[1]))]
with LocalProcesses(len(jobs)) as executor, ThreadPoolExecutor() as pool:
    print("ready", flush=True)
    results = [pool.submit(executor.run, job, lambda event: None) for job in jobs]
    print([r.result().cached for r in results])
"""


class Bench:
    """A copied tree, its executor, and what it said."""

    def __init__(self, root: Path) -> None:
        self.root, self.tree = root, make_tree(root)
        self.events: list[dict[str, Any]] = []
        self.executors: list[LocalProcesses] = []

    def executor(self, n: int = 1, devices: list[str] | None = None, **env: str) -> LocalProcesses:
        made = LocalProcesses(n, devices or [], environment(self.tree, self.root, **env))
        self.executors.append(made)
        return made

    def messages(self) -> list[str]:
        return [e["text"] for e in self.events if e["event"] == "message"]

    def notes(self, word: str) -> list[str]:
        return [line for line in log_of(self.root) if line.startswith(word)]

    def pid(self) -> int:
        """The process id of the last trainer that started."""
        return int(self.notes("start")[-1].split()[3])

    def parent(self, jobs: list[Job], code: str = PARENT, **env: str) -> subprocess.Popen[str]:
        file = self.root / "jobs.json"
        file.write_text(json.dumps([job.to_json() for job in jobs]))
        os.symlink(REAL / "flows", self.tree / "flows")
        return subprocess.Popen(
            [PYTHON, "-P", "-c", code, str(file)],
            env=inherited(**environment(self.tree, self.root, **env)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    for executor in made.executors:
        executor.close()


def until(condition: Callable[[], Any], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def gone(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    return True


def test_a_cell_runs_in_its_own_process_group_with_its_threads(bench: Bench) -> None:
    job = make_job(bench.root, threads=3)
    groups: list[int] = []

    def emit(event: dict[str, Any]) -> None:
        bench.events.append(event)
        if not groups:
            groups.append(os.getpgid(bench.pid()))

    outcome = bench.executor(FAKE_STEP="0.02").run(job, emit)
    assert not outcome.cached
    assert outcome.cell.summary == {"steps": 20}
    assert groups == [bench.pid()] != [os.getpgrp()]
    assert "threads=3 gpu=" in bench.notes("start")[0]
    steps = [e["step"] for e in bench.events if e["event"] == "progress"]
    assert steps == list(range(1, 21))
    assert bench.events[0]["loss"] is None  # NaN is not JSON


def test_slots_are_gpus_and_never_shared_at_once(bench: Bench) -> None:
    jobs = [make_job(bench.root, seed=seed, device="cuda") for seed in range(4)]
    executor = bench.executor(2, ["0", "GPU-7"], FAKE_STEP="0.02")
    running: set[str] = set()

    def run(job: Job) -> None:
        def emit(event: dict[str, Any]) -> None:
            names = {job.spec.name} if event.get("step", 20) < 20 else set()
            running.difference_update({job.spec.name})
            running.update(names)
            assert len(running) <= 2

        executor.run(job, emit)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, jobs))
    devices = sorted(line.rpartition("gpu=")[2] for line in bench.notes("start"))
    assert set(devices) == {"0", "GPU-7"}
    assert executor.slots == 2


def test_what_libraries_print_does_not_disturb_the_events(bench: Bench) -> None:
    assert bench.executor(FAKE="noise").run(make_job(bench.root), bench.events.append).cell
    assert {e["event"] for e in bench.events} == {"progress"}


@pytest.mark.parametrize(
    ("fake", "sentence"),
    [
        ("nan", r"^cell vp-mlp-s0: the loss is NaN at step 3; lower training\.lr$"),
        ("bug", r"^cell vp-mlp-s0: ZeroDivisionError: one by zero$"),
        ("exit", r"^cell vp-mlp-s0: its process ended with exit code 7; its last words: the last"),
    ],
)
def test_a_worker_that_ends_with_an_error_is_not_retried(
    bench: Bench, fake: str, sentence: str
) -> None:
    with pytest.raises(SgmError, match=sentence):
        bench.executor(FAKE=fake).run(make_job(bench.root), bench.events.append)
    assert len(bench.notes("start")) == 1


def test_one_failed_cell_leaves_the_others(bench: Bench) -> None:
    good, bad = make_job(bench.root), make_job(bench.root, seed=1)
    with pytest.raises(SgmError):
        bench.executor(FAKE="nan").run(bad, bench.events.append)
    executor = bench.executor()
    assert not executor.run(good, bench.events.append).cached
    assert not executor.run(bad, bench.events.append).cached


def test_a_worker_that_keeps_being_killed_is_given_up(bench: Bench) -> None:
    with pytest.raises(SgmError, match=r"killed by signal 9 \(SIGKILL\) 3 times; it may need more"):
        bench.executor(FAKE="suicide").run(make_job(bench.root), bench.events.append)
    assert len(bench.notes("start")) == 3
    assert "starting it again (2 of 2)" in bench.messages()[-1]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_killed_worker_resumes_from_its_checkpoint(bench: Bench, number: int) -> None:
    killed: list[int] = []

    def emit(event: dict[str, Any]) -> None:
        bench.events.append(event)
        if event.get("step") == 10 and not killed:
            killed.append(bench.pid())
            os.kill(killed[0], number)

    outcome = bench.executor(FAKE_STEP="0.02").run(make_job(bench.root), emit)
    assert outcome.cell.summary == {"steps": 20}
    first, second = (int(line.split()[2]) for line in bench.notes("start"))
    assert (first, second >= 8) == (0, True)
    assert "was killed by signal" in bench.messages()[0]


def test_kills_at_random_points_lose_nothing_and_build_nothing_twice(bench: Bench) -> None:
    rng, jobs = random.Random(0), [make_job(bench.root, seed=s, steps=12) for s in range(3)]
    over = threading.Event()

    def shoot() -> None:
        for _ in range(4):
            if over.wait(rng.uniform(0.1, 0.4)):
                return
            children = psutil.Process().children()
            if children:
                with contextlib.suppress(psutil.NoSuchProcess):
                    rng.choice(children).kill()

    shooter = threading.Thread(target=shoot)
    shooter.start()
    executor = bench.executor(3, FAKE_STEP="0.03", FAKE_EVALUATE="0.1")
    executor.retries = 4
    with ThreadPoolExecutor(3) as pool:
        outcomes = list(pool.map(lambda job: executor.run(job, bench.events.append), jobs))
    over.set()
    shooter.join()
    for job, outcome in zip(jobs, outcomes, strict=True):
        again = Store(job.store).find("cells", outcome.cell.key)
        assert again == outcome.cell
        # A cell once committed is never started again: evaluation alone is repeated.
        assert len(bench.notes(f"trained {job.spec.name}")) == 1
        starts = [int(line.split()[2]) for line in bench.notes(f"start {job.spec.name} ")]
        assert starts == sorted(starts)


def test_a_finished_cell_starts_no_process(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    job, executor = make_job(bench.root), bench.executor()
    first = executor.run(job, bench.events.append)
    found = dataclasses.replace(first, cached=True)
    monkeypatch.setattr("flows.executors.lookup", lambda job, emit: found)
    monkeypatch.setattr("flows.workers.subprocess.Popen", None)
    assert executor.run(job, bench.events.append) is found


def test_an_error_of_emit_ends_the_worker(bench: Bench) -> None:
    def emit(event: dict[str, Any]) -> None:
        raise RuntimeError("the display broke")

    with pytest.raises(RuntimeError, match="display"):
        bench.executor(FAKE_STEP="0.05").run(make_job(bench.root, steps=1000), emit)
    assert gone(bench.pid())


def test_stop_ends_the_workers_with_a_checkpoint_and_starts_no_more(bench: Bench) -> None:
    executor = bench.executor(1, FAKE_STEP="0.02")
    jobs = [make_job(bench.root, seed=s, steps=10_000) for s in range(2)]
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(executor.run, job, bench.events.append) for job in jobs]
        until(lambda: len(bench.events) > 3)
        executor.close()
        for run in runs:
            with pytest.raises(Stopped, match=r"stopped"):
                run.result(timeout=10)
    assert len(bench.notes("start")) == len(bench.notes("stopped")) == 1
    assert gone(bench.pid())


def test_a_worker_deaf_to_sigterm_is_killed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.executors.GRACE_SECONDS", 0.3)
    executor = bench.executor(FAKE_STEP="0.02", FAKE="deaf")
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(executor.run, make_job(bench.root, steps=10_000), bench.events.append)
        until(lambda: len(bench.events) > 3)
        executor.close()
        with pytest.raises(Stopped):
            run.result(timeout=10)
    assert not bench.notes("stopped")
    assert gone(bench.pid())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_their_parent(bench: Bench, number: signal.Signals) -> None:
    jobs = [make_job(bench.root, seed=s, steps=10_000) for s in range(2)]
    parent = bench.parent(jobs, FAKE_STEP="0.02")
    until(lambda: len(bench.notes("start")) == 2)
    pids = [int(line.split()[3]) for line in bench.notes("start")]
    parent.send_signal(number)
    _, errors = parent.communicate(timeout=20)
    until(lambda: all(gone(pid) for pid in pids), 15)
    expected = {signal.SIGTERM: [143], signal.SIGKILL: [-9], signal.SIGINT: [1, 130, -2]}
    assert parent.returncode in expected[number]
    if number == signal.SIGINT:  # or a cell's own end is told before the interrupt is
        assert "KeyboardInterrupt" in errors or "stopped; run again" in errors
    else:
        assert "KeyboardInterrupt" not in errors
    assert len(bench.notes("stopped")) == 2  # each saved a checkpoint first


# A grid whose upload to MLflow hangs: its thread would keep the process for a minute.
HUNG = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
from flows import stopping
from flows.executors import LocalProcesses
stopping.EXIT_SECONDS = float(sys.argv[1])
with LocalProcesses(1), ThreadPoolExecutor() as pool:
    upload = pool.submit(time.sleep, 60)
    print("ready", flush=True)
    upload.result()
"""


def test_sigterm_ends_the_parent_although_an_upload_hangs() -> None:
    parent = subprocess.Popen(
        [PYTHON, "-c", HUNG, "0.5"], cwd=REAL, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    parent.stdout.readline()
    parent.send_signal(signal.SIGTERM)
    assert parent.wait(20) == 143
    parent.stdout.close()


def test_the_executors_do_not_import_prefect() -> None:
    code = (
        "import sys, flows.executors; print([m for m in ('prefect', 'torch') if m in sys.modules])"
    )
    done = subprocess.run(
        [PYTHON, "-c", code], capture_output=True, text=True, cwd=REAL, check=True
    )
    assert done.stdout.strip() == "[]"
