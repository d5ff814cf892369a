"""Metrics of the five swiss rolls, where the noise-free set is known.

* `off`: the root mean square distance to the nearest of the five curves (the data's own noise has
  two coordinates of 0.002 of which one is across the curve: 0.0020).
* `local`: every point goes to its nearest centre (rolls have radius 0.15, centres are 0.8 apart),
  the centre is subtracted, and the overlaid rolls are compared by sliced W2. It sees the shape of a
  roll and not how many points each has, which is what dominates the plain distance.
* `mode_balance`: the largest |share of a roll - 0.2|.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgm_core.data.swiss_roll import CENTRES, curve
from sgm_core.evaluate.measure import Measure, need
from sgm_core.evaluate.points import SLICED_LIMIT, PointMeasure, Points, sliced_w2
from sgm_core.evaluate.shares import least_share
from sgm_core.evaluate.uncertainty import Bootstrap

Array = NDArray[Any]
# Neighbouring points of the curve are at most 1e-4 apart: a thousandth of the noise in distance.
CURVE_POINTS = 20_000


class Rolls(Points):
    """A cloud of points near the five rolls."""

    @functools.cached_property
    def modes(self) -> Array:
        """Index of the nearest centre, (n,)."""
        d = ((self.x[:, None, :] - CENTRES[None]) ** 2).sum(-1)
        return np.asarray(d.argmin(1))

    @functools.cached_property
    def overlaid(self) -> Points:
        """The cloud with every point's nearest centre subtracted."""
        return Points(self.x - CENTRES[self.modes])

    @functools.cached_property
    def distances(self) -> Array:
        """Distance to the nearest of the five curves, (n,)."""
        return np.asarray(_tree().query(self.x)[0])


@functools.lru_cache(maxsize=1)
def _tree() -> Any:
    from scipy.spatial import cKDTree

    rolls = (CENTRES[:, None, :] + curve(CURVE_POINTS)[None]).reshape(-1, 2)
    return cKDTree(rolls)


def off(samples: Points, real: Points, boot: Bootstrap | None = None) -> Measure:
    """RMS distance to the noise-free rolls (units of the data)."""
    need(len(samples), len(real), 1)
    square = _rolls(samples).distances ** 2
    replicates = None
    if boot:
        replicates = np.sqrt(boot.mean("samples", square, boot.size(len(square))))
    distance = _rolls(samples).distances
    # A few strays can carry the whole mean square: say so beside it.
    details = {
        "median": float(np.median(distance)),
        "q99": float(np.quantile(distance, 0.99)),
        "largest": float(distance.max()),
    }
    return Measure(float(np.sqrt(square.mean())), len(samples), 0, replicates, details=details)


def local(samples: Points, real: Points, boot: Bootstrap | None = None) -> Measure:
    """Sliced W2 of the overlaid rolls (units of the data)."""
    return sliced_w2(_rolls(samples).overlaid, _rolls(real).overlaid, boot)


def mode_balance(samples: Points, real: Points, boot: Bootstrap | None = None) -> Measure:
    """Largest |share of a roll - 0.2|; `details` holds the five shares (centre first)."""
    need(len(samples), len(real), 1)
    inside = np.eye(len(CENTRES))[_rolls(samples).modes]
    shares = inside.mean(0)
    replicates = None
    if boot:
        resampled = boot.mean("samples", inside, boot.size(len(inside)))
        replicates = np.abs(resampled - 1 / len(CENTRES)).max(1)
    details: dict[str, Any] = {"shares": [round(float(s), 6) for s in shares]}
    details |= least_share(shares, np.full(len(CENTRES), 1 / len(CENTRES)), len(inside))
    value = float(np.abs(shares - 1 / len(CENTRES)).max())
    return Measure(value, len(samples), 0, replicates, (0.0, 1.0), details)


def _rolls(points: Points) -> Rolls:
    assert isinstance(points, Rolls)
    return points


MEASURES: dict[str, PointMeasure] = {"off": off, "local": local, "mode_balance": mode_balance}
LIMITS: dict[str, int] = {"local": SLICED_LIMIT}
