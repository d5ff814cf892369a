r"""Symmetric splitting for Langevin processes (SSCS, arXiv 2112.07068).

The reverse SDE is split into an Ornstein-Uhlenbeck part with the stationary score, solved exactly
for half a step on either side of an Euler step of the rest, at the midpoint in time,

    u += h G G^T ( score(u, t_mid) + Sigma_inf^-1 u ),    Sigma_inf = diag(1, M).

One evaluation a step.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sgm_core.denoise import outer_state
from sgm_core.process.base import Process
from sgm_core.sample.base import Sampler, apply


class SSCS(Sampler):
    """Symmetric splitting CLD sampler with the score taken at the step's midpoint."""

    name = "sscs"

    def prepare(self, process: Process, times: Tensor) -> None:
        start, end = times[:-1], times[1:]
        self.middle = (start + end) / 2
        halves = [
            (process.reverse_splitting(a, b), process.reverse_splitting(b, c))
            for a, b, c in zip(start.tolist(), self.middle.tolist(), end.tolist(), strict=True)
        ]
        self.flows = [(first[0], second[0]) for first, second in halves]
        self.roots = [
            (torch.linalg.cholesky(first[1]), torch.linalg.cholesky(second[1]))
            for first, second in halves
        ]
        noise = process.diffusion(self.middle)
        h = (start - end)[:, None, None]
        stationary = torch.linalg.inv(process.stationary_covariance())
        inverse = torch.linalg.inv(process.covariance(self.middle))
        eye = torch.eye(process.k, dtype=torch.float64)
        self.carry = eye + h * (noise @ (stationary - inverse))
        self.gain = (h * noise @ process.precision_mean(self.middle)[..., None])[..., 0]

    def step(
        self, i: int, u: Tensor, denoise: Callable[[Tensor, float | Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        for half in (0, 1):
            z = self.draw(u.shape[1:]).to(u.device)
            u = apply(self.flows[i][half], u) + apply(self.roots[i][half], z)
            if half == 0:
                x0 = denoise(u, float(self.middle[i]))
                u = apply(self.carry[i], u) + outer_state(self.gain[i], x0)
        return u, x0
