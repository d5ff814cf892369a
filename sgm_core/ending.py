"""How a process of ours ends: soon after SIGTERM, and soon after its parent.

Python turns a signal into an exception wherever the interpreter happens to be. Libraries suppress
exceptions (`import torch` does, and so does whatever runs in a destructor), and a stop that is swallowed
there would be lost. So it is no `Exception`, and EXIT_SECONDS after the signal the process ends in any
case: nothing that it holds is lost by that (see sgm_core.store), and whoever sent the signal sends
SIGKILL next.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import threading
import time
from typing import NoReturn

STOPPED = 143  # exit code of a process that obeyed SIGTERM
EXIT_SECONDS = 9.0
GRACE_SECONDS = 10.0  # from SIGTERM to SIGKILL
PARENT = "SGM_PARENT_PID"
PARENT_POLL_SECONDS = 0.5
PR_SET_PDEATHSIG = 1


class Terminated(BaseException):
    """SIGTERM arrived outside training, which saves a checkpoint and stops by itself."""

    exit_code = STOPPED


def terminate(number: int, frame: object) -> NoReturn:
    """As the handler of SIGTERM in a process that computes: stop the work."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: let the clean-up finish
    exit_within(EXIT_SECONDS, STOPPED)
    raise Terminated("stopped by SIGTERM; run again to go on from the last checkpoint")


def exit_within(seconds: float, code: int) -> None:
    """End this process after some seconds, unless it has ended by then; returns at once."""
    last = threading.Timer(seconds, os._exit, (code,))
    last.daemon = True
    last.start()


def die_with_parent(parent: int) -> None:
    """Make this process end when its parent does: SIGTERM, then SIGKILL to the group.

    Args:
        parent: the parent's id as it was at the start of this process.
    """
    # The kernel's signal comes at once, but only when the *thread* that started us ends, and it
    # is lost if the parent died before this line; the watch covers both.
    _signalled_with_parent(signal.SIGTERM)
    watch_parent(parent)


def killed_with_parent(parent: int) -> None:
    """`die_with_parent` for a process that forks: at once, without a thread, which would not survive it."""
    _signalled_with_parent(signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # it died before this line


def _signalled_with_parent(number: int) -> None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)


def watch_parent(parent: int) -> None:
    """`die_with_parent` for a process that may outlive the thread that started it."""
    threading.Thread(target=_watch, args=(parent,), daemon=True, name="parent-watch").start()


def _watch(parent: int) -> NoReturn:
    while os.getppid() == parent:
        time.sleep(PARENT_POLL_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(STOPPED)
