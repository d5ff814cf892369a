"""SIGTERM ends a process that computes, whatever swallows it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sgm_core.code import ROOT
from sgm_core.ending import STOPPED

# The signal arrives where a library suppresses exceptions, as `import torch` does.
SWALLOWING = """
import os, signal, sys, time
from sgm_core import ending
ending.EXIT_SECONDS = 0.5
signal.signal(signal.SIGTERM, ending.terminate)
class Left:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
try:
    try:
        os.kill(os.getpid(), signal.SIGTERM) if sys.argv[1] == "library" else Left()
    except Exception:
        pass
    print("went on", flush=True)
    time.sleep(60)
except ending.Terminated:
    print("stopped", flush=True)
    sys.exit(ending.Terminated.exit_code)
"""


@pytest.mark.parametrize(("where", "said"), [("library", "stopped"), ("destructor", "went on")])
def test_a_stop_that_is_swallowed_still_ends_the_process(where: str, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SWALLOWING, where], cwd=ROOT, capture_output=True, text=True, timeout=30
    )  # fmt: skip
    assert (done.returncode, done.stdout.strip()) == (STOPPED, said)
