r"""Symmetric splitting for Langevin processes (SSCS, arXiv 2112.07068).

The reverse SDE is split into an Ornstein-Uhlenbeck part with the stationary score, solved exactly
for half a step on either side of a step h of the rest,

    du = G G^T ( score(u, t) + Sigma_inf^-1 u ) dt = [ G G^T (Sigma_inf^-1 - Sigma^-1) u
                                                       + G G^T Sigma^-1 m D ] dt.

`sscs`, as published: one Euler step with the score at the step's first time; one evaluation, order 1.
`sscs2`: the coefficients at the step's middle and the midpoint rule (D taken anew after half of the
flow); two evaluations, order 2. The rule is explicit: at few steps it is less stable than `sscs`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from sgm_core.denoise import outer_state
from sgm_core.process.base import Process
from sgm_core.sample.base import Sampler, apply

Denoise = Callable[[Tensor, float | Tensor], Tensor]


class Splitting(Sampler):
    """The exactly solved halves, around a step of the score flow that subclasses give."""

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
        self.prepare_score(process, start, self.middle, start - end)

    @abstractmethod
    def prepare_score(self, process: Process, start: Tensor, middle: Tensor, h: Tensor) -> None:
        """Compute the tables of the score flow for steps of length h."""

    @abstractmethod
    def score_flow(self, i: int, u: Tensor, denoise: Denoise) -> tuple[Tensor, Tensor]:
        """Carry u through the score flow of step i; return (u, the last estimate of x_0)."""

    def step(self, i: int, u: Tensor, denoise: Denoise) -> tuple[Tensor, Tensor]:
        z = self.draw(u.shape[1:]).to(u.device)
        u = apply(self.flows[i][0], u) + apply(self.roots[i][0], z)
        u, x0 = self.score_flow(i, u, denoise)
        z = self.draw(u.shape[1:]).to(u.device)
        return apply(self.flows[i][1], u) + apply(self.roots[i][1], z), x0


def _generators(process: Process, times: Tensor) -> tuple[Tensor, Tensor]:
    """Return (L, b) of the score flow du = (L u + b D) dt at times (n,): (n, k, k) and (n, k)."""
    noise = process.diffusion(times)
    stationary = torch.linalg.inv(process.stationary_covariance())
    linear = noise @ (stationary - process.precision(times))
    return linear, (noise @ process.precision_mean(times)[..., None])[..., 0]


class SSCS(Splitting):
    """Symmetric splitting CLD sampler as published."""

    name = "sscs"

    def prepare_score(self, process: Process, start: Tensor, middle: Tensor, h: Tensor) -> None:
        linear, gain = _generators(process, start)
        self.carry = torch.eye(process.k, dtype=torch.float64) + h[:, None, None] * linear
        self.gain = h[:, None] * gain

    def score_flow(self, i: int, u: Tensor, denoise: Denoise) -> tuple[Tensor, Tensor]:
        x0 = denoise(u, float(self.times[i]))
        return apply(self.carry[i], u) + outer_state(self.gain[i], x0), x0


class SSCS2(Splitting):
    """Symmetric splitting of second order."""

    name = "sscs2"

    def prepare_score(self, process: Process, start: Tensor, middle: Tensor, h: Tensor) -> None:
        linear, gain = _generators(process, middle)
        self.linear, self.gain = h[:, None, None] * linear, h[:, None] * gain

    def score_flow(self, i: int, u: Tensor, denoise: Denoise) -> tuple[Tensor, Tensor]:
        t = float(self.middle[i])
        x0 = denoise(u, t)
        half = u + 0.5 * (apply(self.linear[i], u) + outer_state(self.gain[i], x0))
        x0 = denoise(half, t)
        return u + apply(self.linear[i], half) + outer_state(self.gain[i], x0), x0
