r"""Adaptive probability-flow ODE (Dormand-Prince 5(4)) in lambda = -ln sigma_eff.

    du / d lambda = (F u - 1/2 G G^T score(u, t)) / (d lambda / dt),
    d lambda / dt = -1/2 m^T Sigma^-1 G G^T Sigma^-1 m / SNR.

Every sample has its own step size, so that its result does not depend on its neighbours; `nfe`
counts the calls that were made, which is what the slowest sample needed.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sgm_core.denoise import mix, per_item
from sgm_core.errors import SgmError
from sgm_core.process.base import Process
from sgm_core.sample.base import Sampler

# Dormand-Prince coefficients: nodes, stages, 5th-order weights, difference to the 4th order.
C = (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
A = (
    (),
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
E = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)

MAX_ITERATIONS = 10_000


class ProbabilityFlowODE(Sampler):
    """Adaptive Dormand-Prince solver; `steps` is ignored, the tolerances decide.

    Args:
        rtol, atol: tolerances of the local error, in model space.
    """

    name = "ode"

    def __init__(
        self,
        steps: int = 2,
        grid: str = "log",
        sigma_min: float = 0.002,
        dtype: torch.dtype = torch.float64,
        rtol: float = 1e-3,
        atol: float = 1e-3,
    ) -> None:
        super().__init__(2, "log", sigma_min, dtype)
        self.rtol, self.atol = rtol, atol

    def slope(
        self, level: Tensor, u: Tensor, denoise: Callable[[Tensor, float | Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return (du / d lambda, x0) at levels lambda (B,)."""
        process: Process = self.process
        t = process.time_of((-level).exp())
        mean, noise = process.precision_mean(t), process.diffusion(t)
        inverse = torch.linalg.inv(process.covariance(t))
        speed = -0.5 * torch.einsum("nk,nkl,nl->n", mean, noise, mean) / process.snr(t)
        linear = (process.drift(t) + 0.5 * noise @ inverse) / speed[:, None, None]
        gain = -0.5 * (noise @ mean[..., None])[..., 0] / speed[:, None]
        x0 = denoise(u, t)
        return mix(linear.to(u), u) + per_item(gain.to(u), u) * x0[:, None], x0

    def step(
        self, i: int, u: Tensor, denoise: Callable[[Tensor, float | Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        start, end = (-self.process.sigma_eff(self.times[i : i + 2]).log()).tolist()
        n = u.shape[0]
        level = torch.full((n,), start, dtype=torch.float64)
        size = torch.full((n,), (end - start) / 50, dtype=torch.float64)
        u = u.clone()
        first, x0 = self.slope(level, u, denoise)
        x0 = x0.clone()
        active = torch.arange(n)
        for _ in range(MAX_ITERATIONS):
            h = torch.minimum(size[active], end - level[active])
            new, last, estimate, error = self._try(
                level[active], h, u[active], first[active], denoise
            )
            accept = error <= 1
            keep = active[accept]
            u[keep], first[keep], x0[keep] = new[accept], last[accept], estimate[accept]
            level[keep] += h[accept]
            size[active] = h * (0.9 * error.clamp(min=1e-10) ** -0.2).clamp(0.2, 5.0)
            active = active[level[active] < end - 1e-12]
            if len(active) == 0:
                return u, x0
        raise SgmError(
            f"sampler 'ode' did not finish in {MAX_ITERATIONS} steps; raise rtol or atol"
        )

    def _try(
        self,
        level: Tensor,
        h: Tensor,
        u: Tensor,
        first: Tensor,
        denoise: Callable[[Tensor, float | Tensor], Tensor],
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Attempt one step; return (new state, its slope, x0 there, error / tolerance (B,))."""
        slopes, new, x0 = [first], u, u[:, 0]
        width = per_item(h.to(u), u)
        for node, row in zip(C[1:], A[1:], strict=True):
            new = u + width * sum(a * k for a, k in zip(row, slopes, strict=True))
            slope, x0 = self.slope(level + node * h, new, denoise)
            slopes.append(slope)
        error = width * sum(e * k for e, k in zip(E, slopes, strict=True))
        scale = self.atol + self.rtol * torch.maximum(u.abs(), new.abs())
        ratio = (error / scale).flatten(1).square().mean(1).sqrt()
        return new, slopes[-1], x0, ratio.double().cpu()
