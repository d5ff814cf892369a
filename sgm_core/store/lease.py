"""A lease: the right to build one entry, held by at most one process and lost when it dies.

It is an flock(2) on a file beside the entry. The kernel releases it when the holder's last file
descriptor closes, so after kill -9 the next one in the queue goes on at once; nothing has to be
cleaned up, no clock is compared. Lock files stay: removing one while another process waits on it
would let two processes hold "the same" lock.

A child made by fork() would share the descriptor and keep the lease alive after its parent's death,
so it is closed in every such child; a program started by exec never sees it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from sgm_core.store.files import os_errors

POLL_SECONDS = 0.1

_held: set[int] = set()


def _forget_after_fork() -> None:
    for descriptor in _held:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_forget_after_fork)


def held() -> tuple[int, ...]:
    """The open files of the leases that this process holds; given to a program that it starts
    (`pass_fds`), they are held until that has ended too."""
    return tuple(_held)


@contextlib.contextmanager
def lease(
    path: Path, wait: bool = True, waiting: Callable[[str], None] | None = None
) -> Iterator[bool]:
    """Hold the lease `path` within the block; threads of one process exclude each other too.

    Args:
        path: the lock file; made if it does not exist.
        wait: wait for another holder, or yield False at once.
        waiting: called once with the holder ("process 123"), when it has to wait.

    Yields:
        True with the lease, False without (only if `wait` is false).

    Raises:
        SgmError: the lock file cannot be made.
    """
    with os_errors(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    _held.add(descriptor)
    try:
        yield _acquire(path, descriptor, wait, waiting)
    finally:
        if descriptor in _held:  # not in a forked child, where it is closed already
            _held.remove(descriptor)
            # Closing alone would not do while a child that is just being forked has a copy.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)


def _acquire(
    path: Path, descriptor: int, wait: bool, waiting: Callable[[str], None] | None
) -> bool:
    told = False
    # Polling, because a blocking flock in a thread could not be interrupted by Ctrl-C.
    while not _try(path, descriptor):
        if not wait:
            return False
        if not told and waiting is not None:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            waiting(f"process {holder}" if holder.isdigit() else "another process")
        told = True
        time.sleep(POLL_SECONDS)
    # The number is for messages only, so a full disk does not matter here.
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return True


def _try(path: Path, descriptor: int) -> bool:
    with os_errors(path):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
