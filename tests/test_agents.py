"""`sgm worker`: a Prefect worker per slot, its device alone in sight, and none left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from flows import agents
from flows.agents import Slot, slots_of
from sgm_core.errors import UsageError

ROOT = Path(__file__).resolve().parent.parent
# Stands for Prefect: notes how it was called, and lives on.
PREFECT = """
import json, os, sys, time
from pathlib import Path
note = {"argv": sys.argv[1:], "device": os.environ["CUDA_VISIBLE_DEVICES"], "cwd": os.getcwd()}
Path(os.environ["NOTES"], f"{os.getpid()}.json").write_text(json.dumps(note))
time.sleep(120)
"""
PARENT = """
import sys
from pathlib import Path
from flows.agents import Agents, Slot
Agents([Slot("a", "0"), Slot("b", "1"), Slot("c", "")], "gpu", Path(sys.argv[1]), pause=0.3).run()
"""


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    (tmp_path / "fake" / "prefect").mkdir(parents=True)
    (tmp_path / "fake" / "prefect" / "__init__.py").touch()
    (tmp_path / "fake" / "prefect" / "__main__.py").write_text(PREFECT)
    (tmp_path / "notes").mkdir()
    return tmp_path / "notes"


@pytest.fixture
def parent(notes: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    paths = os.pathsep.join([str(tmp_path / "fake"), str(ROOT)])
    variables = {**os.environ, "PYTHONPATH": paths, "NOTES": str(notes)}
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)],
        env=variables, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    yield process
    process.kill()
    process.wait()


def until(condition: Callable[[], Any], seconds: float = 40) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def told(notes: Path) -> dict[int, dict[str, Any]]:
    """What each worker noted, by its process id."""
    found = {}
    for file in notes.glob("*.json"):
        if text := file.read_text():
            found[int(file.stem)] = json.loads(text)
    return found


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_each_worker_takes_one_cell_at_a_time_and_sees_its_device_alone(
    parent: subprocess.Popen[str], notes: Path, tmp_path: Path
) -> None:
    until(lambda: len(told(notes)) == 3)
    for note in told(notes).values():
        assert note["argv"][:4] == ["worker", "start", "--pool", "gpu"]
        assert note["argv"][note["argv"].index("--limit") + 1] == "1"
        assert note["cwd"] == str(tmp_path)
    seen = {note["argv"][-1]: note["device"] for note in told(notes).values()}
    assert seen == {"a": "0", "b": "1", "c": ""}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_dies_is_started_again_and_all_end_with_a_signal(
    parent: subprocess.Popen[str], notes: Path, number: signal.Signals
) -> None:
    until(lambda: len(told(notes)) == 3)
    victim = next(pid for pid, note in told(notes).items() if note["argv"][-1] == "b")
    os.kill(victim, signal.SIGKILL)
    until(lambda: len(told(notes)) == 4)
    names = [note["argv"][-1] for pid, note in told(notes).items() if alive(pid)]
    assert sorted(names) == ["a", "b", "c"]
    parent.send_signal(number)
    assert parent.wait(20) == 0
    assert not any(alive(pid) for pid in told(notes))
    assert parent.stdout is not None
    assert "worker b ended with code -9; starting it again in 0.3 s" in parent.stdout.read()


def test_killed_itself_it_leaves_no_worker(parent: subprocess.Popen[str], notes: Path) -> None:
    until(lambda: len(told(notes)) == 3)
    parent.kill()
    parent.wait()
    until(lambda: not any(alive(pid) for pid in told(notes)), 10)


def test_slots_of_gpus_and_of_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents, "gpus", lambda: ["0", "1", "3"])
    monkeypatch.setattr(agents.socket, "gethostname", lambda: "host")
    assert slots_of("all", None) == [Slot(f"host-gpu{i}", str(i)) for i in (0, 1, 3)]
    assert slots_of("3, 0", None) == [Slot("host-gpu3", "3"), Slot("host-gpu0", "0")]
    pairs = [Slot("host-gpu0+1", "0,1"), Slot("host-gpu3", "3")]
    assert slots_of("0+1, 3", None) == pairs
    assert slots_of("", 2) == [Slot("host-cpu0", ""), Slot("host-cpu1", "")]


@pytest.mark.parametrize(
    ("wanted", "slots", "known", "words"),
    [
        ("", None, ["0"], "write either --gpus all"),
        ("all", 2, ["0"], "write either --gpus all"),
        ("all", None, [], "no GPU that torch can use; write --slots N"),
        ("0,7", None, ["0", "1"], r"'7' is not a GPU of this machine \(0, 1\)"),
        ("0+7", None, ["0", "1"], r"'7' is not a GPU of this machine \(0, 1\)"),
        ("0+1,1", None, ["0", "1"], "names a GPU twice"),
        ("1,1", None, ["0", "1"], "names a GPU twice"),
        ("", 0, [], "--slots: 0 is too few"),
    ],
)
def test_wrong_slots_say_what_to_write(
    wanted: str, slots: int | None, known: list[str], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agents, "gpus", lambda: known)
    with pytest.raises(UsageError, match=words):
        slots_of(wanted, slots)
