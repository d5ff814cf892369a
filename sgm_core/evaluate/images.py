"""Metrics of images: distances and neighbourhoods in feature space, memorisation, classes.

`Images` holds what is needed of a set of pictures and not the pictures: their features, labels, the
judge's opinion, and the closeness to the training pictures.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgm_core.evaluate.frechet import (
    DIRECT_LIMIT,
    Factor,
    Moments,
    distance,
    extrapolated,
    extrapolated_replicates,
    factor,
    frechet,
    frechet_replicates,
    least_for_extrapolation,
    moments,
)
from sgm_core.evaluate.kernels import cubic_kernel, inside, mmd2
from sgm_core.evaluate.measure import Measure, TooFew, need
from sgm_core.evaluate.nearness import MEASURES as NEAR
from sgm_core.evaluate.nearness import OF_PLACES, Nearby
from sgm_core.evaluate.shares import least_share, share
from sgm_core.evaluate.uncertainty import Bootstrap

Array = NDArray[Any]
ImageMeasure = Callable[["Images", "Images", "Bootstrap | None"], Measure]
KERNEL_LIMIT = 4000
MANIFOLD_LIMIT = 5000


class Images(Nearby):
    """A set of pictures in random order, as the metrics see it.

    Args:
        features: (n, d) of the extractor; many (d > 256) stay in their own precision.
        labels: the class of each (real) or the class asked for (samples); None: unlabelled.
        predicted: the judge's class of the first pictures; None: not asked.
        closeness: s(x) of the first pictures (see `manifold`); None: not measured.
    """

    # A held-out picture this close to a training one is a copy to the eye, whatever is usual.
    eye = 0.1

    def __init__(
        self,
        features: Array,
        labels: Array | None = None,
        predicted: Array | None = None,
        closeness: Array | None = None,
    ) -> None:
        self.features = (
            features if features.shape[1] > DIRECT_LIMIT else features.astype(np.float64)
        )
        self.labels = labels
        self.predicted = predicted
        self.closeness = closeness

    def __len__(self) -> int:
        return len(self.features)

    @functools.cached_property
    def moments(self) -> Moments:
        """Mean and covariance of the features."""
        return moments(self.features)

    @property
    def head(self) -> Array:
        """The features of the first 4,000 pictures in float64."""
        return self.features[:KERNEL_LIMIT].astype(np.float64)

    @functools.cached_property
    def likeness(self) -> float:
        """What the KID says of the pictures alone (see `kernels`)."""
        return inside(self.head, cubic_kernel)

    @functools.cached_property
    def factor(self) -> Factor:
        """The same Gaussian by a factor of its covariance, for many features."""
        return factor(self.features)

    @property
    def many(self) -> bool:
        """Whether there are so many features that a covariance is dear."""
        return self.features.shape[1] > DIRECT_LIMIT

    @property
    def places(self) -> Array:
        """The features of the first 5,000 pictures."""
        return self.features[:MANIFOLD_LIMIT]


def fd(samples: Images, real: Images, boot: Bootstrap | None = None) -> Measure:
    """Frechet distance of the features (their units squared); arXiv 1706.08500."""
    need(len(samples), len(real), 2)
    replicates = frechet_replicates(samples.features, real.features, boot) if boot else None
    if samples.many:
        value = distance(samples.factor, real.factor)
    else:
        value = frechet(samples.moments, real.moments)
    return Measure(value, len(samples), len(real), replicates)


def fd_inf(samples: Images, real: Images, boot: Bootstrap | None = None) -> Measure:
    """FD extrapolated to infinitely many samples (may fall below 0); arXiv 1911.07023.

    Its interval is left out above 256 features, where a resample would cost minutes.
    """
    d = samples.features.shape[1]
    need(len(samples), len(real), least_for_extrapolation(d), both=False)
    replicates = None
    if boot and not samples.many:
        replicates = extrapolated_replicates(samples.features, real.features, boot)
    value = extrapolated(samples.features, real.factor if samples.many else real.moments)
    bounds = (-np.inf, np.inf)
    return Measure(value, len(samples), len(real), replicates, bounds, {"parts": [1, 2, 4]})


def kid(samples: Images, real: Images, boot: Bootstrap | None = None) -> Measure:
    """Unbiased MMD^2 with the kernel (x.y/d + 1)^3, at most 4,000 a side; arXiv 1801.01401."""
    x, y = samples.head, real.head
    need(len(x), len(y), 2)
    value, replicates = mmd2(x, y, cubic_kernel, boot, None if boot else real.likeness)
    details = {"subset": KERNEL_LIMIT}
    bounds = (-np.inf, np.inf)
    return Measure(value, len(x), len(y), replicates if boot else None, bounds, details)


def agreement(samples: Images, real: Images, boot: Bootstrap | None = None) -> Measure:
    """Share of samples that the judge puts into the class asked for."""
    if samples.labels is None or samples.predicted is None:
        raise TooFew("needs a class-conditional model: no class was asked for")
    right = samples.predicted == samples.labels[: len(samples.predicted)]
    need(len(right), len(real), 1)
    accuracy = None
    if real.labels is not None and real.predicted is not None:
        accuracy = float((real.predicted == real.labels[: len(real.predicted)]).mean())
    details = {"judge_accuracy_on_real": accuracy}
    return share(right.astype(float), len(real), boot, details)


def class_balance(samples: Images, real: Images, boot: Bootstrap | None = None) -> Measure:
    """Largest |share of samples in a class (judge's opinion) - share of real items in it|."""
    if samples.predicted is None or real.labels is None:
        raise TooFew("needs labelled data")
    need(len(samples.predicted), len(real), 1)
    classes = int(max(samples.predicted.max(), real.labels.max())) + 1
    inside = np.eye(classes)[samples.predicted]
    expected = _shares(real.labels, classes)
    replicates = None
    if boot:
        shares = boot.mean("samples", inside, boot.size(len(inside)))
        replicates = np.abs(shares - expected).max(1)
    shares = inside.mean(0)
    details: dict[str, Any] = {"shares": [round(float(s), 6) for s in shares]}
    # Held against what the judge says of real items, so that its own errors cancel.
    seen = expected if real.predicted is None else _shares(real.predicted, classes)
    details |= least_share(shares, seen, len(inside))
    value = float(np.abs(shares - expected).max())
    return Measure(value, len(inside), len(real), replicates, (0.0, 1.0), details)


def _shares(labels: Array, classes: int) -> Array:
    return np.asarray(np.bincount(labels, minlength=classes)[:classes] / len(labels))


MEASURES: dict[str, ImageMeasure] = {
    "fd": fd,
    "fd_inf": fd_inf,
    "kid": kid,
    **NEAR,
    "agreement": agreement,
    "class_balance": class_balance,
}
LIMITS: dict[str, int] = {
    "kid": KERNEL_LIMIT,
    **dict.fromkeys(OF_PLACES, MANIFOLD_LIMIT),
}
