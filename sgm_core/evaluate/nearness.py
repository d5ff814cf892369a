"""Metrics of neighbourhoods, for points in their own space and for images in feature space.

What the numbers mean stands in `manifold`; here they become metrics with intervals.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgm_core.evaluate.manifold import (
    DENSITY_K,
    PRECISION_K,
    Neighbourhoods,
    neighbourhoods,
    radii,
)
from sgm_core.evaluate.measure import Measure, TooFew, need
from sgm_core.evaluate.shares import share
from sgm_core.evaluate.uncertainty import Bootstrap

Array = NDArray[Any]
CHANCE = 0.01


class Nearby(ABC):
    """A set of items that can be measured here.

    Attributes:
        closeness: s(x) of the first items to the training data (see `manifold`); None: not measured.
        eye: the closeness of a copy to the eye, which counts as one however usual it is.
    """

    closeness: Array | None = None
    eye = 0.0

    @property
    @abstractmethod
    def places(self) -> Array:
        """Where the first items lie, (n, d)."""

    @cached_property
    def reach(self) -> tuple[Array, Array]:
        """Squared radii of the items' balls, for k = 3 and k = 5."""
        return radii(self.places, PRECISION_K), radii(self.places, DENSITY_K)

    @cached_property
    def _known(self) -> dict[int, tuple[Nearby, Neighbourhoods]]:
        return {}

    def near(self, real: Nearby) -> Neighbourhoods:
        """Neighbourhoods against `real`, kept for the next of the four metrics."""
        # The four may be measured at once, on several threads.
        with self.__dict__.setdefault("_guard", threading.Lock()):
            if id(real) not in self._known:  # kept with `real`, so that its id is not given away
                found = neighbourhoods(self.places, real.places, real.reach)
                self._known[id(real)] = (real, found)
            return self._known[id(real)][1]


NearMeasure = Callable[[Nearby, Nearby, "Bootstrap | None"], Measure]


def precision(samples: Nearby, real: Nearby, boot: Bootstrap | None = None) -> Measure:
    """Share of samples inside the real manifold, k = 3."""
    return _near(samples, real, boot, "precise", PRECISION_K)


def recall(samples: Nearby, real: Nearby, boot: Bootstrap | None = None) -> Measure:
    """Share of real items inside the samples' manifold, k = 3."""
    return _near(samples, real, boot, "recalled", PRECISION_K)


def density(samples: Nearby, real: Nearby, boot: Bootstrap | None = None) -> Measure:
    """Mean number of real neighbourhoods around a sample over k = 5; may exceed 1."""
    return _near(samples, real, boot, "density", DENSITY_K)


def coverage(samples: Nearby, real: Nearby, boot: Bootstrap | None = None) -> Measure:
    """Share of real neighbourhoods, k = 5, that hold at least one sample."""
    return _near(samples, real, boot, "covered", DENSITY_K)


def _near(samples: Nearby, real: Nearby, boot: Bootstrap | None, field: str, k: int) -> Measure:
    n, m = len(samples.places), len(real.places)
    need(n, m, k + 1)
    values = getattr(samples.near(real), field)
    replicates = None
    if boot:
        of_samples = field in ("precise", "density")
        replicates = boot.mean("samples" if of_samples else "real", values, boot.size(n, m))
    bounds = (0.0, np.inf if field == "density" else 1.0)
    return Measure(float(values.mean()), n, m, replicates, bounds, {"k": k})


def memorised(samples: Nearby, real: Nearby, boot: Bootstrap | None = None) -> Measure:
    """Share of samples about as close to a training item as the closest 1 % of held-out ones.

    The threshold is the 1 % quantile of s over the split, and at least `eye` (images: 0.1, a copy
    to the eye), so a model that only generalises has about 0.01 and one that copies has 1.
    `details.nn_ratio` is the median of s over samples divided by that over held-out items: about 1,
    and towards 0 for a model that copies.
    """
    if samples.closeness is None or real.closeness is None:
        raise TooFew("needs at least 2 training items to compare with")
    need(len(samples.closeness), len(real.closeness), 1)
    threshold = max(samples.eye, float(np.quantile(real.closeness, CHANCE)))
    copies = (samples.closeness <= threshold).astype(float)
    medians = [float(np.median(s)) for s in (samples.closeness, real.closeness)]
    details = {
        "threshold": threshold,
        "closeness_median": medians[0],
        "closeness_median_real": medians[1],
        "nn_ratio": medians[0] / medians[1] if medians[1] > 0 else None,
    }
    return share(copies, len(real.closeness), boot, details)


MEASURES: dict[str, NearMeasure] = {
    "precision": precision,
    "recall": recall,
    "density": density,
    "coverage": coverage,
    "memorised": memorised,
}
# Those that look at so many items a side as there are places.
OF_PLACES = ("precision", "recall", "density", "coverage")
