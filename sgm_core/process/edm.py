r"""EDM's process (arXiv 2206.00364): du = sqrt(2 t) dw, so that time is the noise level.

m = 1,  Sigma = t^2,  sigma_eff = t,  t in [sigma_min, sigma_max].
"""

from __future__ import annotations

import torch
from torch import Tensor

from sgm_core.process.base import ScalarProcess, as_time


class EDM(ScalarProcess):
    """The variance-exploding process with sigma(t) = t."""

    kind = "edm"

    def __init__(self, sigma_min: float = 0.002, sigma_max: float = 80.0) -> None:
        self.t_min, self.t_max = sigma_min, sigma_max

    def alpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def variance(self, t: Tensor) -> Tensor:
        return t.square()

    def rate(self, t: Tensor) -> Tensor:
        return torch.zeros_like(t)

    def noise_rate(self, t: Tensor) -> Tensor:
        return 2.0 * t

    def transition(self, s: float | Tensor, t: float | Tensor) -> Tensor:
        return torch.ones_like(as_time(s) + as_time(t))[..., None, None]
