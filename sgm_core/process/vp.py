r"""Variance-preserving SDE (arXiv 2011.13456): du = -beta/2 u dt + sqrt(beta) dw.

beta(t) = beta_min + t (beta_max - beta_min),  B(t) = int_0^t beta = beta_min t + (..) t^2 / 2:
m = exp(-B/2),  Sigma = 1 - exp(-B),  sigma_eff = sqrt(exp(B) - 1).
"""

from __future__ import annotations

import torch
from torch import Tensor

from sgm_core.process.base import ScalarProcess, as_time


class VP(ScalarProcess):
    """The variance-preserving process with a linear noise rate."""

    kind = "vp"

    def __init__(self, beta_min: float = 0.1, beta_max: float = 20.0) -> None:
        self.beta_min, self.beta_max = beta_min, beta_max

    def rate_integral(self, t: Tensor) -> Tensor:
        """Return B(t) = int_0^t beta, shape (...)."""
        return t * (self.beta_min + 0.5 * t * (self.beta_max - self.beta_min))

    def beta(self, t: Tensor) -> Tensor:
        """Return beta(t), shape (...)."""
        return self.beta_min + t * (self.beta_max - self.beta_min)

    def alpha(self, t: Tensor) -> Tensor:
        return torch.exp(-0.5 * self.rate_integral(t))

    def variance(self, t: Tensor) -> Tensor:
        return -torch.expm1(-self.rate_integral(t))

    def snr(self, t: float | Tensor) -> Tensor:
        return 1.0 / torch.expm1(self.rate_integral(as_time(t)))

    def rate(self, t: Tensor) -> Tensor:
        return -0.5 * self.beta(t)

    def noise_rate(self, t: Tensor) -> Tensor:
        return self.beta(t)

    def transition(self, s: float | Tensor, t: float | Tensor) -> Tensor:
        s, t = as_time(s), as_time(t)
        # B(t) - B(s) factored, so that nearby times do not cancel.
        span = (t - s) * (self.beta_min + 0.5 * (t + s) * (self.beta_max - self.beta_min))
        return torch.exp(-0.5 * span)[..., None, None]
