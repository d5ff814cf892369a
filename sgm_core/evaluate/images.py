"""Metrics of images: distances and neighbourhoods in feature space, memorisation, classes.

`Images` holds what is needed of a set of pictures and not the pictures: features (n, 64) of the
dataset's own network, labels, the judge's opinion, and the closeness to the training pictures.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgm_core.evaluate.frechet import Moments, frechet, frechet_replicates, moments
from sgm_core.evaluate.kernels import cubic_kernel, mmd2
from sgm_core.evaluate.manifold import DENSITY_K, PRECISION_K, Neighbourhoods, neighbourhoods
from sgm_core.evaluate.measure import Measure, TooFew, need
from sgm_core.evaluate.uncertainty import Bootstrap

Array = NDArray[Any]
ImageMeasure = Callable[["Images", "Images", "Bootstrap | None"], Measure]
KERNEL_LIMIT = 4000
MANIFOLD_LIMIT = 5000
# A held-out picture this close to a training one is a copy to the eye, whatever the quantile says.
LEAST_CLOSENESS = 0.1
CHANCE = 0.01


class Images:
    """A set of pictures in random order, as the metrics see it.

    Args:
        features: (n, d) of the dataset's network.
        labels: the class of each (real) or the class asked for (samples); None: unlabelled.
        predicted: the judge's class of the first pictures; None: not asked.
        closeness: s(x) of the first pictures (see `manifold`); None: not measured.
    """

    def __init__(
        self,
        features: Array,
        labels: Array | None = None,
        predicted: Array | None = None,
        closeness: Array | None = None,
    ) -> None:
        self.features = features.astype(np.float64)
        self.labels = labels
        self.predicted = predicted
        self.closeness = closeness
        self._near: tuple[Images, Neighbourhoods] | None = None

    def __len__(self) -> int:
        return len(self.features)

    @functools.cached_property
    def moments(self) -> Moments:
        """Mean and covariance of the features."""
        return moments(self.features)

    def near(self, real: Images) -> Neighbourhoods:
        """Neighbourhoods against `real`, kept for the next of the four metrics."""
        if self._near is None or self._near[0] is not real:
            x, y = self.features[:MANIFOLD_LIMIT], real.features[:MANIFOLD_LIMIT]
            self._near = (real, neighbourhoods(x, y))
        return self._near[1]


def fd(samples: Images, real: Images, boot: Bootstrap | None = None) -> Measure:
    """Frechet distance of the features (their units squared); arXiv 1706.08500."""
    need(len(samples), len(real), 2)
    replicates = frechet_replicates(samples.features, real.features, boot) if boot else None
    value = frechet(samples.moments, real.moments)
    return Measure(value, len(samples), len(real), replicates)


def kid(samples: Images, real: Images, boot: Bootstrap | None = None) -> Measure:
    """Unbiased MMD^2 with the kernel (x.y/d + 1)^3, at most 4,000 a side; arXiv 1801.01401."""
    x, y = samples.features[:KERNEL_LIMIT], real.features[:KERNEL_LIMIT]
    need(len(x), len(y), 2)
    value, replicates = mmd2(x, y, cubic_kernel, boot)
    details = {"subset": KERNEL_LIMIT}
    bounds = (-np.inf, np.inf)
    return Measure(value, len(x), len(y), replicates if boot else None, bounds, details)


def precision(samples: Images, real: Images, boot: Bootstrap | None = None) -> Measure:
    """Share of samples inside the real manifold, k = 3."""
    return _near(samples, real, boot, "precise", PRECISION_K)


def recall(samples: Images, real: Images, boot: Bootstrap | None = None) -> Measure:
    """Share of real images inside the samples' manifold, k = 3."""
    return _near(samples, real, boot, "recalled", PRECISION_K)


def density(samples: Images, real: Images, boot: Bootstrap | None = None) -> Measure:
    """Mean number of real neighbourhoods around a sample over k = 5; may exceed 1."""
    return _near(samples, real, boot, "density", DENSITY_K)


