"""The exact denoiser of the five swiss rolls: a mixture of narrow Gaussians along the curves."""

from __future__ import annotations

import numpy as np
import torch

from sgm_core.data.swiss_roll import CENTRES, SCALE, curve
from sgm_core.evaluate.points import sliced_w2
from sgm_core.evaluate.rolls import Rolls, off
from sgm_core.oracle import MixtureDenoiser
from sgm_core.process.base import Process

NOISE = 0.2 * SCALE
# Model space divides by the data's standard deviation.
UNIT = 0.72
PER_ROLL = 400


def rolls_oracle(process: Process) -> MixtureDenoiser:
    """Return the denoiser in model space; neighbouring components overlap (spacing about NOISE)."""
    # The density is uniform in the curve's parameter; the noise fills the gaps.
    means = (CENTRES[:, None] + curve(PER_ROLL)[None]).reshape(-1, 2) / UNIT
    n = len(means)
    weights = torch.full((n,), 1 / n, dtype=torch.float64)
    stds = torch.full((n,), NOISE / UNIT, dtype=torch.float64)
    return MixtureDenoiser(weights, torch.from_numpy(means), stds, process)


def exact_rolls(n: int, seed: int) -> np.ndarray:
    """Return n points of the same mixture in data units."""
    rng = np.random.default_rng(seed)
    t = curve(PER_ROLL)[rng.integers(PER_ROLL, size=n)]
    return CENTRES[rng.integers(5, size=n)] + t + NOISE * rng.standard_normal((n, 2))


def quality(x: torch.Tensor, seed: int = 0) -> tuple[float, float]:
    """Return (off, local) of samples in model space, in data units."""
    made, real = Rolls(x.numpy() * UNIT), Rolls(exact_rolls(len(x), seed))
    return off(made, real).value, sliced_w2(made.overlaid, real.overlaid).value
