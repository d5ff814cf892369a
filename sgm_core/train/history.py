"""What a training tells: progress about once a second, the loss over steps, and whether it is finite."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from sgm_core.errors import SgmError
from sgm_core.train.checkpoint import load_checkpoint
from sgm_core.train.loop import StepReport, TrainState

HISTORY_POINTS = 200  # at most
POINT_STEPS = 5  # at least, but for what is left at the end: the loss of one step is mostly noise
PROGRESS_SECONDS = 1.0
UNREAD = 256  # steps whose losses are read together

Emit = Callable[[dict[str, Any]], None]


class History:
    """Loss over steps: running means, one point per interval; restored with the checkpoint."""

    def __init__(self, work: Path, state: TrainState, emit: Emit) -> None:
        self.steps = state.settings.steps
        self.interval = max(POINT_STEPS, -(-self.steps // HISTORY_POINTS))
        self.emit = emit
        self.last: StepReport | None = None
        saved = load_checkpoint(work, state, lambda text: emit({"event": "message", "text": text}))
        self.points: list[dict[str, Any]] = [p for p in saved if "pending" not in p]
        pending = next((p["pending"] for p in saved if "pending" in p), [0.0, 0.0, 0])
        self.loss, self.norm = float(pending[0]), float(pending[1])
        self.count = int(pending[2])
        self.before = next((p["elapsed"] for p in saved if "pending" in p), 0.0)
        self.started = self.shown = time.monotonic()
        self.first = state.step
        self.sent = len(self.points)
        self._unread: list[tuple[StepReport, float]] = []
        if state.step:
            emit({"event": "message", "text": f"resumed at step {state.step} of {self.steps}"})

    def seconds(self) -> float:
        """Training time so far, earlier attempts included."""
        return float(self.before + time.monotonic() - self.started)

    def add(self, report: StepReport) -> None:
        """Take in a step; emit progress about once a second.

        Losses are read some steps later, many at once: reading one makes a GPU wait.
        """
        self.last = report
        if report.step == self.steps:
            report.loss.item()  # the device has finished when this returns, and `seconds` counts it
        self._unread.append((report, self.seconds() if self._ends_interval(report) else 0.0))
        now = time.monotonic()
        shown = now - self.shown >= PROGRESS_SECONDS or report.step == self.steps
        if shown or len(self._unread) >= UNREAD:
            self._read()
        if shown:
            self.shown = now
            rate = (report.step - self.first) / max(1e-9, now - self.started)
            self.emit(
                {
                    "event": "progress",
                    "phase": "train",
                    "step": report.step,
                    "steps": self.steps,
                    "loss": self.points[-1]["loss"] if self.points else float(report.loss),
                    "steps_per_s": rate,
                    "eta_s": (self.steps - report.step) / max(1e-9, rate),
                    "history": self.points[self.sent :],  # points finished since the last event
                }
            )
            self.sent = len(self.points)

    def _ends_interval(self, report: StepReport) -> bool:
        return report.step % self.interval == 0 or report.step == self.steps

    def _read(self) -> None:
        """Add up what was taken in; a point for every interval that ended."""
        unread, self._unread = self._unread, []
        if not unread:
            return
        told = torch.stack([torch.stack([r.loss, r.grad_norm]) for r, _ in unread]).tolist()
        for (report, seconds), (loss, norm) in zip(unread, told, strict=True):
            self.loss += loss
            self.norm += norm
            self.count += 1
            if self._ends_interval(report):
                self._check_finite(report.step)
                self.points.append(
                    {
                        "step": report.step,
                        "loss": self.loss / self.count,
                        "grad_norm": self.norm / self.count,
                        "lr": report.lr,
                        "seconds": seconds,
                    }
                )
                self.loss, self.norm, self.count = 0.0, 0.0, 0

    def check(self, report: StepReport) -> None:
        """Fail on a loss that is not finite, before it reaches a checkpoint."""
        self._read()
        self._check_finite(report.step)

    def _check_finite(self, step: int) -> None:
        if not math.isfinite(self.loss + self.norm):
            raise SgmError(
                f"the loss is not finite at step {step} of {self.steps}; "
                "lower training.lr or raise training.warmup"
            )

    def record(self) -> list[dict[str, Any]]:
        """What a checkpoint keeps: the points and the unfinished interval; after `check`."""
        pending = {"pending": [self.loss, self.norm, self.count], "elapsed": self.seconds()}
        return [*self.points, pending]
