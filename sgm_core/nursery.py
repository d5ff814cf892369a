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


def grow(number: int, parent: int) -> bool:
    """Fork workers until the other end of socket `number` is closed; True in a worker, then False.

    Args:
        parent: the process id of who asks.
    """
    sys.stdout.flush()  # what imports have printed is not the worker's
    sys.stderr.flush()
    with socket.socket(fileno=number) as asked:
        while True:
            try:
                message, files, _, _ = socket.recv_fds(asked, 1, 3)
                if not message:
                    return False
                pid, between = _forked(files)
                if pid == 0:
                    break
                for file in files:
                    os.close(file)
                asked.sendall(f"{pid}\n".encode())
            except OSError:
                return False
    while os.getppid() == between:  # until the kernel has given it to who asked
        time.sleep(0.001)
    if os.getppid() != parent:
        os._exit(1)  # who asked has died
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    return True


def _forked(files: Sequence[int]) -> tuple[int, int]:
    """Fork a worker on these descriptors; return its process id, or 0 in the worker, and that of the
    process in between."""
    read, write = os.pipe()
    with warnings.catch_warnings():
        # A library's own thread (that of jemalloc) is started again by it where it is needed.
        warnings.simplefilter("ignore", DeprecationWarning)
        between = os.fork()
        if between == 0:
            between = os.getpid()
            pid = os.fork()
            if pid:
                os.setpgid(pid, pid)
                os.write(write, str(pid).encode())
                os._exit(0)
            for target, file in enumerate(files):
                os.dup2(file, target)
            for file in (*files, read, write):
                os.close(file)
            return 0, between
    os.close(write)
    os.waitpid(between, 0)  # now the worker is the asker's child
    told = os.read(read, 32)
    os.close(read)
    return int(told), between
