r"""Rectified flow with Gaussian noise (arXiv 2209.03003): u = (1 - t) x_0 + t eps, as a diffusion.

m = 1 - t,  Sigma = t^2,  sigma_eff = t / (1 - t),  F = -1 / (1 - t),  g^2 = 2 t / (1 - t).

Its probability-flow ODE has the velocity eps_hat - x0_hat. The mean vanishes at t = 1, where F, g and
sigma_eff are infinite; sampling starts at t_max = 1 - eps, eps = 1e-3 as in the paper's code.
"""

from __future__ import annotations

from torch import Tensor

from sgm_core.process.base import ScalarProcess, as_time


class Flow(ScalarProcess):
    """The straight-line interpolation between data and noise."""

    kind = "flow"

    def __init__(self, eps: float = 1e-3) -> None:
        self.t_max = 1.0 - eps

    def alpha(self, t: Tensor) -> Tensor:
        return 1.0 - t

    def variance(self, t: Tensor) -> Tensor:
        return t.square()

    def rate(self, t: Tensor) -> Tensor:
        return -1.0 / (1.0 - t)

    def noise_rate(self, t: Tensor) -> Tensor:
        return 2.0 * t / (1.0 - t)

    def transition(self, s: float | Tensor, t: float | Tensor) -> Tensor:
        return ((1.0 - as_time(t)) / (1.0 - as_time(s)))[..., None, None]
