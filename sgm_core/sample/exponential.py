r"""Exponential integrators for any number of channels: DDIM, ancestral, and their multistep versions.

With Phi the map of the reverse dynamics at noise level eta (sgm_core.sample.propagator), one step
from s down to t is exact for x_0 estimates D that are polynomials in lambda = -ln sigma_eff:

    u_t = Phi(t, s) u_s + sum_j c_j D_{n-j} + Q^1/2 z,     Q = Sigma_t - Phi Sigma_s Phi^T,
    c_j = l_j(lambda_t) m_t - l_j(lambda_s) Phi(t, s) m_s
          - int_{lambda_s}^{lambda_t} Phi(t, r) m_r l_j'(lambda_r) d lambda_r,

l_j the Lagrange polynomials of the last `order` evaluations; the integral by Gauss-Legendre in
float64, once per grid. Order 1 is c_0 = m_t - Phi m_s: DDIM (arXiv 2010.02502) and gDDIM
(2206.05564) for eta = 0, DDPM's ancestral step (2006.11239) for eta = 1; exact on point data at any
number of steps (DDIM's own eta scales the ancestral variance instead: equal at 0 and 1, not between).
Order 2 for k = 1 is DPM-Solver++ 2M and its SDE version (2211.01095) with the integral exact, higher
orders are of iPNDM's kind (2204.13902). Fresh noise corrects the errors of earlier steps, which with a
trained network is worth more than the lower error of the ODE.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sgm_core.denoise import outer_state
from sgm_core.process.base import Process
from sgm_core.sample.base import Sampler, apply, symmetric_root
from sgm_core.sample.propagator import propagators

# Gauss-Legendre on [0, 1].
NODES, WEIGHTS = (a / 2 for a in np.polynomial.legendre.leggauss(10))
NODES = NODES + 0.5


class ExponentialIntegrator(Sampler):
    """One network evaluation a step.

    Args:
        order: evaluations of D that a step extrapolates (fewer in the first steps).
        eta: 0 deterministic, 1 the reverse SDE.
        options: those of every sampler.
    """

    def __init__(self, order: int, eta: float, **options: Any) -> None:
        super().__init__(**options)
        self.order, self.eta = int(order), float(eta)

    def prepare(self, process: Process, times: Tensor) -> None:
        self.history: list[Tensor] = []
        start, end = times[:-1], times[1:]
        level = -process.sigma_eff(times).log()
        # Column 0 holds each step's start, the others the quadrature nodes inside the step.
        place = torch.from_numpy(NODES) if self.order > 1 else torch.zeros(0)
        inner = process.time_of((-(level[:-1, None] + place * level.diff()[:, None])).exp())
        all_times = torch.cat([start[:, None], inner], dim=1)
        carry = propagators(process, all_times, end[:, None], self.eta)
        self.carry = carry[:, 0]
        carried = (carry @ process.mean(all_times)[..., None])[..., 0]
        mean = process.mean(end)
        self.gains = [
            _gains(level[: i + 2], min(self.order, i + 1), mean[i], carried[i])
            for i in range(len(start))
        ]
        if self.eta:
            spent = self.carry @ process.covariance(start) @ self.carry.mT
            self.kick = symmetric_root(process.covariance(end) - spent)

    def step(
        self, i: int, u: Tensor, denoise: Callable[[Tensor, float | Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        x0 = denoise(u, float(self.times[i]))
        self.history = [x0, *self.history][: self.order]
        u = apply(self.carry[i], u)
        for gain, estimate in zip(self.gains[i], self.history, strict=False):
            u = u + outer_state(gain, estimate)
        if self.eta:
            u = u + apply(self.kick[i], self.draw(u.shape[1:]).to(u.device))
        return u, x0


def _gains(level: Tensor, order: int, mean: Tensor, carried: Tensor) -> list[Tensor]:
    """Return c_j (k,) for the newest evaluation first.

    Args:
        level: lambda of all times up to the step's end, ascending.
        order: evaluations to use.
        mean: m_t (k,); carried: Phi(t, r) m_r at the step's start and at the nodes (1 + nodes, k).
    """
    if order == 1:
        return [mean - carried[0]]
    span = float(level[-1] - level[-2])
    # In units of the step: 0 at its start, 1 at its end, negative for earlier evaluations.
    points = ((level[:-1].flip(0)[:order] - level[-2]) / span).tolist()
    gains = []
    for j in range(order):
        (first, last), _ = _lagrange(points, j, np.array([0.0, 1.0]))
        _, slope = _lagrange(points, j, NODES)
        integral = torch.from_numpy(slope * WEIGHTS) @ carried[1:]
        gains.append(last * mean - first * carried[0] - integral)
    return gains


def _lagrange(points: list[float], j: int, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the polynomial that is 1 at points[j] and 0 at the others, and its slope, at x."""
    value, slope = np.ones_like(x), np.zeros_like(x)
    for i, point in enumerate(points):
        if i != j:
            scale = 1 / (points[j] - point)
            value, slope = value * (x - point) * scale, (slope * (x - point) + value) * scale
    return value, slope


class DDIM(ExponentialIntegrator):
    """DDIM / gDDIM: order 1, deterministic unless eta is given."""

    name = "ddim"

    def __init__(self, eta: float = 0.0, **options: Any) -> None:
        super().__init__(1, eta, **options)


class Multistep(ExponentialIntegrator):
    """gDDIM with D extrapolated (k = 1: DPM-Solver++ 2M)."""

    name = "multistep"

    def __init__(self, order: int = 2, eta: float = 0.0, **options: Any) -> None:
        super().__init__(order, eta, **options)


class Ancestral(ExponentialIntegrator):
    """The posterior step p(u_t | u_s, x_0 = D) (k = 1: DDPM)."""

    name = "ancestral"

    def __init__(self, **options: Any) -> None:
        super().__init__(1, 1.0, **options)


class MultistepSDE(ExponentialIntegrator):
    """The ancestral step with D extrapolated (k = 1: SDE-DPM-Solver++ 2M)."""

    name = "multistep_sde"

    def __init__(self, order: int = 2, **options: Any) -> None:
        super().__init__(order, 1.0, **options)
