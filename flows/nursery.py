"""Workers that are forked from a process which has imported torch and the rest (sgm_core.nursery).

A new process takes seconds of a core until it can compute; a forked one takes milliseconds, and shares the
libraries' memory with the others. Used where several cells run at once on the CPU of one machine.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from typing import IO

PR_SET_CHILD_SUBREAPER = 36
FORK_SECONDS = 120.0  # imports included; whoever takes longer hangs


class Forked:
    """A forked worker, as much of `subprocess.Popen` as is needed.

    Attributes:
        pid: its process id; it leads a process group of its own.
        returncode: as of Popen, once `wait` has returned.
    """

    def __init__(self, pid: int, stdin: IO[str], stdout: IO[str], stderr: IO[str]) -> None:
        self.pid, self.stdin, self.stdout, self.stderr = pid, stdin, stdout, stderr
        self.returncode: int | None = None
        self._guard = threading.Lock()

    def wait(self) -> int:
        """Wait for its end; return the exit code, or minus the signal that ended it."""
        with self._guard:
            if self.returncode is None:
                try:
                    status = os.waitpid(self.pid, 0)[1]
                    self.returncode = os.waitstatus_to_exitcode(status)
                except ChildProcessError:  # somebody else has waited for it: as Popen has it
                    self.returncode = 0
            return self.returncode


class Nursery:
    """The process that forks. Its death is tied to the thread that makes it, its workers' to this process.

    Args:
        command: of a worker.
        variables: the environment of its workers.
        line: of a job, whose imports are made.

    Raises:
        OSError: it cannot be started, or nobody could wait for its workers.
    """

    def __init__(self, command: list[str], variables: Mapping[str, str], line: str) -> None:
        self._guard = threading.Lock()  # held by who asks
        with ExitStack() as undone:
            _adopt(1)
            undone.callback(_adopt, -1)
            self._asked, theirs = socket.socketpair()
            undone.callback(self._asked.close)
            with theirs:
                self.process = subprocess.Popen(
                    [*command, "--fork", str(theirs.fileno())],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env=dict(variables),
                    pass_fds=[theirs.fileno()],
                    process_group=0,
                )
            undone.pop_all()
        self._asked.settimeout(FORK_SECONDS)
        assert self.process.stdin is not None
        with suppress(BrokenPipeError), self.process.stdin as stdin:
            stdin.write(line.encode())

    @property
    def asked(self) -> bool:
        """Whether somebody waits for a worker."""
        return self._guard.locked()

    @property
    def alive(self) -> bool:
        """Whether it can be asked for a worker."""
        return self.process.poll() is None

    def fork(self) -> Forked | None:
        """Return a new worker, after the imports are over; None if the nursery is dead or hangs, which
        ends it."""
        with ExitStack() as ours, ExitStack() as theirs:
            into, *out = (_pipe(ours, theirs, to_worker=n == 0) for n in range(3))
            told = b""
            with self._guard:
                with suppress(OSError):
                    socket.send_fds(self._asked, [b"+"], [into[1], *(ends[1] for ends in out)])
                    told = self._asked.recv(32)
                if not told:  # an answer that comes later would be taken for another one
                    self.kill()
                    return None
            stdin = os.fdopen(into[0], "w", encoding="utf-8")
            stdout, stderr = (
                os.fdopen(ends[0], encoding="utf-8", errors="replace") for ends in out
            )
            ours.pop_all()
            return Forked(int(told), stdin, stdout, stderr)

    def kill(self) -> None:
        """End it, and whatever its imports have started; its workers live on. Returns at once."""
        if self.process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
        with suppress(OSError):  # who waits for an answer has it now: none
            self._asked.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """`kill`, and wait for it."""
        self.kill()
        self.process.wait()
        with self._guard:
            self._asked.close()
        _adopt(-1)


_open, _counting = 0, threading.Lock()  # nurseries of this process


def _adopt(more: int) -> None:
    """While a nursery is open, orphans of our children become our children.

    Raises:
        OSError: the system refuses.
    """
    global _open
    with _counting:
        _open += more
        if ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, int(_open > 0), 0, 0, 0) and more > 0:
            _open -= more
            raise OSError("orphans cannot be adopted here")


def _pipe(ours: ExitStack, theirs: ExitStack, to_worker: bool) -> tuple[int, int]:
    """Return our end and the worker's end of a pipe, each with what closes it."""
    read, write = os.pipe()
    near, far = (write, read) if to_worker else (read, write)
    ours.callback(os.close, near)
    theirs.callback(os.close, far)
    return near, far


def can_fork() -> bool:
    """Whether this system has reapers of orphans."""
    return sys.platform == "linux"
