"""Shares: of samples that have a property, and of classes or modes among samples."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgm_core.evaluate.decision import EXPECTED
from sgm_core.evaluate.measure import Measure
from sgm_core.evaluate.uncertainty import Bootstrap

Array = NDArray[Any]


def share(hits: Array, m: int, boot: Bootstrap | None, details: dict[str, Any]) -> Measure:
    """Return the share of samples with hits = 1, held against m real items."""
    replicates = boot.mean("samples", hits, boot.size(len(hits))) if boot else None
    return Measure(float(hits.mean()), len(hits), m, replicates, (0.0, 1.0), details)


def least_share(shares: Array, expected: Array, n: int) -> dict[str, Any]:
    """Return which class is rarest among n samples, relative to what is expected of it.

    Args:
        shares, expected: share of each class (classes,) among the samples and among real items.
        n: samples; classes of which fewer than `EXPECTED` are expected are left out.

    Returns:
        {"least_share": share / expected, "least_class": its index}; empty if none is left.
    """
    classes = np.flatnonzero(expected * n >= EXPECTED)
    if not len(classes):
        return {}
    ratio = shares[classes] / expected[classes]
    rarest = int(ratio.argmin())
    return {"least_share": float(ratio[rarest]), "least_class": int(classes[rarest])}
