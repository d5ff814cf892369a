"""The store among processes: one builder, kill -9 at any time, the lease."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sgm_core.store import Store
from sgm_core.store.lease import lease

ROOT = Path(__file__).resolve().parent.parent

# One builder among many processes: each appends to a log what it does.
RACER = """
import os, sys, time
from pathlib import Path
from sgm_core.store import Store
root, seconds = Path(sys.argv[1]), float(sys.argv[2])
def note(text):
    with open(root / "log", "a") as log: log.write(f"{text} {os.getpid()}\\n")
def build(work):
    note("build")
    steps = len(list(work.glob("step*")))
    note(f"from {steps}")
    for step in range(steps, 4):
        (work / f"step{step}").write_text("x")
        time.sleep(seconds / 4)
    note("built")
    return {"pid": os.getpid()}
entry = Store(root / "store").ensure("cells", "k1", build, {}, log=note)
print(entry.summary["pid"])
"""


def test_eight_processes_build_once(tmp_path: Path) -> None:
    racers = [_race(tmp_path, 0.5) for _ in range(8)]
    answers = {racer.communicate(timeout=60)[0] for racer in racers}
    log = (tmp_path / "log").read_text().splitlines()
    assert len([line for line in log if line.startswith("build ")]) == 1
    assert len(answers) == 1
    assert all(racer.returncode == 0 for racer in racers)


def test_a_waiting_process_takes_over_from_a_killed_builder(tmp_path: Path) -> None:
    first = _race(tmp_path, 60)
    _until(lambda: (tmp_path / "store" / "cells" / "k1.work" / "step0").exists())
    second = _race(tmp_path, 0.1)
    _until(lambda: f"waiting for process {first.pid}" in (tmp_path / "log").read_text())
    first.send_signal(signal.SIGKILL)
    first.wait()
    out, _ = second.communicate(timeout=30)
    assert int(out) == second.pid
    log = (tmp_path / "log").read_text()
    assert f"from 1 {second.pid}" in log
    assert log.count("waiting for") == 1


# Takes a lease, leaves a forked child behind, and is killed.
ORPHAN = """
import os, signal, sys, time
from pathlib import Path
from sgm_core.store.lease import lease
with lease(Path(sys.argv[1])):
    child = os.fork()
    if child == 0:
        Path(sys.argv[1] + ".child").write_text(str(os.getpid()))
        time.sleep(60)
        os._exit(0)
    while not os.path.exists(sys.argv[1] + ".child"):
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_forked_child_does_not_keep_the_lease(tmp_path: Path) -> None:
    lock = tmp_path / "k.lock"
    holder = _python(ORPHAN, str(lock))
    assert holder.wait(30) == -signal.SIGKILL
    child = int((tmp_path / "k.lock.child").read_text())
    try:
        os.kill(child, 0)
        with lease(lock, wait=False) as held:
            assert held
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_lease_excludes_threads_and_ends_with_its_block(tmp_path: Path) -> None:
    lock = tmp_path / "k.lock"
    with lease(lock) as held, lease(lock, wait=False) as again:
        assert held
        assert not again
    with lease(lock, wait=False) as held:
        assert held


@pytest.mark.parametrize("seed", range(3))
def test_kill_at_random_points_never_leaves_half_an_entry(tmp_path: Path, seed: int) -> None:
    rng, store, found = random.Random(seed), Store(tmp_path / "store"), None
    log = tmp_path / "log"
    for _ in range(8):
        builds = log.read_text().count("build ") if log.exists() else 0
        racer = _race(tmp_path, 0.1)
        time.sleep(rng.uniform(0, 0.3))
        racer.kill()
        racer.communicate()
        if found is not None:  # once finished: neither lost nor built again
            assert log.read_text().count("build ") == builds
            assert store.find("cells", "k1") == found
        found = store.find("cells", "k1")
        assert found is None or len(found.manifest["files"]) == 4
    last = _race(tmp_path, 0)
    last.communicate(timeout=30)
    assert last.returncode == 0
    resumed = [int(line.split()[1]) for line in log.read_text().splitlines() if "from" in line]
    assert resumed == sorted(resumed)
    assert not list((tmp_path / "store" / "cells").glob("*.corrupt*"))


def _race(root: Path, seconds: float) -> subprocess.Popen[str]:
    return _python(RACER, str(root), str(seconds))


def _python(code: str, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def _until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
