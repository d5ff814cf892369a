"""One worker process: it takes one cell after the other, so that torch is imported once.

`python -m sgm_core.worker -` gets jobs on stdin, tells events as JSON lines on stdout and leads its own
process group, so that ending it ends whatever it has started too. A process serves cells of one kind
(device, threads, modules of the user's own) and a bounded number of them; an error or a signal ends it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.nursery import Nursery, can_fork
from sgm_core.cell import Emit, Job
from sgm_core.code import PACKAGE, ROOT
from sgm_core.ending import GRACE_SECONDS, PARENT
from sgm_core.errors import SgmError
from sgm_core.worker import LOAD, thread_environment

COMMAND = [sys.executable, "-P", "-m", "sgm_core.worker"]
TAIL_LINES = 40

MOST_JOBS = 64  # of one process: whatever a library leaks is bounded
MOST_BYTES = 2 << 30  # of its memory; a process that holds more takes no other job


@dataclass(frozen=True)
class Kind:
    """What a process cannot change: jobs that differ in it get different processes.

    Attributes:
        device: value of CUDA_VISIBLE_DEVICES ("": none).
        threads: variables that libraries read when they start.
        folder: of the modules of custom processes.
        modules: those that its cells import; one may change what torch does for everybody.
    """

    device: str
    threads: tuple[tuple[str, str], ...]
    folder: Path | None
    modules: tuple[str, ...]

    @classmethod
    def of(cls, job: Job, device: str) -> Kind:
        """Return the kind of process that a job needs on a device."""
        threads = tuple(sorted(thread_environment(job.spec.training).items()))
        if job.modules is None:
            return cls(device, threads, None, ())
        found = {*job.spec.modules, *job.evaluation_spec("").modules}
        own = sorted(name for name in found if name.partition(".")[0] != PACKAGE)
        return cls(device, threads, job.modules, tuple(own))


@dataclass(frozen=True)
class Ending:
    """How a job ended: exit code of its process (minus the signal, if one killed it; 0 while it
    lives), last event, last words."""

    code: int
    last: dict[str, Any]
    words: str

    @property
    def done(self) -> bool:
        """It said that the cell is finished."""
        return self.last.get("event") == "done"

    @property
    def outdated(self) -> bool:
        """It did nothing, since its code was edited; a new process can."""
        return self.last.get("event") == "outdated"

    @property
    def signal(self) -> int:
        """The signal that ended it, or 0; 143 is how a worker reports a SIGTERM that it obeyed, and
        137 that one of its ranks was killed."""
        if self.done:
            return 0
        told = self.code - 128 if self.code in (137, 143) else 0
        return -self.code if self.code < 0 else told


class Worker:
    """A running worker.

    Its death is tied to the thread that makes it: the kernel ends it when that thread ends (a forked one's
    to this process).

    Args:
        kind: what it is for.
        environment: variables on top of this process's own.
        nursery: what forks it, if it is for workers of this kind.

    Raises:
        SgmError: the process cannot be started.
    """

    def __init__(
        self, kind: Kind, environment: Mapping[str, str], nursery: Nursery | None = None
    ) -> None:
        self.kind = kind
        self._jobs, self._resident = 0, 0
        self._words: deque[str] = deque(maxlen=TAIL_LINES)
        try:
            forked = nursery.fork() if nursery is not None else None
            self._process = forked or _started(_variables(kind, environment))
        except OSError as error:
            raise SgmError(f"no process could be started for a cell ({error})") from None
        assert self._process.stderr is not None
        self._reaper = threading.Thread(target=self._reap, daemon=True)
        self._reader = threading.Thread(
            target=self._words.extend, args=(self._process.stderr,), daemon=True
        )
        self._reaper.start()
        self._reader.start()

    @property
    def usable(self) -> bool:
        """Whether it can take another job."""
        fresh = self._jobs < MOST_JOBS and self._resident < MOST_BYTES
        return fresh and self._reaper.is_alive()

    def load(self, job: Job) -> None:
        """Have it import what such a job needs; returns at once."""
        self._write(LOAD + job.to_line())

    def _write(self, line: str) -> None:
        assert self._process.stdin
        with contextlib.suppress(BrokenPipeError):  # it has died; its exit code tells
            self._process.stdin.write(line)
            self._process.stdin.flush()

    def follow(self, line: str, emit: Emit) -> Ending:
        """Hand over a job's line, pass events to `emit` until the job ends, and say how it did.

        If `emit` raises, or Ctrl-C arrives, the worker is ended first.
        """
        process = self._process
        assert process.stdout
        last: dict[str, Any] = {}
        self._words.clear()
        try:
            self._write(line)
            for line in process.stdout:
                last = _event(line) or last
                if last.get("event") in ("progress", "message"):
                    emit(last)
                elif last.get("event") == "done":
                    self._jobs += 1
                    self._resident = int(last.get("resident", 0))
                    return Ending(0, last, "")
            self._reaper.join()
        except BaseException:
            self.end()
            raise
        self.end()
        words = next((line.strip() for line in reversed(self._words) if line.strip()), "")
        return Ending(process.wait(), last, words)

    def signal(self, number: int) -> None:
        """Send a signal to the worker's process group, if it still runs."""
        if self._process.returncode is None:  # else its id may belong to somebody else by now
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)

    def end(self, grace: float = GRACE_SECONDS) -> None:
        """End it: SIGTERM, and SIGKILL after `grace` seconds (0: at once, for one that idles)."""
        if grace and self._reaper.is_alive():
            self.signal(signal.SIGTERM)
            self._reaper.join(grace)
        if self._reaper.is_alive():
            self.signal(signal.SIGKILL)
            self._reaper.join()
        self._process.wait()
        self._reader.join(timeout=5)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            with contextlib.suppress(BrokenPipeError):
                stream.close()  # type: ignore[union-attr]

    def _reap(self) -> None:
        """When the worker ends, end what is left of its group: it might hold the pipes open."""
        # WNOWAIT leaves the zombie, so that the group's id cannot be given to somebody else yet.
        os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        self.signal(signal.SIGKILL)


def nursery(kind: Kind, environment: Mapping[str, str], job: Job) -> Nursery | None:
    """Return a nursery for workers of a kind, which imports what such a job needs; None where a worker
    cannot be forked: its libraries have threads, or a GPU."""
    if kind.device or any(number != "1" for _, number in kind.threads) or not can_fork():
        return None
    try:
        return Nursery(COMMAND, _variables(kind, environment), job.to_line())
    except OSError:
        return None


def _started(variables: Mapping[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
        env=dict(variables),
        process_group=0,
    )


def _variables(kind: Kind, environment: Mapping[str, str]) -> dict[str, str]:
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "CUDA_VISIBLE_DEVICES": kind.device,
        PARENT: str(os.getpid()),
        **dict(kind.threads),
        **environment,
    }


def signal_name(number: int) -> str:
    """E.g. "signal 9 (SIGKILL)"."""
    with contextlib.suppress(ValueError):
        return f"signal {int(number)} ({signal.Signals(number).name})"
    return f"signal {int(number)}"


def _event(line: str) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None  # a line cut off by a kill
    return value if isinstance(value, dict) else None
