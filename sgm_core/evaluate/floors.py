"""Noise floors: what a metric says of real items, drawn as a perfect model would draw them.

For a number of samples n, real items are drawn without replacement from the train split and
measured against the held-out split exactly as samples are; the floor is the mean over the draws,
its range their 2.5 and 97.5 % quantiles. n runs over a small table up to half the train split, so
that draws differ (digits: 628 of 1,257); a sample of another size is compared with the nearest n.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sgm_core.at_once import in_order
from sgm_core.evaluate.measure import Measure, TooFew

SIZES = (100, 500, 1000, 2000, 5000, 10_000, 50_000)
# Solving or summing all pairs is dear; sorting is cheap.
DRAWS = {"w2": 6, "energy": 6, "mmd": 6}
DRAWS |= dict.fromkeys(("precision", "recall", "density", "coverage"), 10)
DEFAULT_DRAWS = 30

Cloud = TypeVar("Cloud")


def floor_sizes(train: int) -> list[int]:
    """Return the numbers of items at which floors are measured, for a train split of this size."""
    half = max(2, train // 2)
    sizes = [n for n in SIZES if n <= half]
    # The largest possible number is worth having where the next of the table is far away.
    if not sizes or 1.2 * sizes[-1] < half < SIZES[-2]:
        sizes.append(half)
    return sizes


def floor_rows(
    train: int,
    draw: Callable[[NDArray[np.int64]], Cloud],
    splits: Mapping[str, Cloud],
    measures: Mapping[str, Callable[[Cloud, Cloud, None], Measure]],
    limits: Mapping[str, int],
    seed: int = 0,
    sizes: Iterable[int] | None = None,
    draws: Mapping[str, int] = DRAWS,
) -> list[dict[str, Any]]:
    """Return floor rows {"metric", "split", "n", "n_reference", "value", "low", "high", "draws"}.

    Args:
        train: items in the train split.
        draw: makes the cloud of the given rows of the train split.
        splits: the held-out clouds by name.
        measures: metric functions by name; one that raises `TooFew` has no floor.
        limits: how many items a metric looks at; above that one floor serves.
        seed: decides the draws.
        sizes: numbers of items; default `floor_sizes(train)`.
        draws: how often a metric is drawn, where it is not 30 times.
    """

    def due(n: int) -> dict[str, int]:
        """How often each metric is drawn at this number of items."""
        fitting = (m for m in measures if n <= max(limits.get(m, n), SIZES[0]))
        return {m: draws.get(m, DEFAULT_DRAWS) for m in fitting}

    def one(draw_of: tuple[int, int]) -> dict[tuple[str, str, int], Measure]:
        n, k = draw_of
        cloud = draw(np.random.default_rng([seed, n, k]).permutation(train)[:n])
        found = {}
        for name in (name for name, count in due(n).items() if k < count):
            for split, real in splits.items():
                with suppress(TooFew):
                    found[name, split, n] = measures[name](cloud, real, None)
        return found

    values: dict[tuple[str, str, int], list[float]] = {}
    counts: dict[tuple[str, str, int], int] = {}
    plan = [(n, k) for n in sizes or floor_sizes(train)
            for k in range(max(due(n).values(), default=0))]  # fmt: skip
    for measured in in_order(one, plan):
        for key, found in measured.items():
            values.setdefault(key, []).append(found.value)
            counts[key] = found.n_reference
    return [
        floor_row(name, split, n, counts[name, split, n], np.array(v))
        for (name, split, n), v in values.items()
    ]


def floor_row(
    name: str, split: str, n: int, n_reference: int, values: NDArray[Any]
) -> dict[str, Any]:
    """Return one floor from the values of its draws."""
    low, high = np.quantile(values, [0.025, 0.975])
    return {
        "metric": name,
        "split": split,
        "n": int(n),
        "n_reference": int(n_reference),
        "value": float(values.mean()),
        "low": float(low),
        "high": float(high),
        "draws": len(values),
    }


def share_floor(metric: str, split: str, measured: Measure) -> dict[str, Any]:
    """Return a floor that is a share of n held-out items, its range by resampling them."""
    n, value = measured.n, measured.value
    draws = np.random.default_rng(0).binomial(n, value, size=1000) / n
    return floor_row(metric, split, n, measured.n_reference, draws) | {"value": value}


def nearest_floor(
    floors: Iterable[Mapping[str, Any]], name: str, split: str, n: int
) -> Mapping[str, Any] | None:
    """Return the floor of this metric and split whose n is nearest in ratio, or None."""
    fitting = [f for f in floors if f["metric"] == name and f["split"] == split]
    return min(fitting, key=lambda f: abs(math.log(f["n"] / max(n, 1))), default=None)
