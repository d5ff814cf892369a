"""Bootstrap intervals at the price of reweighting, not of measuring again.

A bootstrap resample of n items is a vector of multinomial counts w, sum w = n. A share or a mean is
then w . f / n, a covariance a weighted one, a kernel sum w' K w, and a sorted projection the same
sorted values repeated w times: nothing is sorted, embedded or solved twice.

Distances between samples are biased upwards at finite n, and resamples carry that bias twice. So
the interval is the percentile interval of the *deviations* of the replicates from their own mean,
put around the value: it covers the expected value of the metric at this n, which is what the floor
(real against real at the same n) is comparable with. At the floor itself such intervals are up to
1.7 times too wide, never too narrow (a resample of a null distance varies around the observed one,
not around 0), so a model is called worse than the floor only when it is. Sources: Efron &
Tibshirani 1993; arXiv 1801.01401 (bias of FID and KID).
"""

from __future__ import annotations

import functools
import threading
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Side = Literal["samples", "real"]

# A replicate costs one count per item: 40 million of them are 80 MB and about a second.
MAX_COUNTS = 40_000_000


class Bootstrap:
    """Seeded multinomial counts, the same for every metric and every model of a size.

    Common counts make differences between two models less noisy than the models' own intervals.

    Args:
        replicates: resamples per interval (fewer where replicates x items exceed 40 million, but
            at least 50).
        seed: decides the counts.
    """

    def __init__(self, replicates: int, seed: int = 0) -> None:
        self.replicates = replicates
        self.seed = seed
        self._guard = threading.Lock()
        self._counts = functools.lru_cache(maxsize=8)(self._draw)

    def size(self, n: int, m: int = 0) -> int:
        """Return how many replicates are used when the larger side has max(n, m) items."""
        return min(self.replicates, max(50, MAX_COUNTS // max(n, m, 1)))

    def counts(self, side: Side, n: int, replicates: int) -> NDArray[np.int16]:
        """Return counts (replicates, n), int16; each row sums to n."""
        with self._guard:  # several metrics may ask at once
            return self._counts(side, n, replicates)

    def _draw(self, side: Side, n: int, replicates: int) -> NDArray[np.int16]:
        rng = np.random.default_rng([self.seed, 0 if side == "samples" else 1, n])
        out = np.empty((replicates, n), dtype=np.int16)
        for b in range(replicates):
            out[b] = np.bincount(rng.integers(0, n, size=n), minlength=n)
        return out

    def mean(self, side: Side, values: NDArray[Any], replicates: int) -> NDArray[Any]:
        """Return the mean of `values` (n,) or (n, k) on every resample: (replicates, ...)."""
        flat = values.reshape(len(values), -1).astype(np.float64)
        counts = self.counts(side, len(values), replicates)
        # Blocks of replicates: a float64 copy of all counts could be four times as large.
        out = np.concatenate([c.astype(np.float64) @ flat for c in _blocks(counts)])
        return (out / len(values)).reshape(replicates, *values.shape[1:])


def _blocks(counts: NDArray[np.int16], rows: int = 50) -> list[NDArray[np.int16]]:
    return [counts[i : i + rows] for i in range(0, len(counts), rows)]


def interval(
    value: float,
    replicates: NDArray[Any],
    bounds: tuple[float, float] = (-np.inf, np.inf),
    level: float = 0.95,
) -> tuple[float, float]:
    """Return the centred percentile interval `value + quantiles(replicates - mean)`, clipped.

    Non-finite replicates make the interval NaN. The value itself is always inside.
    """
    tail = (1 - level) / 2
    low, high = np.quantile(replicates - np.mean(replicates), [tail, 1 - tail])
    return (
        float(np.clip(value + min(low, 0.0), *bounds)),
        float(np.clip(value + max(high, 0.0), *bounds)),
    )
