r"""Exponential integrators for any number of channels: DDIM, ancestral, and their 2M versions.

With x_0 held at D over a step from s down to t, the reverse dynamics are linear and solved exactly:

    u_t = m_t D + Phi(t, s) (u_s - m_s D) + Q^1/2 z.

Deterministic (probability-flow ODE; DDIM for k = 1, arXiv 2010.02502; gDDIM, arXiv 2206.05564):

    Phi(t, s) = R_t R_s^-1,   R' = (F + 1/2 G G^T Sigma^-1) R,   Q = 0.

Stochastic (reverse SDE; DDPM's ancestral step for k = 1, arXiv 2006.11239):

    Phi(t, s) = Sigma_t Psi(s, t)^T Sigma_s^-1,   Q = Sigma_t - Phi Sigma_s Phi^T.

Order 1 is exact on point data at any number of steps. Order 2 extrapolates D linearly in
lambda = -ln sigma_eff from the last two evaluations (k = 1: DPM-Solver++ 2M and its SDE version,
arXiv 2211.01095):

    + c (D_n - D_{n-1}) / (lambda_n - lambda_{n-1}),
    c = m_t (lambda_t - lambda_s) - int_{lambda_s}^{lambda_t} Phi(t, r) m_r d lambda_r,

the integral by Gauss-Legendre in float64, once per grid. Fresh noise corrects the errors of earlier
steps, which with a trained network is worth more than the lower error of the ODE.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from sgm_core.denoise import outer_state
from sgm_core.process.base import Process
from sgm_core.sample.base import Sampler, apply, solve_right, symmetric_root

NODES = 10


class ExponentialIntegrator(Sampler):
    """One network evaluation a step; `order` and `stochastic` choose the member of the family."""

    order = 1
    stochastic = False

    def prepare(self, process: Process, times: Tensor) -> None:
        self.previous: Tensor | None = None
        start, end = times[:-1], times[1:]
        level = -process.sigma_eff(times).log()
        self.span = level.diff()
        # Column 0 holds each step's start, the others the quadrature nodes inside the step.
        nodes, weights = np.polynomial.legendre.leggauss(NODES if self.order == 2 else 1)
        place, weight = torch.from_numpy((nodes + 1) / 2), torch.from_numpy(weights / 2)
        inner = process.time_of((-(level[:-1, None] + place * self.span[:, None])).exp())
        carry = self._propagators(process, torch.cat([start[:, None], inner], dim=1), end)
        mean = process.mean(times)
        self.carry = carry[:, 0]
        self.gain = mean[1:] - (self.carry @ mean[:-1, :, None])[..., 0]
        carried = (carry[:, 1:] @ process.mean(inner)[..., None])[..., 0]
        integral = self.span[:, None] * (weight[:, None] * carried).sum(1)
        self.slope = mean[1:] * self.span[:, None] - integral
        if self.stochastic:
            self.kick = symmetric_root(
                process.covariance(end) - self.carry @ process.covariance(start) @ self.carry.mT
            )

    def _propagators(self, process: Process, times: Tensor, end: Tensor) -> Tensor:
        """Return Phi(end_i, times_ij), (steps, columns, k, k)."""
        k = process.k
        if self.stochastic:
            psi = process.transition(end[:, None], times)
            target = process.covariance(end)[:, None] @ psi.mT
            return solve_right(process.covariance(times), target)
        if len(end) == 0:
            return torch.zeros(0, times.shape[1], k, k, dtype=torch.float64)
        factors = process.flow_factors(torch.cat([times.flatten(), end[-1:]]))
        columns = times.shape[1]
        at_times = factors[:-1].reshape(len(end), columns, k, k)
        at_end = factors[columns::columns][:, None].expand_as(at_times)
        return solve_right(at_times, at_end)

    def step(
        self, i: int, u: Tensor, denoise: Callable[[Tensor, float | Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        x0 = denoise(u, float(self.times[i]))
        u = apply(self.carry[i], u) + outer_state(self.gain[i], x0)
        if self.order == 2 and self.previous is not None:
            u = u + outer_state(self.slope[i] / self.span[i - 1], x0 - self.previous)
        self.previous = x0
        if self.stochastic:
            u = u + apply(self.kick[i], self.draw(u.shape[1:]).to(u.device))
        return u, x0


class DDIM(ExponentialIntegrator):
    """DDIM / gDDIM: deterministic, order 1."""

    name = "ddim"


class Multistep(ExponentialIntegrator):
    """gDDIM 2M (k = 1: DPM-Solver++ 2M): deterministic, order 2."""

    name = "multistep"
    order = 2


class Ancestral(ExponentialIntegrator):
    """The posterior step p(u_t | u_s, x_0 = D) (k = 1: DDPM)."""

    name = "ancestral"
    stochastic = True


class MultistepSDE(ExponentialIntegrator):
    """The ancestral step with D extrapolated (k = 1: SDE-DPM-Solver++ 2M)."""

    name = "multistep_sde"
    order = 2
    stochastic = True
