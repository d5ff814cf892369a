"""The memory of a training stays what a step needs, though freed blocks stay with the process."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest

import sgm_core

# A small object behind each block, and a gap that is too small for the next one: 8 MB lost a step.
STEPS = """
import ctypes
from sgm_core.heap import EVERY, KeptMemory, anonymous
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.realloc.restype = ctypes.c_void_p
libc.malloc.argtypes, libc.realloc.argtypes = [ctypes.c_size_t], [ctypes.c_void_p, ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
memory, most = KeptMemory(growth=32 * 2**20), 0
for step in range(1, 4 * EVERY + 1):
    size = 8 * 2**20 + 4096 * step
    block, small = libc.malloc(size), libc.realloc(libc.malloc(size), 5000)
    ctypes.memset(block, 1, size)
    libc.free(block)
    if LOOKS: memory.look(step)
    most = max(most, anonymous())
print(most // 2**20)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="the C library is glibc")
def test_gaps_that_fit_no_block_are_given_back() -> None:
    def peak(looks: bool) -> int:
        code = f"LOOKS = {looks}\n{STEPS}"
        root = Path(sgm_core.__file__).parents[1]
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
        )
        return int(done.stdout)

    assert peak(looks=False) > 640  # megabytes: the loss is real
    assert peak(looks=True) < 450  # two times 20 steps of 8, and what Python needs
