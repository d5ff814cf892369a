r"""Heun's method on the probability-flow ODE of the sufficient statistic (arXiv 2206.00364, alg. 2).

With y = u / m the ODE of every k = 1 process is dy / d sigma = (y - D(y; sigma)) / sigma.
Two evaluations a step, second order. Churn first raises the noise level of a step,

    sigma^ = sigma (1 + gamma),  y += s_noise sqrt(sigma^^2 - sigma^2) z,
    gamma = min(s_churn / steps, sqrt 2 - 1) where s_tmin <= sigma <= s_tmax,

and s_churn = 0 is the deterministic algorithm 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor

from sgm_core.errors import UsageError
from sgm_core.process.base import Process
from sgm_core.sample.base import Sampler


class Heun(Sampler):
    """EDM's sampler; for processes with one channel.

    Args:
        s_churn, s_tmin, s_tmax, s_noise: stochasticity as in the paper.
        options: those of every sampler.
    """

    name = "heun"

    def __init__(
        self,
        s_churn: float = 0.0,
        s_tmin: float = 0.0,
        s_tmax: float = math.inf,
        s_noise: float = 1.0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.s_churn, self.s_tmin, self.s_tmax, self.s_noise = s_churn, s_tmin, s_tmax, s_noise

    def prepare(self, process: Process, times: Tensor) -> None:
        if process.k != 1:
            raise UsageError(
                f"sampler 'heun' is for processes with one channel and {process.kind!r} has "
                f"{process.k}; use 'sscs', 'multistep', 'ddim' or 'ode'"
            )
        self.sigma = process.sigma_eff(times).tolist()
        self.mean = process.mean(times)[:, 0].tolist()
        self.largest = process.sigma_range()[1]
        gamma = min(self.s_churn / self.steps, math.sqrt(2) - 1)
        self.raised = [
            # Not above the largest level that the process (and its network) knows.
            max(s, min(s * (1 + gamma), self.largest)) if self.s_tmin <= s <= self.s_tmax else s
            for s in self.sigma
        ]

    def step(
        self, i: int, u: Tensor, denoise: Callable[[Tensor, float | Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        y, s, s_next, t = u[:, 0] / self.mean[i], self.raised[i], self.sigma[i + 1], self.times[i]
        if s > self.sigma[i]:
            spread = self.s_noise * math.sqrt(s**2 - self.sigma[i] ** 2)
            y = y + spread * self.draw(u.shape[1:]).to(u.device)[:, 0]
            t = self.process.time_of(s)
            u = self.process.mean(t).item() * y[:, None]
        x0 = denoise(u, float(t))
        slope = (y - x0) / s
        ahead = y + (s_next - s) * slope
        x0_next = denoise(self.mean[i + 1] * ahead[:, None], float(self.times[i + 1]))
        slope_next = (ahead - x0_next) / s_next
        y_next = y + (s_next - s) * 0.5 * (slope + slope_next)
        return self.mean[i + 1] * y_next[:, None], x0
