"""Starts the ranks of one training (see sgm_core.train.ranks) and ends all of them with the first.

    the worker  --job on stdin-->  python -m sgm_core.train.rank  x devices
                <--events, one JSON object a line on stdout--

A rank that is killed leaves the others waiting in a collective operation; so when one ends before its
time, the rest gets SIGTERM, and SIGKILL soon after. The cell resumes from the checkpoint of rank 0. A
SIGTERM is passed on: the ranks agree on the step after which all of them stop. Ranks hold the lease of
the cell together with this process, and end when it dies.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sgm_core.config.custom import used_folders
from sgm_core.device import gpus
from sgm_core.errors import SgmError
from sgm_core.store.lease import held

STOP_SECONDS = 8.0  # from SIGTERM to SIGKILL when the cell is stopped
LOST_SECONDS = 1.0  # the same for ranks that have lost another
POLL_SECONDS = 0.05
STOPPED = 143  # the exit code of a rank that obeyed SIGTERM
PARENT, RANK = "SGM_PARENT_PID", "SGM_RANK"

Emit = Callable[[dict[str, Any]], None]


class RankKilled(SgmError):
    """A signal killed a rank; the cell can be started again."""

    exit_code = 137


def check_devices(count: int, device: str) -> None:
    """Refuse a cell that needs more GPUs than this process sees.

    Raises:
        SgmError: one sentence.
    """
    seen = gpus()
    if device == "cuda" and len(seen) < count:
        few = f"{len(seen)} ({', '.join(seen)})" if seen else "none"
        raise SgmError(
            f"training.devices: {count} GPUs are asked for and this slot has {few}; give each worker "
            f"{count} of them (sgm worker --gpus {'+'.join(map(str, range(count)))}) or lower devices"
        )


def train_on_ranks(count: int, job: Mapping[str, Any], emit: Emit, stop: threading.Event) -> None:
    """Run the ranks of a training to their end.

    Args:
        count: how many.
        job: spec, dataset and work, as `sgm_core.train.rank` reads them.
        emit: receives the events of rank 0.
        stop: when it is set the ranks save a checkpoint and end.

    Raises:
        SgmError: as a rank said it, with its exit code.
        RankKilled: a rank was killed.
    """
    with tempfile.TemporaryDirectory(prefix="sgm-ranks-") as meeting:
        text = json.dumps({**job, "world": count, "meeting": str(Path(meeting, "file"))})
        ranks = [_Rank(number, text, emit) for number in range(count)]
        try:
            _wait(ranks, stop)
        finally:
            for rank in ranks:
                rank.end()
    _report(ranks, stop.is_set())


def _wait(ranks: list[_Rank], stop: threading.Event) -> None:
    """Wait until all have ended; end the others when one fails."""
    deadline = float("inf")
    while any(rank.code is None for rank in ranks):
        for rank in ranks:
            if rank.refused is not None:
                raise rank.refused
        ended = {rank.code for rank in ranks} - {None, 0}
        if deadline == float("inf") and (ended or stop.is_set()):
            if ended:
                time.sleep(2 * POLL_SECONDS)  # whoever was killed is seen as dead by now
            for rank in ranks:
                rank.first = rank.code is not None
            for rank in ranks:
                rank.signal(signal.SIGTERM)
            # After an agreed stop the first rank may still be saving its checkpoint.
            seconds = LOST_SECONDS if ended - {STOPPED} else STOP_SECONDS
            deadline = time.monotonic() + seconds
        if time.monotonic() > deadline:
            return
        time.sleep(POLL_SECONDS)


def _report(ranks: list[_Rank], stopped: bool) -> None:
    """Raise what the first rank that failed by itself has to say."""
    failed = [rank for rank in ranks if rank.code]
    said = [rank.error for rank in failed if rank.error and not rank.error["unexpected"]]
    if said:
        raise _Said(str(said[0]["message"]), int(said[0]["exit_code"]))
    if failed and stopped:
        raise _Said("stopped; run again to go on from the last checkpoint", STOPPED)
    for rank in failed:
        if rank.first and rank.code is not None and rank.code < 0:
            raise RankKilled(
                f"rank {rank.number} of {len(ranks)} was killed by signal {-rank.code}; "
                "run again to go on from the last checkpoint"
            )
    if failed:
        words = [str(rank.error["message"]) for rank in failed if rank.error]
        words = words or [f"rank {rank.number} ended with {rank.code}" for rank in failed]
        raise SgmError("; ".join(dict.fromkeys(words)))


class _Said(SgmError):
    """The error of a rank."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class _Rank:
    """A rank's process.

    Attributes:
        error: its last words, if it failed in good order.
        first: it had ended before anybody sent it a signal.
        refused: raised by whoever received its events: nobody wants the cell any more.
    """

    def __init__(self, number: int, job: str, emit: Emit) -> None:
        self.number, self.emit, self.first = number, emit, False
        self.error: dict[str, Any] | None = None
        self.refused: Exception | None = None
        paths = [*(path for path in sys.path if path), *map(str, used_folders())]
        variables = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            PARENT: str(os.getpid()),
            RANK: str(number),
            # All on one machine: no need of a host name that resolves.
            "GLOO_SOCKET_IFNAME": "lo",
            "NCCL_SOCKET_IFNAME": "lo",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "sgm_core.train.rank"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=variables,
            pass_fds=held(),
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(job)
            self._process.stdin.close()

    @property
    def code(self) -> int | None:
        """Its exit code, minus the signal that killed it, or None while it runs."""
        return self._process.poll()

    def signal(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        if self._process.poll() is None:
            self._process.send_signal(number)

    def end(self) -> None:
        """Kill it, if it still runs, and read its last words."""
        self.signal(signal.SIGKILL)
        self._process.wait()
        self._reader.join(timeout=5)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                event = json.loads(line)
            except ValueError:
                continue  # a line cut off by a kill
            if event.get("event") == "error":
                self.error = event
            elif self.number == 0 and self.refused is None:
                try:
                    self.emit(event)
                except Exception as error:
                    self.refused = error  # for the thread that waits; the pipe is read on
