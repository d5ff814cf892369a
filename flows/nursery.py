"""Workers that are forked from a process which has imported torch and the rest (sgm_core.nursery).

A new process takes seconds of a core until it can compute; a forked one takes milliseconds, and shares the
libraries' memory with the others. Used where several cells run at once on the CPU of one machine.
"""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import IO

PR_SET_CHILD_SUBREAPER = 36


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
                status = os.waitpid(self.pid, 0)[1]
                self.returncode = os.waitstatus_to_exitcode(status)
            return self.returncode


class Nursery:
    """The process that forks.

    Its death is tied to the thread that makes it. If it dies `fork` returns None from then on.

    Args:
        command: of a worker.
        variables: the environment of its workers.
        line: of a job, whose imports are made.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, command: list[str], variables: Mapping[str, str], line: str) -> None:
        # Orphans of our children become our children.
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._guard = threading.Lock()
        self._asked, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [*command, "--fork", str(theirs.fileno())],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=dict(variables),
                pass_fds=[theirs.fileno()],
                process_group=0,
            )
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(line.encode())
            self._process.stdin.close()

    def fork(self) -> Forked | None:
        """Return a new worker, after the imports are over; None if the nursery is dead."""
        pipes = [os.pipe() for _ in range(3)]
        theirs = [pipes[0][0], pipes[1][1], pipes[2][1]]
        ours = [pipes[0][1], pipes[1][0], pipes[2][0]]
        try:
            with self._guard:
                socket.send_fds(self._asked, [b"+"], theirs)
                told = self._asked.recv(32)
        except OSError:
            told = b""
        for file in theirs:
            os.close(file)
        if not told:
            for file in ours:
                os.close(file)
            return None
        into, *out = ours
        stdin = open(into, "w", encoding="utf-8")  # noqa: SIM115
        stdout, stderr = (open(f, encoding="utf-8", errors="replace") for f in out)  # noqa: SIM115
        return Forked(int(told), stdin, stdout, stderr)

    def close(self) -> None:
        """End it; its workers live on."""
        self._process.kill()
        self._process.wait()
        with suppress(OSError):
            self._asked.shutdown(socket.SHUT_RDWR)
        self._asked.close()


def can_fork() -> bool:
    """Whether this system has reapers of orphans."""
    return sys.platform == "linux"
