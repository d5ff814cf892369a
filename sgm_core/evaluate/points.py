"""Distances between clouds of points: sliced and exact 2-Wasserstein, energy distance, MMD.

Sliced: SW2^2 = mean over directions u of W2^2(u.x, u.y), and in one dimension
W2^2 = int_0^1 (F^-1(q) - G^-1(q))^2 dq: sort and subtract. In the plane the directions are equally
spaced on the half circle (a quadrature: no seed, no noise); in more dimensions they are random
orthonormal frames from a fixed seed. Exact: the linear programme of optimal transport (POT), whose
dual potentials u, v also give the bootstrap: W2^2 of a resample is sum w u + sum w' v to first
order (arXiv 1705.01299). Shapes: x is (n, d), in the data's own units.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgm_core.evaluate.kernels import (
    distance_kernel,
    gaussian_kernel,
    inside,
    mmd2,
    squared_distances,
)
from sgm_core.evaluate.measure import Measure, need
from sgm_core.evaluate.nearness import MEASURES as NEAR
from sgm_core.evaluate.nearness import OF_PLACES, Nearby
from sgm_core.evaluate.uncertainty import Bootstrap

Array = NDArray[Any]
PointMeasure = Callable[["Points", "Points", "Bootstrap | None"], Measure]

DIRECTIONS = 64
# Of the directions, every fourth carries the bootstrap: deviations need less accuracy than values.
BOOT_STRIDE = 4
SLICED_LIMIT = 50_000
KERNEL_LIMIT = 2000
EXACT_LIMIT = 1000


class Points(Nearby):
    """A cloud of points in random order, so that its head is a random subset.

    Args:
        x: (n, d).
        closeness: s(x) of the first points to the training data (see `manifold`); None: not
            measured.
    """

    def __init__(self, x: Array, closeness: Array | None = None) -> None:
        self.x = np.ascontiguousarray(x, dtype=np.float64)
        self.closeness = closeness

    def __len__(self) -> int:
        return len(self.x)

    def head(self, limit: int) -> Array:
        """Return the first `limit` points."""
        return self.x[:limit]

    @property
    def places(self) -> Array:
        """The first 2,000 points."""
        return self.head(KERNEL_LIMIT)

    @functools.cached_property
    def projected(self) -> Array:
        """The first 50,000 points along every direction, unsorted: (directions, n)."""
        return directions(self.x.shape[1]) @ self.head(SLICED_LIMIT).T

    @functools.cached_property
    def quantiles(self) -> Array:
        """The projections, sorted along each direction: (directions, n)."""
        return np.sort(self.projected, axis=1)

    @functools.cached_property
    def order(self) -> Array:
        """What sorts every fourth projection (for the bootstrap)."""
        return np.argsort(self.projected[::BOOT_STRIDE], axis=1, kind="stable")

    @functools.cached_property
    def bandwidth(self) -> float:
        """The median distance between points, in the data's units (of at most 500 points)."""
        head = self.head(500)
        d = squared_distances(head, head)[np.triu_indices(len(head), 1)]
        return float(np.sqrt(np.median(d))) or 1.0

    @functools.cached_property
    def spread(self) -> float:
        """What the energy distance says of the points alone (see `kernels`)."""
        return inside(self.places, distance_kernel)

    @functools.cached_property
    def likeness(self) -> float:
        """What the MMD of this bandwidth says of the points alone."""
        return inside(self.places, gaussian_kernel(self.bandwidth))


