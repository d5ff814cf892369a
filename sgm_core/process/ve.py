r"""Variance-exploding SDE (arXiv 2011.13456): du = sqrt(d sigma^2 / dt) dw.

m = 1,  Sigma = sigma(t)^2,  sigma(t) = sigma_min (sigma_max / sigma_min)^t = sigma_eff.
The kernel starts at Sigma_0 = sigma_min^2: data is seen through the smallest noise.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sgm_core.process.base import ScalarProcess, as_time


class VE(ScalarProcess):
    """The variance-exploding process with a geometric noise level."""

    kind = "ve"

    def __init__(self, sigma_min: float = 0.01, sigma_max: float = 50.0) -> None:
        self.sigma_min, self.sigma_max = sigma_min, sigma_max
        self.log_ratio = math.log(sigma_max / sigma_min)

    def alpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def variance(self, t: Tensor) -> Tensor:
        return self.sigma_min**2 * torch.exp(2.0 * self.log_ratio * t)

    def rate(self, t: Tensor) -> Tensor:
        return torch.zeros_like(t)

    def noise_rate(self, t: Tensor) -> Tensor:
        return 2.0 * self.log_ratio * self.variance(t)

    def transition(self, s: float | Tensor, t: float | Tensor) -> Tensor:
        return torch.ones_like(as_time(s) + as_time(t))[..., None, None]
