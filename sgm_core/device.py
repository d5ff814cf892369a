"""What this machine has to compute with, found out without importing torch."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import math
import os
from pathlib import Path

from sgm_core.errors import SgmError


def device_class(setting: str) -> str:
    """Return "cpu" or "cuda" for a `device` setting.

    "auto" is cuda where the machine shows an NVIDIA device that CUDA_VISIBLE_DEVICES does not hide
    and the installed torch is not the CPU-only build.
    """
    if setting != "auto":
        return setting
    return "cuda" if gpus() and "+cpu" not in _torch_version() else "cpu"


def gpus() -> list[str]:
    """The visible GPUs, as values for CUDA_VISIBLE_DEVICES."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = len(list(Path("/dev").glob("nvidia[0-9]*")))
    count = count or len(list(Path("/proc/driver/nvidia/gpus").glob("*")))
    if visible is None or not count:
        return [str(i) for i in range(count)]
    # As CUDA reads it: the list ends at the first entry that names no device.
    chosen: list[str] = []
    for entry in (part.strip() for part in visible.split(",")):
        if not entry or entry.startswith("-"):
            break
        chosen.append(entry)
    return chosen


def cores() -> int:
    """The CPU cores this process may use: its affinity, and its container's quota."""
    count = len(os.sched_getaffinity(0))
    with contextlib.suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        count = min(count, max(1, math.floor(int(quota) / int(period))))
    return count


def torch_release() -> str:
    """The installed torch's major.minor, e.g. "2.15"; a patch release retrains nothing."""
    return ".".join(_torch_version().split(".")[:2])


@functools.cache
def _torch_version() -> str:
    try:
        return importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        raise SgmError("torch is not installed; install the project's requirements") from None
