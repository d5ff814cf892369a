r"""Sub-variance-preserving SDE (arXiv 2011.13456): the drift of VP, less noise.

m = exp(-B/2),  Sigma = (1 - exp(-B))^2,  sigma_eff = 2 sinh(B/2),  g^2 = beta (1 - exp(-2B)).
"""

from __future__ import annotations

import torch
from torch import Tensor

from sgm_core.process.base import as_time
from sgm_core.process.vp import VP


class SubVP(VP):
    """The sub-variance-preserving process."""

    kind = "subvp"

    def variance(self, t: Tensor) -> Tensor:
        return torch.expm1(-self.rate_integral(t)).square()

    def snr(self, t: float | Tensor) -> Tensor:
        return (2.0 * torch.sinh(0.5 * self.rate_integral(as_time(t)))).square().reciprocal()

    def noise_rate(self, t: Tensor) -> Tensor:
        return -self.beta(t) * torch.expm1(-2.0 * self.rate_integral(t))
