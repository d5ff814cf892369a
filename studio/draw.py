"""What one request asks to be drawn, and where its events go."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from sgm_core.errors import SgmError

if TYPE_CHECKING:
    from studio.version import Opened

Array = np.ndarray[Any, Any]


class Left(Exception):
    """Nobody waits for this run any more."""


@dataclass(frozen=True)
class Recipe:
    """How samples are drawn. Requests with equal recipes are drawn in one run: samples of one run
    differ by seed and class only.

    Attributes:
        opened: the version.
        variant: which form of its network.
        settings: of `ScoreModel.sample`, as JSON: sampler, steps, options, grid, guidance, ...
        process: the process that is sampled under; None: the trained one.
        guided: whether guidance has an effect (it doubles the evaluations).
        alone: a number for requests that are drawn alone, 0 for the others.
    """

    opened: Opened
    variant: str
    settings: str
    process: str | None
    guided: bool
    alone: int = 0

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of `ScoreModel.sample`."""
        return {**json.loads(self.settings), "process": self.opened.process(self.process)}


@dataclass(frozen=True)
class Hole:
    """An item in the data's range, and where it is known (inpainting)."""

    image: Array
    known: Array


@dataclass(frozen=True)
class Change:
    """An item in the data's range, and the share of the grid that is walked from it (SDEdit)."""

    image: Array
    strength: float


@dataclass(frozen=True)
class Path:
    """Two seeds; the samples stand evenly between theirs."""

    first: int
    second: int


Task = Hole | Change | Path | None


@dataclass(eq=False)
class Draw:
    """One request, from the moment it was admitted until its last event.

    Attributes:
        recipe, seeds, labels: what to draw; one seed and class per sample.
        every: frames are sent each so many steps; 0: none.
        emit: takes one event, as bytes; may be called from any thread; False: nobody listens.
        deadline: of time.monotonic(), after which it is given up.
        task: what to do other than draw samples of the law.
    """

    recipe: Recipe
    seeds: Array
    labels: Array | None
    every: int
    emit: Callable[[bytes], bool]
    deadline: float
    task: Task = None
    seconds: float = 0.0
    ended: bool = False
    _end: threading.Lock = field(default_factory=threading.Lock)

    @property
    def n(self) -> int:
        """Samples."""
        return len(self.seeds)

    def wanted(self) -> bool:
        """Tell whether to go on; a request whose time is over is told so here."""
        if not self.ended and time.monotonic() > self.deadline:
            self.fail("it took longer than the server allows; ask for fewer samples or steps")
        return not self.ended

    def leave(self) -> None:
        """Note that the client is gone."""
        self.ended = True

    def frame(self, step: int, steps: int, t: float, sigma: float, x_t: Array, x_0: Array) -> None:
        """Send a step; arrays (n, *shape) in the data's range."""
        if self.every and not self.ended and (step % self.every == 0 or step == steps):
            numbers = {"step": step, "steps": steps, "t": t, "sigma": sigma}
            fields = {**numbers, "x_t": packed(x_t), "x_0": packed(x_0)}
            self.ended = not self.emit(event("frame", fields)) or self.ended

    def finish(self, x: Array, nfe: int) -> None:
        """Send the samples (n, *shape); what is not finite is an error."""
        lost = int((~np.isfinite(x)).reshape(len(x), -1).any(1).sum())
        if lost:
            return self.fail(
                f"{lost} of {len(x)} samples are not finite: the path of sampling diverged; try more "
                "steps, a smaller guidance or another sampler"
            )
        labels = None if self.labels is None else self.labels.tolist()
        last = {"nfe": nfe, "seconds": self.seconds, "x": packed(x), "labels": labels}
        self._last("done", last)

    def fail(self, sentence: str) -> None:
        """Send why there will be no samples."""
        self._last("error", {"detail": sentence})

    def _last(self, name: str, fields: Mapping[str, Any]) -> None:
        with self._end:
            if not self.ended:
                self.ended = True
                self.emit(event(name, fields))


def event(name: str, fields: Mapping[str, Any]) -> bytes:
    """Return a Server-Sent Event."""
    return f"event: {name}\ndata: {json.dumps(fields, allow_nan=False)}\n\n".encode()


def packed(x: Array) -> str:
    """Return an array as base64 of little-endian float32, C order."""
    return base64.b64encode(np.ascontiguousarray(x, dtype="<f4").tobytes()).decode()


def unpacked(text: str, kind: str, count: int, name: str) -> Array:
    """Return `count` numbers of base64 text; the inverse of `packed`.

    Args:
        kind: "<f4" or "u1".
        name: the field, for the message.

    Raises:
        ValueError: one sentence.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        raise ValueError(f"{name}: is not base64; encode the array's bytes") from None
    size = np.dtype(kind).itemsize
    if len(data) != count * size:
        what = "float32 (little-endian)" if kind == "<f4" else "uint8"
        raise ValueError(
            f"{name}: holds {len(data)} bytes; this model takes {count} numbers of {what}, "
            f"{count * size} bytes"
        )
    return np.frombuffer(data, dtype=kind)


def sentence(error: BaseException) -> str:
    """Return what a client is told of an error: a sentence of ours, or that it is our defect."""
    if isinstance(error, SgmError):
        return str(error)
    if isinstance(error, MemoryError):
        return "the server's memory does not hold this many samples; ask for fewer"
    return "internal error of the server; its log says more"
