r"""Adaptive probability-flow ODE (Dormand-Prince 5(4)) in lambda = -ln sigma_eff.

    du / d lambda = (F u - 1/2 G G^T score(u, t)) / (d lambda / dt),
    d lambda / dt = -1/2 m^T Sigma^-1 G G^T Sigma^-1 m / SNR.

Every sample has its own step size (sgm_core.integrate), so that its result does not depend on its
neighbours; `nfe` counts the calls that were made, which is what the slowest sample needed.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sgm_core.denoise import mix, per_item
from sgm_core.errors import SgmError
from sgm_core.integrate import MAX_CALLS, check_tolerances, dopri5
from sgm_core.levels import times_of
from sgm_core.process.base import Process
from sgm_core.sample.base import Sampler


def flow_coefficients(process: Process, level: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the probability flow du / d lambda = linear u + gain D^T at levels lambda (n,).

    linear = (F + 1/2 G G^T Sigma^-1) / speed, gain = -1/2 G G^T Sigma^-1 m / speed, with
    speed = d lambda / dt.

    Returns:
        times (n,), linear (n, k, k), gain (n, k); float64.
    """
    t = times_of(process, -level)
    (mean, snr), noise = process.precision_mean_snr(t), process.diffusion(t)
    speed = -0.5 * torch.einsum("nk,nkl,nl->n", mean, noise, mean) / snr
    linear = (process.drift(t) + 0.5 * noise @ process.precision(t)) / speed[:, None, None]
    return t, linear, -0.5 * (noise @ mean[..., None])[..., 0] / speed[:, None]


class ProbabilityFlowODE(Sampler):
    """Adaptive Dormand-Prince solver; `steps` and `grid` are ignored, the tolerances decide.

    Args:
        rtol, atol: tolerances of the local error, in model space.

    Raises:
        UsageError: a tolerance is not between integrate.TOLERANCE and 1, or an option is wrong.
        SgmError: from a call; some samples did not end within integrate.MAX_CALLS evaluations.
    """

    name = "ode"

    def __init__(
        self,
        steps: int = 2,
        grid: str = "log",
        sigma_min: float = 0.002,
        sigma_max: float | None = None,
        dtype: torch.dtype = torch.float64,
        rtol: float = 1e-3,
        atol: float = 1e-3,
    ) -> None:
        super().__init__(steps, grid, sigma_min, sigma_max, dtype)
        check_tolerances(rtol, atol)
        self.steps, self.grid = 2, "log"  # from one end to the other
        self.rtol, self.atol = rtol, atol

    def step(
        self, i: int, u: Tensor, denoise: Callable[[Tensor, float | Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        start, end = (-self.process.sigma_eff(self.times[i : i + 2]).log()).tolist()
        # The denoiser may treat items differently (labels, masks): it is always given all of them,
        # those that are done as they were last.
        states, x0 = u.clone(), torch.empty_like(u[:, 0])
        levels = torch.full((len(u),), start, dtype=torch.float64)

        def slope(level: Tensor, part: Tensor, index: Tensor) -> Tensor:
            states[index], levels[index] = part, level
            t, linear, gain = flow_coefficients(self.process, levels)
            # The last call for a sample is at its end.
            x0[index] = denoise(states, t)[index]
            here = linear[index].to(u), gain[index].to(u)
            return mix(here[0], part) + per_item(here[1], part) * x0[index][:, None]

        solution = dopri5(slope, u, start, end, rtol=self.rtol, atol=self.atol)
        if late := int((~solution.finished).sum()):
            raise SgmError(
                f"sampler 'ode': {late} of {len(u)} samples did not end in {MAX_CALLS} evaluations "
                f"at rtol {self.rtol:g}, atol {self.atol:g}; raise the tolerances"
            )
        return solution.state, x0
