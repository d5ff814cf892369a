r"""Variance-preserving SDE (arXiv 2011.13456): du = -beta/2 u dt + sqrt(beta) dw, B = int_0^t beta:

m = exp(-B/2),  Sigma = 1 - exp(-B),  sigma_eff = sqrt(exp(B) - 1).

Linear schedule: beta = beta_min + t (beta_max - beta_min). Cosine schedule (arXiv 2102.09672):
m = cos a_t / cos a_0 with a_t = pi/2 (t + s) / (1 + s), so that exp(B) - 1 = sin(a_t - a_0)
sin(a_t + a_0) / cos^2 a_t. The cosine's mean vanishes at t = 1; sampling starts at t_max = 0.999.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sgm_core.process.base import ScalarProcess, as_time


class VP(ScalarProcess):
    """The variance-preserving process.

    Args:
        beta_min, beta_max: of the linear schedule.
        schedule: "linear" or "cosine".
        s: offset of the cosine schedule.
    """

    kind = "vp"

    def __init__(
        self,
        beta_min: float = 0.1,
        beta_max: float = 20.0,
        schedule: str = "linear",
        s: float = 0.008,
    ) -> None:
        self.beta_min, self.beta_max = beta_min, beta_max
        self.cosine, self.s = schedule == "cosine", s
        if self.cosine:
            self.t_max = 0.999
        self._rate = 0.5 * math.pi / (1.0 + s)  # da / dt
        self._first = self._rate * s  # a_0

    def _angle(self, t: Tensor) -> Tensor:
        return self._rate * t + self._first

    def rate_integral(self, t: Tensor) -> Tensor:
        """Return B(t) = int_0^t beta, shape (...)."""
        if self.cosine:
            angle = self._angle(t)
            growth = torch.sin(self._rate * t) * torch.sin(angle + self._first)
            return torch.log1p(growth / torch.cos(angle).square())
        return t * (self.beta_min + 0.5 * t * (self.beta_max - self.beta_min))

    def beta(self, t: Tensor) -> Tensor:
        """Return beta(t), shape (...)."""
        if self.cosine:
            return 2.0 * self._rate * torch.tan(self._angle(t))
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
        if self.cosine:
            return (torch.cos(self._angle(t)) / torch.cos(self._angle(s)))[..., None, None]
        # B(t) - B(s) factored, so that nearby times do not cancel.
        span = (t - s) * (self.beta_min + 0.5 * (t + s) * (self.beta_max - self.beta_min))
        return torch.exp(-0.5 * span)[..., None, None]
