r"""Predictor-corrector (arXiv 2011.13456): an ancestral step, then Langevin dynamics at the new level.

The corrector runs  du = Sigma score(u, t) dtheta + sqrt(2 Sigma) dw  for a time theta, which leaves
p_t alone. Preconditioned by Sigma it has one time scale for every process, and with x_0 held at D it
is solved exactly:

    u <- m D + a (u - m D) + sqrt(1 - a^2) L z,     a = exp(-theta),  L L^T = Sigma.

theta = corrector x (the step's length in ln sigma_eff): unlike the paper's fixed signal-to-noise
ratio it needs no norms over the batch, and the law converges with the number of steps (order 1).
Two evaluations a step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sgm_core.denoise import outer_state
from sgm_core.process.base import Process
from sgm_core.sample.base import apply
from sgm_core.sample.exponential import ExponentialIntegrator


class PredictorCorrector(ExponentialIntegrator):
    """Ancestral predictor, Langevin corrector.

    Args:
        corrector: Langevin time per unit of ln sigma_eff.
        options: those of every sampler.
    """

    name = "predictor_corrector"

    def __init__(self, corrector: float = 0.5, **options: Any) -> None:
        super().__init__(1, 1.0, **options)
        self.corrector = corrector

    def prepare(self, process: Process, times: Tensor) -> None:
        super().prepare(process, times)
        theta = -self.corrector * process.sigma_eff(times).log().diff()
        self.keep = torch.exp(-theta)
        spread = (-torch.expm1(-2 * theta)).sqrt()
        self.spread = spread[:, None, None] * process.cholesky(times[1:])
        self.center = process.mean(times[1:])

    def step(
        self, i: int, u: Tensor, denoise: Callable[[Tensor, float | Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        u, _ = super().step(i, u, denoise)
        x0 = denoise(u, float(self.times[i + 1]))
        keep = float(self.keep[i])
        z = self.draw(u.shape[1:]).to(u.device)
        u = keep * u + outer_state((1 - keep) * self.center[i], x0) + apply(self.spread[i], z)
        return u, x0
