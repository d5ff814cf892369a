"""Neighbourhoods in feature space: precision, recall, density, coverage; and memorisation.

Real manifold: the union of balls around real items, each reaching its k-th nearest other real item.
* precision: share of samples inside it; recall: share of real items inside the samples' own
  manifold, k = 3 (arXiv 1904.06991);
* density: (1/k) mean number of real balls that hold a sample; coverage: share of real balls that
  hold any sample, k = 5 (arXiv 2002.09797).

Memorisation compares an item's distance to its nearest training item t with how far t is from its
own neighbours: closeness s(x) = |x - t| / |t - (5th nearest other training item of t)|. A copy has s
near 0 whatever the local density is; held-out items say how small s gets by chance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgm_core.evaluate.kernels import squared_distances

Array = NDArray[Any]
PRECISION_K = 3
DENSITY_K = 5
CLOSENESS_K = 5
# Closeness is measured for the first so many items of a set: each looks at all training items.
CLOSENESS_LIMIT = 2000
BLOCK = 256
# In more dimensions than this a k-d tree looks at everything anyway.
TREE_LIMIT = 8


@dataclass(frozen=True)
class Neighbourhoods:
    """Per item: samples' precise (n,), density (n,); real items' recalled (m,), covered (m,)."""

    precise: Array
    density: Array
    recalled: Array
    covered: Array


def neighbourhoods(
    samples: Array, real: Array, reach: tuple[Array, Array] | None = None
) -> Neighbourhoods:
    """Return the four indicators; their means are the four metrics.

    Args:
        samples, real: features (n, d), (m, d).
        reach: `radii` of the real items for k = 3 and k = 5, if they are known.
    """
    x, y = samples.astype(np.float64), real.astype(np.float64)
    radius_x = radii(x, PRECISION_K)
    radius_3, radius_5 = reach or (radii(y, PRECISION_K), radii(y, DENSITY_K))
    precise = np.zeros(len(x))
    density = np.zeros(len(x))
    recalled = np.zeros(len(y), dtype=bool)
    covered = np.zeros(len(y), dtype=bool)
    for i in range(0, len(x), BLOCK):
        d = squared_distances(x[i : i + BLOCK], y)
        inside = d <= radius_5
        precise[i : i + BLOCK] = (d <= radius_3).any(1)
        density[i : i + BLOCK] = inside.sum(1) / DENSITY_K
        recalled |= (d <= radius_x[i : i + BLOCK, None]).any(0)
        covered |= inside.any(0)
    return Neighbourhoods(precise, density, recalled.astype(float), covered.astype(float))


def radii(x: Array, k: int) -> Array:
    """Return the squared distance of every item to its k-th nearest other item, (n,)."""
    out = np.empty(len(x))
    for i in range(0, len(x), BLOCK):
        d = squared_distances(x[i : i + BLOCK], x)
        d[np.arange(len(d)), np.arange(i, i + len(d))] = np.inf
        out[i : i + BLOCK] = np.partition(d, k - 1, axis=1)[:, k - 1]
    return out


def closeness(x: Array, train: Array) -> tuple[Array, Array]:
    """Return s(x) (n,) and the index of the nearest training item (n,).

    Args:
        x: items as vectors (n, p), train: training items (N, p) with N >= 2.
    """
    if x.shape[1] <= TREE_LIMIT:
        return _closeness_by_tree(x, train)
    nearest, distance = _nearest(x, train)
    hit, back = np.unique(nearest, return_inverse=True)
    k = min(CLOSENESS_K, len(train) - 1)
    reach = np.empty(len(hit))
    for i in range(0, len(hit), BLOCK):
        rows = hit[i : i + BLOCK]
        d = squared_distances(train[rows], train)
        d[np.arange(len(rows)), rows] = np.inf
        reach[i : i + BLOCK] = np.partition(d, k - 1, axis=1)[:, k - 1]
    gap = np.sqrt(reach)[back.reshape(-1)]
    # Differences, not the expanded square: a copy's distance must come out as 0, not as round-off.
    return np.sqrt(distance) / np.maximum(gap, np.finfo(np.float32).tiny), nearest


def _closeness_by_tree(x: Array, train: Array) -> tuple[Array, Array]:
    """The same numbers, from a k-d tree: 100,000 points of the plane in a fraction of a second."""
    from scipy.spatial import cKDTree

    tree = cKDTree(train)
    distance, nearest = tree.query(x)
    # The item itself comes first, at distance 0.
    k = min(CLOSENESS_K, len(train) - 1)
    reach = tree.query(train[nearest], k=[k + 1])[0][:, 0]
    return distance / np.maximum(reach, np.finfo(np.float32).tiny), nearest


def _nearest(x: Array, train: Array) -> tuple[Array, Array]:
    index = np.empty(len(x), dtype=np.int64)
    for i in range(0, len(x), BLOCK):
        index[i : i + BLOCK] = squared_distances(x[i : i + BLOCK], train).argmin(1)
    difference = x.astype(np.float64) - train[index]
    return index, (difference * difference).sum(1)
