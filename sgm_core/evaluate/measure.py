"""One measured number: value, bootstrap replicates, counts and remarks; and the row made of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from sgm_core.errors import SgmError, UsageError
from sgm_core.evaluate.names import METRICS
from sgm_core.evaluate.uncertainty import interval

Array = NDArray[Any]


@dataclass(frozen=True)
class Measure:
    """A metric of one cloud of samples against one split.

    `replicates` are values of the same metric on bootstrap resamples of both sides; `bounds` are
    the values that the metric can have at all; `n` and `n_reference` count the items really used.
    """

    value: float
    n: int
    n_reference: int
    replicates: Array | None = None
    bounds: tuple[float, float] = (0.0, math.inf)
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Scored:
    """A row of metrics.json and the bootstrap replicates behind its interval (None: no value)."""

    row: dict[str, Any]
    replicates: Array | None = None


class TooFew(Exception):
    """A metric needs more items than there are; the message says how many."""


def need(n: int, n_reference: int, least: int, both: bool = True) -> None:
    """Raise `TooFew` unless both sides (or the samples alone) have at least `least` items."""
    if both and min(n, n_reference) < least:
        raise TooFew(
            f"needs at least {least} items on each side, has {n} samples and {n_reference} real"
        )
    if n < least:
        raise TooFew(f"needs at least {least} samples, has {n}")


def reason(error: SgmError) -> str:
    """Return why one of several numbers was not measured; the others still are.

    Raises:
        SgmError: the error itself, where it means that the work is to stop.
    """
    if error.exit_code not in (SgmError.exit_code, UsageError.exit_code):
        raise error
    return str(error)


def row(name: str, split: str, measure: Measure, floor: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the row of metrics.json for a measured metric.

    A number that is not finite (a diverged model) becomes null: JSON has no infinity, and a null is
    never the best cell.
    """
    value = _finite(measure.value)
    low = high = None
    if value is not None and measure.replicates is not None:
        low, high = map(_finite, interval(value, measure.replicates, measure.bounds))
    return _row(
        name, split, value, low, high, floor, measure.n, measure.n_reference, dict(measure.details)
    )


def empty_row(
    name: str, split: str, n: int, n_reference: int, details: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the row of a metric that could not be measured; `details` says why."""
    return _row(name, split, None, None, None, None, n, n_reference, dict(details))


def _row(
    name: str,
    split: str,
    value: float | None,
    low: float | None,
    high: float | None,
    floor: Mapping[str, Any] | None,
    n: int,
    n_reference: int,
    details: dict[str, Any],
) -> dict[str, Any]:
    if floor is not None:
        details["floor_n"] = floor["n"]
    return {
        "metric": name,
        "split": split,
        "value": value,
        "low": low,
        "high": high,
        "floor": floor["value"] if floor else None,
        "floor_low": floor["low"] if floor else None,
        "floor_high": floor["high"] if floor else None,
        "better": METRICS[name].better,
        "n": n,
        "n_reference": n_reference,
        "details": details,
    }


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