def coverage(samples: Images, real: Images, boot: Bootstrap | None = None) -> Measure:
    """Share of real neighbourhoods, k = 5, that hold at least one sample."""
    return _near(samples, real, boot, "covered", DENSITY_K)


def _near(samples: Images, real: Images, boot: Bootstrap | None, field: str, k: int) -> Measure:
    n, m = min(len(samples), MANIFOLD_LIMIT), min(len(real), MANIFOLD_LIMIT)
    need(n, m, k + 1)
    values = getattr(samples.near(real), field)
    details = {"k": k, "subset": MANIFOLD_LIMIT}
    side = "samples" if field in ("precise", "density") else "real"
    replicates = None
    if boot:
        replicates = boot.mean("samples" if side == "samples" else "real", values, boot.size(n, m))
    bounds = (0.0, np.inf if field == "density" else 1.0)
    return Measure(float(values.mean()), n, m, replicates, bounds, details)


def memorised(samples: Images, real: Images, boot: Bootstrap | None = None) -> Measure:
    """Share of samples with closeness s at most that of the closest 1 % of held-out pictures.

    The threshold is the 1 % quantile of s over the split, and at least 0.1 (a copy to the eye), so
    a model that only generalises has about 0.01 and one that copies has 1.
    """
    if samples.closeness is None or real.closeness is None:
        raise TooFew("needs training images to compare with")
    need(len(samples.closeness), len(real.closeness), 1)
    threshold = max(LEAST_CLOSENESS, float(np.quantile(real.closeness, CHANCE)))
    copies = (samples.closeness <= threshold).astype(float)
    details = {
        "threshold": threshold,
        "closeness_median": float(np.median(samples.closeness)),
        "closeness_median_real": float(np.median(real.closeness)),
    }
    return _share(copies, len(real.closeness), boot, details)


def agreement(samples: Images, real: Images, boot: Bootstrap | None = None) -> Measure:
    """Share of samples that the judge puts into the class asked for."""
    if samples.labels is None or samples.predicted is None:
        raise TooFew("needs a class-conditional model: no class was asked for")
    right = samples.predicted == samples.labels[: len(samples.predicted)]
    need(len(right), len(real), 1)
    accuracy = None
    if real.labels is not None and real.predicted is not None:
        accuracy = float((real.predicted == real.labels[: len(real.predicted)]).mean())
    return _share(right.astype(float), len(real), boot, {"judge_accuracy_on_real": accuracy})


def class_balance(samples: Images, real: Images, boot: Bootstrap | None = None) -> Measure:
    """Largest |share of samples in a class (judge's opinion) - share of real items in it|."""
    if samples.predicted is None or real.labels is None:
        raise TooFew("needs labelled data")
    need(len(samples.predicted), len(real), 1)
    classes = int(max(samples.predicted.max(), real.labels.max())) + 1
    inside = np.eye(classes)[samples.predicted]
    expected = np.bincount(real.labels, minlength=classes) / len(real.labels)
    replicates = None
    if boot:
        shares = boot.mean("samples", inside, boot.size(len(inside)))
        replicates = np.abs(shares - expected).max(1)
    details = {"shares": [round(float(s), 6) for s in inside.mean(0)]}
    value = float(np.abs(inside.mean(0) - expected).max())
    return Measure(value, len(inside), len(real), replicates, (0.0, 1.0), details)


def _share(hits: Array, m: int, boot: Bootstrap | None, details: dict[str, Any]) -> Measure:
    replicates = boot.mean("samples", hits, boot.size(len(hits))) if boot else None
    return Measure(float(hits.mean()), len(hits), m, replicates, (0.0, 1.0), details)


MEASURES: dict[str, ImageMeasure] = {
    "fd": fd,
    "kid": kid,
    "precision": precision,
    "recall": recall,
    "density": density,
    "coverage": coverage,
    "memorised": memorised,
    "agreement": agreement,
    "class_balance": class_balance,
}
LIMITS: dict[str, int] = {
    "kid": KERNEL_LIMIT,
    **dict.fromkeys(["precision", "recall", "density", "coverage"], MANIFOLD_LIMIT),
}
