"""`sgm worker`: one Prefect worker per GPU (or per slot of the CPU), kept running.

    slot i:  CUDA_VISIBLE_DEVICES = its GPUs    prefect worker start --pool gpu --limit 1

Prefect knows no devices: a pool hands a run to any worker with room, so each GPU has a worker of its
own that runs one cell at a time and sees nothing else (`--gpus 0+1,2+3`: a worker per pair, for cells
with `training.devices: 2`). A worker that ends by itself is started again
after a pause; SIGTERM and Ctrl-C end all of them. After kill -9 of the parent they end too, so that
whoever starts it again does not get two workers per GPU.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from sgm_core.device import cores, gpus
from sgm_core.errors import SgmError, UsageError

PAUSE_SECONDS = 5.0  # before a worker that ended is started again
QUERY_SECONDS = "2"  # between two looks for work; Prefect's own 10 are idle time after each chunk
GRACE_SECONDS = 30.0  # for a cell to save its checkpoint and its worker to say goodbye
# Runs in the new process before Prefect: the kernel sends it SIGTERM when its parent dies.
LEASH = """
import ctypes, os, signal, sys
try:
    ctypes.CDLL(None).prctl(1, signal.SIGTERM, 0, 0, 0)
except (OSError, AttributeError):  # not Linux
    pass
if os.getppid() != int(sys.argv[1]):
    sys.exit(143)
os.execv(sys.executable, [sys.executable, "-m", "prefect", *sys.argv[2:]])
"""


@dataclass(frozen=True)
class Slot:
    """Where one cell at a time runs: a worker's name, and its CUDA_VISIBLE_DEVICES ("": none)."""

    name: str
    device: str


def slots_of(wanted: str, slots: int | None) -> list[Slot]:
    """Return a slot per GPU, or `slots` of them on the CPU.

    Args:
        wanted: "all", GPUs such as "0,2", or groups of them such as "0+1,2+3"; "" with `slots`.

    Raises:
        UsageError: there is no such GPU, or both or neither are given.
    """
    host = socket.gethostname()
    if bool(wanted) == (slots is not None):
        raise UsageError(
            "write either --gpus all (or --gpus 0,1, or 0+1,2+3) or --slots N for the CPU"
        )
    if slots is not None:
        if slots < 1:
            raise UsageError(f"--slots: {slots} is too few; write 1 or more")
        if slots > cores():
            print(f"note: {slots} slots share {cores()} cores", flush=True)
        return [Slot(f"{host}-cpu{i}", "") for i in range(slots)]
    known = gpus()
    if not known:
        raise UsageError("--gpus: this machine has no GPU that torch can use; write --slots N")
    groups = [[gpu] for gpu in known] if wanted == "all" else _groups(wanted)
    chosen = [gpu for group in groups for gpu in group]
    for gpu in chosen:
        if gpu not in known:
            raise UsageError(f"--gpus: {gpu!r} is not a GPU of this machine ({', '.join(known)})")
    if len(set(chosen)) < len(chosen):
        raise UsageError(f"--gpus: {wanted!r} names a GPU twice; name each once")
    return [Slot(f"{host}-gpu{'+'.join(group)}", ",".join(group)) for group in groups]


def _groups(wanted: str) -> list[list[str]]:
    """Read "0+1,2" as [["0", "1"], ["2"]]."""
    return [[gpu.strip() for gpu in group.split("+")] for group in wanted.split(",")]


class Agents:
    """Keeps a Prefect worker per slot.

    Args:
        slots: of `slots_of`; pool: the work pool; root: the project's folder.
        pause: seconds before a worker that ended is started again.
    """

    def __init__(
        self, slots: Sequence[Slot], pool: str, root: Path, pause: float = PAUSE_SECONDS
    ) -> None:
        self.slots, self.pool, self.root, self.pause = list(slots), pool, root, pause
        self._stop = threading.Event()
        self._running: dict[Slot, subprocess.Popen[bytes]] = {}

    def run(self) -> None:
        """Start the workers and keep them until SIGTERM or Ctrl-C; then end them."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        due = dict.fromkeys(self.slots, 0.0)
        try:
            while not self._stop.is_set():
                for slot in self.slots:
                    self._tend(slot, due)
                self._stop.wait(0.2)
        finally:
            self._end()

    def _tend(self, slot: Slot, due: dict[Slot, float]) -> None:
        """Start the worker of a slot, if it does not run and its pause is over."""
        process = self._running.get(slot)
        if process is not None:
            if process.poll() is None:
                return
            del self._running[slot]
            due[slot] = time.monotonic() + self.pause
            text = f"worker {slot.name} ended with code {process.returncode}"
            print(f"{text}; starting it again in {self.pause:g} s", flush=True)
        if time.monotonic() >= due[slot]:
            self._running[slot] = self._start(slot)

    def _start(self, slot: Slot) -> subprocess.Popen[bytes]:
        command = ["worker", "start", "--pool", self.pool, "--type", "process"]
        command += ["--limit", "1", "--name", slot.name]
        leash = [sys.executable, "-c", LEASH, str(os.getpid()), *command]
        variables = {**os.environ, "CUDA_VISIBLE_DEVICES": slot.device}
        variables.setdefault("PREFECT_WORKER_QUERY_SECONDS", QUERY_SECONDS)
        try:
            # A group of its own: Ctrl-C in a terminal reaches it through us, once.
            process = subprocess.Popen(leash, cwd=self.root, env=variables, process_group=0)
        except OSError as error:
            raise SgmError(f"worker {slot.name} cannot be started: {error.strerror}") from None
        seen = f"GPU {slot.device.replace(',', ' and ')}" if slot.device else "CPU"
        print(f"worker {slot.name}: pool {self.pool}, {seen}", flush=True)
        return process

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._stop.set()

    def _end(self) -> None:
        for process in self._running.values():
            process.terminate()
        deadline = time.monotonic() + GRACE_SECONDS
        for process in self._running.values():
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
