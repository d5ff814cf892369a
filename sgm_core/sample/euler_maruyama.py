r"""Euler-Maruyama on the reverse-time SDE (Anderson 1982; arXiv 2011.13456).

u_{t-h} = u_t - h (F u - G G^T score(u, t)) + sqrt(h) G z
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sgm_core.denoise import outer_state
from sgm_core.process.base import Process
from sgm_core.sample.base import Sampler, apply, symmetric_root


class EulerMaruyama(Sampler):
    """The plain first-order stochastic sampler."""

    name = "euler_maruyama"

    def prepare(self, process: Process, times: Tensor) -> None:
        start, h = times[:-1], -times.diff()
        noise = process.diffusion(start)
        precision_mean = process.precision_mean(start)
        gain = noise @ process.precision(start)
        eye = torch.eye(process.k, dtype=torch.float64)
        # score = Sigma^-1 (m D - u): the step is linear in u and D.
        self.carry = eye - h[:, None, None] * (process.drift(start) + gain)
        self.gain = h[:, None] * (noise @ precision_mean[..., None])[..., 0]
        self.kick = h.sqrt()[:, None, None] * symmetric_root(noise)

    def step(
        self, i: int, u: Tensor, denoise: Callable[[Tensor, float | Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        x0 = denoise(u, float(self.times[i]))
        z = self.draw(u.shape[1:]).to(u.device)
        return apply(self.carry[i], u) + outer_state(self.gain[i], x0) + apply(self.kick[i], z), x0
