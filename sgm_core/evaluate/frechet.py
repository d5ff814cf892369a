"""Frechet distance between Gaussians fitted to features.

    FD = |mu_1 - mu_2|^2 + tr C_1 + tr C_2 - 2 tr (C_1 C_2)^(1/2)      (arXiv 1706.08500)

with covariances of denominator n - 1, as torch-fidelity and the TTUR code have them. For C = A'A the
last trace is the nuclear norm of A_1 A_2', which stays real and accurate for singular covariances
(fewer images than features), where the eigenvalues of C_1 C_2 pick up imaginary dust. All float64.
The units are those of the features, so a value means something only beside its floor.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgm_core.evaluate.uncertainty import Bootstrap

Array = NDArray[Any]
Moments = tuple[Array, Array]


def moments(features: Array, counts: Array | None = None) -> Moments:
    """Return mean (d,) and covariance (d, d) of features (n, d), each counted `counts` times."""
    x = features.astype(np.float64, copy=False)
    n = len(x)
    w = np.ones(n) if counts is None else counts.astype(np.float64)
    mean = w @ x / n
    # Centred first: the difference of large second moments would lose digits.
    centred = (x - mean) * np.sqrt(w)[:, None]
    return mean, centred.T @ centred / (n - 1)


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


def frechet_replicates(x: Array, y: Array, boot: Bootstrap) -> Array:
    """Return the Frechet distance on bootstrap resamples of both sides."""
    b = boot.size(len(x), len(y))
    wx, wy = boot.counts("samples", len(x), b), boot.counts("real", len(y), b)
    return np.array([frechet(moments(x, wx[i]), moments(y, wy[i])) for i in range(b)])
