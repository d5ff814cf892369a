"""A process that has imported what cells need, and forks a worker whenever it is asked for one.

Its parent writes the line of a job to its stdin, and speaks to it through a Unix socket:

    one byte with three descriptors     stdin, stdout and stderr of a new worker
    <- a number                         the worker's process id

A worker is forked twice, so that the kernel gives it to the process that asked (which has made itself the
reaper of its orphans): there its exit code can be read. Nothing is computed here and no thread is started
before the fork, which would not survive it; so it is for cells on the CPU, whose libraries have one thread.
"""

from __future__ import annotations

import os
import socket
import sys
import time
import warnings
from collections.abc import Sequence

from sgm_core.ending import PARENT

ADOPTION_SECONDS = 10.0


def grow(number: int) -> bool:
    """Fork workers until the other end of socket `number` is closed; True in a worker, then False."""
    parent = int(os.environ[PARENT])
    with socket.socket(fileno=number) as asked:
        while True:
            try:
                message, files, _, _ = socket.recv_fds(asked, 1, 3)
            except OSError:
                return False
            if not message:
                return False
            pid = _forked(files)
            if pid == 0:
                break
            for file in files:
                os.close(file)
            try:
                asked.sendall(f"{pid}\n".encode())
            except OSError:
                return False
    _adopted(parent)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    return True


def _forked(files: Sequence[int]) -> int:
    """Fork a worker on these descriptors; return its process id, and 0 in the worker."""
    read, write = os.pipe()
    with warnings.catch_warnings():
        # A library's own thread (that of jemalloc) is started again by it where it is needed.
        warnings.simplefilter("ignore", DeprecationWarning)
        between = os.fork()
        if between == 0:
            pid = os.fork()
            if pid:
                os.setpgid(pid, pid)
                os.write(write, str(pid).encode())
                os._exit(0)
            for target, file in enumerate(files):
                os.dup2(file, target)
            for file in (*files, read, write):
                os.close(file)
            return 0
    os.close(write)
    os.waitpid(between, 0)  # now the worker is the asker's child
    told = os.read(read, 32)
    os.close(read)
    return int(told)


def _adopted(parent: int) -> None:
    """Wait until the process that asked is the parent; end if it has died."""
    deadline = time.monotonic() + ADOPTION_SECONDS
    while os.getppid() != parent:
        if time.monotonic() > deadline:
            os._exit(1)
        time.sleep(0.001)