@functools.lru_cache(maxsize=16)
def directions(d: int, count: int = DIRECTIONS, seed: int = 0) -> Array:
    """Return unit vectors (count, d): one for d = 1, equally spaced for d = 2, else orthonormal frames."""
    if d == 1:
        return np.ones((1, 1))
    if d == 2:
        angle = (np.arange(count) + 0.5) * np.pi / count
        return np.stack([np.cos(angle), np.sin(angle)], axis=1)
    rng = np.random.default_rng([seed, d])
    frames = []
    for _ in range(-(-max(count, d) // d)):
        q, r = np.linalg.qr(rng.standard_normal((d, d)))
        frames.append(q.T * np.sign(np.diagonal(r))[:, None])
    return np.concatenate(frames)[: max(count, min(d, 4 * count))]


@functools.lru_cache(maxsize=8)
def _steps(n: int, m: int) -> tuple[Array, Array, Array]:
    """Return where the quantile functions of n and m items are constant together.

    Between neighbouring breakpoints i/n and j/m both are: (index into x, index into y, width).
    """
    breaks = np.unique(np.concatenate([np.arange(n + 1) * m, np.arange(m + 1) * n]))
    left = breaks[:-1]
    return left // m, left // n, np.diff(breaks) / (n * m)


def w2_sorted(x: Array, y: Array) -> float:
    """Return W2^2 in one dimension, exact for sorted x (n,) and y (m,) of any sizes."""
    if len(x) == len(y):
        d = x - y
        return float(d @ d) / len(x)
    ix, iy, width = _steps(len(x), len(y))
    d = x[ix] - y[iy]
    return float(width @ (d * d))


def sliced_w2(samples: Points, real: Points, boot: Bootstrap | None = None) -> Measure:
    """Sliced W2 (units of the data), on at most 50,000 points a side; arXiv 1503.01445 and others."""
    n, m = min(len(samples), SLICED_LIMIT), min(len(real), SLICED_LIMIT)
    need(n, m, 2)
    squares = [w2_sorted(a, b) for a, b in zip(samples.quantiles, real.quantiles, strict=True)]
    replicates = _resample_sliced(samples, real, boot) if boot else None
    details = {"directions": len(squares)}
    return Measure(float(np.sqrt(np.mean(squares))), n, m, replicates, details=details)


def _resample_sliced(samples: Points, real: Points, boot: Bootstrap) -> Array:
    x, y = samples.quantiles[::BOOT_STRIDE], real.quantiles[::BOOT_STRIDE]
    n, m = x.shape[1], y.shape[1]
    b = boot.size(4 * n, 4 * m)
    wx, wy = boot.counts("samples", n, b), boot.counts("real", m, b)
    out = np.zeros(b)
    for u in range(len(x)):
        order_x, order_y = samples.order[u], real.order[u]
        for i in range(b):
            # The sorted resample is the sorted sample with each item repeated as often as drawn.
            out[i] += w2_sorted(
                np.repeat(x[u], wx[i][order_x]),
                np.repeat(y[u], wy[i][order_y]),
            )
    return np.asarray(np.sqrt(out / len(x)))


def exact_w2(samples: Points, real: Points, boot: Bootstrap | None = None) -> Measure:
    """Exact W2 (units of the data) between the first 1,000 points a side, by POT's network simplex."""
    import ot

    x, y = samples.head(EXACT_LIMIT), real.head(EXACT_LIMIT)
    need(len(x), len(y), 2)
    cost = squared_distances(x, y)
    # POT's emd2 warns when it runs out of iterations; a million is far above what 1,000 points need.
    square, log = ot.emd2([], [], cost, numItermax=1_000_000, log=True)
    replicates = None
    if boot:
        b = boot.size(len(x), len(y))
        first = boot.mean("samples", np.asarray(log["u"]), b)
        replicates = np.sqrt(np.maximum(first + boot.mean("real", np.asarray(log["v"]), b), 0.0))
    value = float(np.sqrt(max(float(square), 0.0)))
    return Measure(value, len(x), len(y), replicates, details={"subset": EXACT_LIMIT})


def energy(samples: Points, real: Points, boot: Bootstrap | None = None) -> Measure:
    """Energy distance 2 E|x-y| - E|x-x'| - E|y-y'| (units of the data), at most 2,000 points a side."""
    x, y = samples.head(KERNEL_LIMIT), real.head(KERNEL_LIMIT)
    need(len(x), len(y), 2)
    value, replicates = mmd2(x, y, distance_kernel, boot, None if boot else real.spread)
    return _kernel_measure(value, replicates, x, y, {"subset": KERNEL_LIMIT})


def mmd(samples: Points, real: Points, boot: Bootstrap | None = None) -> Measure:
    """Squared MMD, Gaussian widths (1 .. 1/16) x the real points' median distance; <= 2,000 points."""
    x, y = samples.head(KERNEL_LIMIT), real.head(KERNEL_LIMIT)
    need(len(x), len(y), 2)
    known = None if boot else real.likeness
    value, replicates = mmd2(x, y, gaussian_kernel(real.bandwidth), boot, known)
    return _kernel_measure(
        value, replicates, x, y, {"subset": KERNEL_LIMIT, "bandwidth": real.bandwidth}
    )


def _kernel_measure(
    value: float, replicates: Array, x: Array, y: Array, details: dict[str, Any]
) -> Measure:
    bounds = (-np.inf, np.inf)
    return Measure(value, len(x), len(y), replicates if len(replicates) else None, bounds, details)


MEASURES: dict[str, PointMeasure] = {
    "sliced_w2": sliced_w2,
    "w2": exact_w2,
    "energy": energy,
    "mmd": mmd,
    **NEAR,
}

# How many items a metric looks at: floors beyond that are the floors at that.
LIMITS: dict[str, int] = {
    "sliced_w2": SLICED_LIMIT,
    "w2": EXACT_LIMIT,
    "energy": KERNEL_LIMIT,
    "mmd": KERNEL_LIMIT,
    **dict.fromkeys(OF_PLACES, KERNEL_LIMIT),
}
