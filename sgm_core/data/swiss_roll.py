"""Five swiss rolls in the plane, a known one-dimensional set on which a sampler can be judged.

A roll is the curve `0.01 (t cos t, t sin t)`, `t` uniform in [1.5 pi, 4.5 pi], plus Gaussian noise
of standard deviation `0.01 noise` (scikit-learn's `make_swiss_roll`, columns x and z). One roll
sits at the origin and four at (+-0.8, +-0.8), with equal weights (the toy data of arXiv
2112.07068).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sgm_core.data.raw import Raw

if TYPE_CHECKING:
    from sgm_core.config.data import SwissRollParams

Array = np.ndarray[Any, Any]
SCALE = 0.01
CENTRES: Array = np.array([[0.0, 0.0], [0.8, 0.8], [0.8, -0.8], [-0.8, 0.8], [-0.8, -0.8]])
"""Centres of the five rolls, (5, 2)."""


def curve(n: int) -> Array:
    """Return `n` points (n, 2) of the noise-free roll at the origin, evenly spaced in `t`.

    The data is uniform in `t`, so the points carry equal weight.
    """
    t = np.linspace(1.5 * np.pi, 4.5 * np.pi, n)
    return SCALE * np.stack([t * np.cos(t), t * np.sin(t)], axis=1)


def read(params: SwissRollParams, root: Path) -> Raw:
    """Draw `params.n` points; the roll of point `i` is `i mod 5`, so the weights are equal."""
    from sklearn.datasets import make_swiss_roll

    words = [params.seed % 2**32, params.seed // 2**32]  # a legacy seed has 32 bits
    random = np.random.RandomState(words if words[1] else words[0])
    points, _ = make_swiss_roll(params.n, noise=params.noise, random_state=random)
    x = SCALE * points[:, [0, 2]] + CENTRES[np.arange(params.n) % len(CENTRES)]
    return Raw(
        "points",
        x,
        columns=("x", "z"),
        provenance=(
            f"five rolls of sklearn.datasets.make_swiss_roll(noise={params.noise:g}), "
            f"x and z times {SCALE:g}, seed {params.seed}"
        ),
    )
