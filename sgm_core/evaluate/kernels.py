"""Two-sample statistics of a kernel: energy distance, MMD and KID are one formula.

    MMD^2 = sum_{i != j} k(x_i, x_j) / (n (n-1)) + the same of y - 2 mean k(x_i, y_j)

is unbiased (Gretton et al. 2012). With k(x, y) = -|x - y| it is the energy distance (Szekely &
Rizzo 2013), with Gaussian kernels the MMD, with k = (x.y/d + 1)^3 on features the KID (arXiv
1801.01401). A bootstrap resample with counts w replaces every sum by a weighted one; pairs of an
item with itself stay out, so the denominator is n^2 - sum w^2. Rows are streamed in blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgm_core.evaluate.uncertainty import Bootstrap

Array = NDArray[Any]
Kernel = Callable[[Array, Array], Array]
BLOCK = 256


def squared_distances(x: Array, y: Array) -> Array:
    """Return |x_i - y_j|^2, (n, m), never below 0."""
    d = (x * x).sum(1)[:, None] + (y * y).sum(1)[None] - 2.0 * (x @ y.T)
    return np.asarray(np.maximum(d, 0.0, out=d))


def distance_kernel(x: Array, y: Array) -> Array:
    """k(x, y) = -|x - y|: its MMD^2 is the energy distance."""
    d = squared_distances(x, y)
    return np.asarray(np.negative(np.sqrt(d, out=d), out=d))


def gaussian_kernel(bandwidth: float) -> Kernel:
    """Return the mean of five Gaussian kernels, widths bandwidth x (1, 1/2, 1/4, 1/8, 1/16)."""

    def kernel(x: Array, y: Array) -> Array:
        # Half the width is the fourth power of the kernel: one exp serves all five.
        k = np.exp(squared_distances(x, y) / (-2.0 * bandwidth**2))
        total = k.copy()
        for _ in range(4):
            k *= k
            k *= k
            total += k
        return np.asarray(total / 5.0)

    return kernel


def cubic_kernel(x: Array, y: Array) -> Array:
    """k(x, y) = (x.y / d + 1)^3, the kernel of KID."""
    k = x @ y.T / x.shape[1] + 1.0
    return np.asarray(k * k * k)


def mmd2(
    x: Array,
    y: Array,
    kernel: Kernel,
    boot: Bootstrap | None = None,
    inside_y: float | None = None,
) -> tuple[float, Array]:
    """Return the unbiased MMD^2 of x (n, d) and y (m, d), and its bootstrap replicates.

    The replicates are empty without `boot`.

    Args:
        inside_y: `inside(y, kernel)`, if it is known; resamples need more than that.
    """
    b = boot.size(len(x), len(y)) if boot else 0
    wx = _weights(boot.counts("samples", len(x), b) if boot else None, len(x))
    wy = _weights(boot.counts("real", len(y), b) if boot else None, len(y))
    of_y = _inside(y, wy, kernel) if boot or inside_y is None else inside_y
    across = _sum(x, y, wx, wy, kernel) / (len(x) * len(y))
    values = _inside(x, wx, kernel) + of_y - 2.0 * across
    return float(values[0]), values[1:]


def inside(x: Array, kernel: Kernel) -> float:
    """Return the mean of k over all pairs of two items of x."""
    return float(_inside(x, _weights(None, len(x)), kernel)[0])


def _weights(counts: Array | None, n: int) -> Array:
    """Row 0 is the sample itself, the others are resamples; float32 holds counts exactly."""
    ones = np.ones((1, n), dtype=np.float32)
    return ones if counts is None else np.concatenate([ones, counts.astype(np.float32)])


def _inside(x: Array, w: Array, kernel: Kernel) -> Array:
    w64 = w.astype(np.float64)
    diagonal = np.concatenate([np.diagonal(kernel(p, p)) for p in _split(x)])
    squares = (w64 * w64) @ np.stack([diagonal, np.ones(len(x))], axis=1)
    total = _sum(x, x, w, w, kernel)
    pairs = float(len(x)) ** 2 - squares[:, 1]
    # A resample of very few items may hold one of them alone: it has no pairs.
    return np.asarray((total - squares[:, 0]) / np.maximum(pairs, 1.0))


def _sum(x: Array, y: Array, wx: Array, wy: Array, kernel: Kernel) -> Array:
    """Return w_x' K w_y for every row of the weights."""
    total = np.zeros(len(wx))
    wy64 = wy.T.astype(np.float64)
    for i in range(0, len(x), BLOCK):
        part = kernel(x[i : i + BLOCK], y) @ wy64
        total += np.einsum("bi,ib->b", wx[:, i : i + BLOCK], part)
    return total


def _split(x: Array) -> list[Array]:
    return [x[i : i + BLOCK] for i in range(0, len(x), BLOCK)]
