"""Frechet distance between Gaussians fitted to features.

    FD = |mu_1 - mu_2|^2 + tr C_1 + tr C_2 - 2 tr (C_1 C_2)^(1/2)      (arXiv 1706.08500)

with covariances of denominator n - 1, as torch-fidelity and the TTUR code have them. For C = A'A the
last trace is the nuclear norm of A_1 A_2', which stays real and accurate for singular covariances
(fewer images than features), where the eigenvalues of C_1 C_2 pick up imaginary dust. All float64.
The units are those of the features, so a value means something only beside its floor.

The distance of a finite sample is too large by about b / n, and b depends on the model, so that two
models of one n are not compared fairly (arXiv 1911.07023). The extrapolation takes the mean FD of k
disjoint parts of n / k items for k = 1, 2, 4 and the intercept of its least-squares line over k:

    FD_inf = FD_1 + FD_2 / 2 - FD_4 / 2

Every part uses items that no other part of its k uses, so nothing is drawn at random.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgm_core.evaluate.uncertainty import Bootstrap

Array = NDArray[Any]
Moments = tuple[Array, Array]
DIRECT_LIMIT = 256
BLOCK = 4096  # rows in float64 at once: 50,000 times 2,048 features are 0.8 GB of them


def moments(features: Array, counts: Array | None = None) -> Moments:
    """Return mean (d,) and covariance (d, d) of features (n, d), each counted `counts` times."""
    w = np.ones(len(features)) if counts is None else counts.astype(np.float64)
    n = w.sum()
    blocks = [(w[i : i + BLOCK], features[i : i + BLOCK]) for i in range(0, len(w), BLOCK)]
    mean = np.sum([part @ x.astype(np.float64, copy=False) for part, x in blocks], axis=0) / n
    covariance = np.zeros((features.shape[1], features.shape[1]))
    for part, x in blocks:
        # Centred first: the difference of large second moments would lose digits.
        centred = (x - mean) * np.sqrt(part)[:, None]
        covariance += centred.T @ centred
    return mean, covariance / (n - 1)


def frechet(first: Moments, second: Moments) -> float:
    """Return the Frechet distance between two (mean, covariance) pairs."""
    shift = first[0] - second[0]
    cross = np.linalg.svd(_root(first[1]) @ _root(second[1]).T, compute_uv=False).sum()
    value = shift @ shift + np.trace(first[1]) + np.trace(second[1]) - 2.0 * cross
    return float(max(value, 0.0))


def _root(covariance: Array) -> Array:
    """Return A with A'A = covariance."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T)


@dataclass(frozen=True)
class Factor:
    """A Gaussian as its mean (d,) and a factor A (k, d) with A'A its covariance, k <= d.

    Of n < d items A has n rows, and the trace of the distance costs n^3 and not d^3.
    """

    mean: Array
    root: Array


def factor(features: Array) -> Factor:
    """Fit a Gaussian to features (n, d)."""
    if len(features) > features.shape[1]:
        mean, covariance = moments(features)
        return Factor(mean, _root(covariance))
    x = features.astype(np.float64, copy=False)
    mean = x.mean(0)
    return Factor(mean, (x - mean) / np.sqrt(len(x) - 1))


def distance(first: Factor, second: Factor) -> float:
    """Return the Frechet distance for many features: eigenvalues of A_1 A_2' A_2 A_1', no SVD.

    Their square roots are off by about 1e-8 of the largest, which `frechet` avoids.
    """
    cross = first.root @ second.root.T
    gram = cross @ cross.T if len(cross) <= cross.shape[1] else cross.T @ cross
    trace = np.sqrt(np.maximum(np.linalg.eigvalsh(gram), 0.0)).sum()
    shift = first.mean - second.mean
    value = shift @ shift + (first.root**2).sum() + (second.root**2).sum() - 2.0 * trace
    return float(max(value, 0.0))


def frechet_replicates(x: Array, y: Array, boot: Bootstrap) -> Array:
    """Return the Frechet distance on bootstrap resamples of both sides.

    Above 256 features an eigenvalue problem per resample would take seconds each. There the
    distance is expanded to first order in the two laws, which needs one: with T the optimal map
    between the Gaussians, d FD = 2 (mu_1 - mu_2) . d mu_1 + tr (I - T) dC_1 and its mirror image.
    """
    b = boot.size(len(x), len(y))
    if x.shape[1] > DIRECT_LIMIT:
        first, second = moments(x), moments(y)
        base = distance(factor(x), factor(y))
        left = boot.mean("samples", _influence(x, first, second), b)
        return np.asarray(base + left + boot.mean("real", _influence(y, second, first), b))
    wx, wy = boot.counts("samples", len(x), b), boot.counts("real", len(y), b)
    return np.array([frechet(moments(x, wx[i]), moments(y, wy[i])) for i in range(b)])


def _influence(x: Array, own: Moments, other: Moments) -> Array:
    """Return what each item of x adds to the distance to first order, centred: (n,)."""
    values, vectors = np.linalg.eigh(own[1])
    root = np.sqrt(np.maximum(values, 0.0))
    safe = root > 1e-7 * root.max()
    inverse = vectors * np.where(safe, 1.0 / np.where(safe, root, 1.0), 0.0)
    # T = V r^-1 (r V' C_2 V r)^(1/2) r^-1 V' for C_1 = V r^2 V', on the range of C_1.
    a = root[:, None] * vectors.T
    middle, turns = np.linalg.eigh(a @ other[1] @ a.T)
    transport = inverse @ ((turns * np.sqrt(np.maximum(middle, 0.0))) @ turns.T) @ inverse.T
    shift = own[0] - other[0]
    value = np.empty(len(x))
    for i in range(0, len(x), BLOCK):
        centred = x[i : i + BLOCK].astype(np.float64, copy=False) - own[0]
        square = np.einsum("ni,ni->n", centred, centred - centred @ transport)
        value[i : i + BLOCK] = 2.0 * centred @ shift + square
    return np.asarray(value - value.mean())


def extrapolated(x: Array, real: Moments | Factor, counts: Array | None = None) -> float:
    """Return FD_inf of features x (n, d), each counted `counts` times, against `real`."""
    level = {}
    for k in (1, 2, 4):
        size = len(x) // k
        parts = [slice(i * size, (i + 1) * size) for i in range(k)]
        if isinstance(real, Factor):
            level[k] = np.mean([distance(factor(x[p]), real) for p in parts])
        else:
            some = [(x[p], None if counts is None else counts[p]) for p in parts]
            level[k] = np.mean([frechet(moments(*part), real) for part in some])
    return float(level[1] + level[2] / 2 - level[4] / 2)


def extrapolated_replicates(x: Array, y: Array, boot: Bootstrap) -> Array:
    """Return FD_inf on bootstrap resamples of both sides."""
    b = boot.size(len(x), len(y))
    wx, wy = boot.counts("samples", len(x), b), boot.counts("real", len(y), b)
    return np.array([extrapolated(x, moments(y, wy[i]), wx[i]) for i in range(b)])


def least_for_extrapolation(d: int) -> int:
    """Return how many items FD_inf needs: a quarter of them must have a covariance of full rank."""
    return 4 * (d + 1)
