"""What a sampler sees on its way from noise to data.

`model.sample(..., callback=...)` reports at every step the state x_t in data range, as
y = x_0 + sigma_eff eps (position channel, rescaled), and the prediction x_0 = D(y; sigma_eff).
y grows with sigma_eff; pictures show it normalised,

    (y - center) * sigma_data / sqrt(sigma_data^2 + sigma_eff^2) + center,

which has the spread of the data at every noise level, so that one window fits all panels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Moment:
    """One step: time, noise level (in units of the model space), states and predictions."""

    t: float
    sigma: float
    x: Array
    x0: Array


@dataclass(frozen=True)
class Trace:
    """The steps of one call of `sample` and what it returned, in data range."""

    moments: Sequence[Moment]
    x: Array
    labels: NDArray[np.int64] | None


def record(model: Any, n: int, *, seed: int = 0) -> Trace:
    """Sample `n` items and keep every step."""
    moments: list[Moment] = []

    def keep(step: int, steps: int, t: float, sigma: float, x: Any, x0: Any) -> None:
        state, prediction = np.array(x, dtype=np.float64), np.array(x0, dtype=np.float64)
        moments.append(Moment(float(t), float(sigma), state, prediction))

    result = model.sample(n, seed=seed, batch=n, callback=keep)
    labels = None if result.labels is None else np.asarray(result.labels, dtype=np.int64)
    return Trace(moments, np.asarray(result.x, dtype=np.float64), labels)


def pick(moments: Sequence[Moment], count: int, high: float, low: float) -> list[Moment]:
    """Choose up to `count` steps, evenly spaced in ln sigma from `high` (noise) to `low`."""
    usable = sorted((m for m in moments if 0 < m.sigma < math.inf), key=lambda m: -m.sigma)
    if not usable:
        return []
    high = min(high, usable[0].sigma)
    low = min(max(low, usable[-1].sigma), high)
    logs = np.log([m.sigma for m in usable])
    chosen: list[int] = []
    for target in np.linspace(math.log(high), math.log(low), count):
        nearest = int(np.argmin(np.abs(logs - target)))
        if nearest not in chosen:
            chosen.append(nearest)
    return [usable[i] for i in sorted(chosen)]


def normalised(moment: Moment, meta: dict[str, Any]) -> Array:
    """Return the states with the spread of the data (see the module's formula), in data range."""
    center = broadcast(meta["center"], moment.x.ndim)
    sigma_data = float(meta.get("sigma_data") or 1.0)
    shrink = sigma_data / math.hypot(sigma_data, moment.sigma)
    return np.asarray((moment.x - center) * shrink + center)


def broadcast(value: Any, ndim: int) -> Array:
    """Shape a dataset's center or scale (one number, or one per coordinate) for (n, ...) arrays."""
    flat = np.asarray(value, dtype=np.float64).reshape(-1)
    return flat if ndim == 2 else flat.reshape(-1, *([1] * (ndim - 2)))
