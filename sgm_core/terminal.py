r"""The density that a probability flow ends in, at the process's largest noise level.

It is the one that sampling starts from, N(0, sigma^2 I) for y and N(0, Sigma) for the state u; or,
for a denoiser that knows the law of the data (`log_density(y, sigma)`, sgm_core.oracle), the exact
one. That of the state follows from that of y, because u tells of x_0 through y only:

    log p(u) = log N(u; 0, Sigma) + log p_sigma(y) - log N(y; 0, sigma^2 I).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from sgm_core.denoise import mix
from sgm_core.preconditioning import statistic_row
from sgm_core.process.base import Process


def normal(z: Tensor) -> Tensor:
    """Return log N(z; 0, I) of (n, D) in float64 on the CPU, (n,)."""
    square = z.double().square().sum(1).cpu()
    return -0.5 * square - 0.5 * z.shape[1] * math.log(2 * math.pi)


def terminal_density(denoiser: Any, y: Tensor, sigma: float, wanted: str) -> tuple[Tensor, str]:
    """Return log p_sigma(y) (n,) of y (n, *shape), and "exact" or "prior".

    Args:
        wanted: "auto": exact where the denoiser knows it; "prior".
    """
    known = getattr(denoiser, "log_density", None) if wanted == "auto" else None
    if known is not None:
        return torch.as_tensor(known(y.cpu(), sigma)).double().cpu(), "exact"
    d = y[0].numel()
    return normal(y.flatten(1) / sigma) - d * math.log(sigma), "prior"


def terminal_state_density(
    denoiser: Any, u: Tensor, process: Process, sigma: float, wanted: str
) -> tuple[Tensor, str]:
    """Return log p(u) (n,) of states u (n, k, *shape) at the level sigma, and "exact" or "prior"."""
    t = process.time_of(sigma)
    factor = process.cholesky(t)
    white = torch.linalg.solve_triangular(factor.to(u), u.flatten(2), upper=False)
    d = u[0, 0].numel()
    value = normal(white.flatten(1)) - d * float(factor.logdet())
    y = mix(statistic_row(process, t)[None, None].to(u), u)[:, 0]
    end, kind = terminal_density(denoiser, y, sigma, wanted)
    return value + end - terminal_density(None, y, sigma, "prior")[0], kind
