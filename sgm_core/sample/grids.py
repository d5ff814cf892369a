"""Time grids of the samplers: decreasing times from t_max, the last one at sigma_min.

The grid matters most: equal steps in ln sigma_eff ("log") give at 25 evaluations what equal steps
in sqrt(t) ("quadratic") give at 50 or more, under every process.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sgm_core.errors import UsageError, unknown
from sgm_core.process.base import Process

GRIDS = ("log", "rho", "quadratic", "uniform")
RHO = 7.0  # arXiv 2206.00364, equation 5


def make_grid(
    process: Process,
    steps: int,
    kind: str = "log",
    sigma_min: float = 0.002,
    sigma_max: float | None = None,
) -> Tensor:
    """Return `steps` decreasing times, (steps,) float64, down to sigma_eff = sigma_min.

    Args:
        process: maps levels to times.
        steps: number of times; the denoiser is evaluated at each.
        kind: "log", "rho" (rho = 7): spacing in sigma_eff; "quadratic", "uniform": spacing in t.
        sigma_min: smallest level; raised to the process's own smallest level where that is larger.
        sigma_max: largest level; None: the process's own, at t_max.
    """
    if kind not in GRIDS:
        raise unknown("grid", kind, GRIDS)
    low, high = process.sigma_range()
    if not 0 < sigma_min < high:
        raise UsageError(
            f"sigma_min: {sigma_min!r} is not valid: choose between 0 and {high:g}, "
            f"the largest noise level of {process.kind}"
        )
    low = max(low, sigma_min)
    if sigma_max is not None and not low < sigma_max <= high * (1 + 1e-9):
        raise UsageError(
            f"sigma_max: {sigma_max!r} is not valid: choose between {low:g} (sigma_min) and "
            f"{high:g}, the largest noise level of {process.kind}"
        )
    first = process.t_max if sigma_max is None else float(process.time_of(sigma_max))
    high = high if sigma_max is None else sigma_max
    if steps == 1:
        return torch.tensor([first], dtype=torch.float64)
    fraction = torch.linspace(0, 1, steps, dtype=torch.float64)
    if kind in ("quadratic", "uniform"):
        power = 2 if kind == "quadratic" else 1
        begin, end = (t ** (1 / power) for t in (first, float(process.time_of(low))))
        times = torch.as_tensor((begin + fraction * (end - begin)) ** power)
        times[0] = first
        return times
    if kind == "log":
        sigma = high * (low / high) ** fraction
    else:
        sigma = (high ** (1 / RHO) + fraction * (low ** (1 / RHO) - high ** (1 / RHO))) ** RHO
    times = process.time_of(sigma)
    times[0] = first
    return times
