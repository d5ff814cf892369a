r"""Sampling given a linear measurement: a denoiser of p(x_0 | u_t, obs) from one of p(x_0 | u_t).

For obs = A x_0 + s n, n ~ N(0, I), and y = x_0 + sigma_eff eps, the posterior p(x_0 | y) is taken to
be Gaussian with its true first two moments (moment matching, arXiv 2310.06721, arXiv 2405.13712)

    D = E[x_0 | y],     V = Cov[x_0 | y] = sigma_eff^2 dD/dy     (Tweedie's second-order formula),

    E[x_0 | y, obs] = D + V A^T (A V A^T + s^2 I)^-1 (obs - A D).

It is exact for Gaussian data, and an approximation where p(x_0 | y) has several modes at the noise
levels that decide between them: the shares of such modes are then off. The posterior under any
process depends on u through y only, so that one formula serves every process and every sampler: the
conditioned denoiser is a denoiser.

V is never formed: V w is one vector-Jacobian product (V is symmetric), along u = m y, so that
dD/dy = (dD/du) m; the linear system is solved in a Krylov space (sgm_core.control.krylov).
"""

from __future__ import annotations

import torch
from torch import Tensor

from sgm_core.control.krylov import gain
from sgm_core.control.operators import Operator
from sgm_core.denoise import DenoiserLike, mix, per_item
from sgm_core.errors import UsageError
from sgm_core.process.base import Process, as_time


class Conditioned:
    """E[x_0 | u_t, obs] as a denoiser (u, t, **cond), to be given to any sampler.

    One call costs one evaluation of the denoiser and up to `iterations` + 1 backward passes.

    Args:
        denoiser: E[x_0 | u_t], differentiable in u, with attribute `process`.
        operator: the measurement A.
        observation: obs, broadcastable to A x (B, *observation), in model space.
        std: standard deviation s of the measurement's noise, in model space.
        iterations: largest dimension of the Krylov space.

    Raises:
        UsageError: std is negative, or iterations is no positive whole number.
    """

    def __init__(
        self,
        denoiser: DenoiserLike,
        operator: Operator,
        observation: Tensor,
        *,
        std: float = 0.01,
        iterations: int = 3,
    ) -> None:
        if not std >= 0:
            raise UsageError(f"std: {std!r} is not valid: write a number from 0")
        if isinstance(iterations, bool) or not isinstance(iterations, int) or iterations < 1:
            raise UsageError(
                f"iterations: {iterations!r} is not valid: write a whole number from 1"
            )
        self.denoiser, self.operator, self.observation = denoiser, operator, observation
        self.std, self.iterations = std, iterations
        self.process: Process = denoiser.process  # type: ignore[attr-defined]

    @property
    def nfe(self) -> int:
        """Evaluations of the denoiser so far."""
        return int(self.denoiser.nfe)  # type: ignore[attr-defined]

    def __call__(self, u: Tensor, t: float | Tensor, **cond: Tensor | None) -> Tensor:
        """Return E[x_0 | u_t, obs], (B, *shape), in u's dtype."""
        time = as_time(t).reshape(-1)
        along = self.process.mean(time).to(u)[:, None]
        variance = self.process.sigma_eff(time).square().to(u)
        with torch.inference_mode(False), torch.enable_grad():
            state = u.detach().clone().requires_grad_(True)
            estimate = self.denoiser(state, t, **cond)

        def spread(w: Tensor) -> Tensor:
            """Return V w = sigma^2 (dD/dy)^T w."""
            (gradient,) = torch.autograd.grad(estimate, state, w, retain_graph=True)
            return per_item(variance, w) * mix(along, gradient)[:, 0]

        x0 = estimate.detach()
        residual = self.observation.to(x0) - self.operator.forward(x0)
        return x0 + gain(spread, self.operator, residual, self.std**2, self.iterations)
