"""One worker process, from its start to its last words.

`python -m sgm_core.worker -` gets its job on stdin, tells events as JSON lines on stdout and leads
its own process group, so that ending it ends whatever it has started too.
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
from typing import Any

from sgm_core.cell import Emit, Job
from sgm_core.code import ROOT
from sgm_core.errors import SgmError
from sgm_core.worker import PARENT, thread_environment

GRACE_SECONDS = 10.0
TAIL_LINES = 40


@dataclass(frozen=True)
class Ending:
    """How a worker ended: exit code (minus the signal, if one killed it), last event, last words."""

    code: int
    last: dict[str, Any]
    words: str

    @property
    def done(self) -> bool:
        """It said that the cell is finished."""
        return self.last.get("event") == "done"

    @property
    def signal(self) -> int:
        """The signal that ended it, or 0; 143 is how a worker reports a SIGTERM that it obeyed."""
        if self.done:
            return 0
        return -self.code if self.code < 0 else signal.SIGTERM if self.code == 143 else 0


class Worker:
    """A running worker.

    Args:
        job: the cell.
        device: value of CUDA_VISIBLE_DEVICES ("": none).
        environment: variables on top of this process's own.

    Raises:
        SgmError: the process cannot be started.
    """

    def __init__(self, job: Job, device: str, environment: Mapping[str, str]) -> None:
        paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
        variables = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path for path in paths if path),
            "CUDA_VISIBLE_DEVICES": device,
            PARENT: str(os.getpid()),
            **thread_environment(job.spec.training),
            **environment,
        }
        self._job = job
        self._words: deque[str] = deque(maxlen=TAIL_LINES)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "sgm_core.worker", "-"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                errors="replace",
                env=variables,
                process_group=0,
            )
        except OSError as error:
            raise SgmError(f"cell {job.spec.name}: no process could be started ({error})") from None
        assert self._process.stderr is not None
        self._reaper = threading.Thread(target=self._reap, daemon=True)
        self._reader = threading.Thread(
            target=self._words.extend, args=(self._process.stderr,), daemon=True
        )
        self._reaper.start()
        self._reader.start()

    def follow(self, emit: Emit) -> Ending:
        """Hand over the job, pass events to `emit` until the worker ends, and say how it did.

        If `emit` raises, or Ctrl-C arrives, the worker is ended first.
        """
        process = self._process
        assert process.stdin and process.stdout and process.stderr
        last: dict[str, Any] = {}
        try:
            with contextlib.suppress(BrokenPipeError):  # it has died; its exit code tells
                process.stdin.write(self._job.to_json())
                process.stdin.close()
            for line in process.stdout:
                last = _event(line) or last
                if last.get("event") in ("progress", "message"):
                    emit(last)
            self._reaper.join()
        finally:
            self._end()
            process.wait()
            self._reader.join(timeout=5)
            for stream in (process.stdout, process.stderr):
                stream.close()
        words = next((line.strip() for line in reversed(self._words) if line.strip()), "")
        return Ending(process.returncode, last, words)

    def signal(self, number: int) -> None:
        """Send a signal to the worker's process group, if it still runs."""
        if self._process.returncode is None:  # else its id may belong to somebody else by now
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)

    def _end(self) -> None:
        if self._reaper.is_alive():
            self.signal(signal.SIGTERM)
            self._reaper.join(GRACE_SECONDS)
        if self._reaper.is_alive():
            self.signal(signal.SIGKILL)
            self._reaper.join()

    def _reap(self) -> None:
        """When the worker ends, end what is left of its group: it might hold the pipes open."""
        # WNOWAIT leaves the zombie, so that the group's id cannot be given to somebody else yet.
        os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        self.signal(signal.SIGKILL)


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
