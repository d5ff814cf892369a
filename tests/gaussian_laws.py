"""The exact law of a sampler on Gaussian data, without Monte-Carlo noise.

On N(mean, std^2) data the denoiser is affine, and so is every sampler with fixed steps: the position
is an affine function of the start and of all noise that it draws. Feeding zero and then every unit vector
gives that function, and with it the mean and variance of what the sampler returns.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from sgm_core.oracle import gaussian_denoiser
from sgm_core.process.base import Process
from sgm_core.sample import make_sampler

MEAN, STD = 0.5, 0.5


def w2_error(
    process: Process, sampler: str, steps: int, *, prior: bool = False, **options: Any
) -> tuple[float, int]:
    """Return (W2 between the law of x at the last time and the exact marginal, evaluations).

    Args:
        steps: intervals of the grid.
        prior: start from the prior N(0, Sigma), as users do; else from the exact marginal, so that
            the error is the discretisation's alone.
        options: grid, sigma_min and the sampler's own.
    """
    run = make_sampler(sampler, steps=steps + 1, **options)
    oracle = gaussian_denoiser(MEAN, STD, (1,), process)
    k = process.k
    # Row 0 is the all-zero input; PC and splitting draw twice a step, k numbers each.
    total = 1 + k + 2 * k * (steps + 1)
    used = 1 + k

    def unit(shape: tuple[int, ...]) -> Tensor:
        nonlocal used
        block = torch.zeros(total, int(np.prod(shape)), dtype=torch.float64)
        if run.draws == 0:  # the start's noise, replaced below
            run.draws += 1
            return block.reshape(total, *shape)
        size = block.shape[1]
        block[used : used + size] = torch.eye(size, dtype=torch.float64)
        used += size
        return block.reshape(total, *shape)

    run.draw = unit  # type: ignore[method-assign,assignment]
    t = process.t_max
    mean, sigma = process.mean(t), process.covariance(t)
    start = torch.zeros(total, k, 1, dtype=torch.float64)
    if prior:
        factor = torch.linalg.cholesky(sigma)
    else:
        start += (MEAN * mean)[None, :, None]
        factor = torch.linalg.cholesky(sigma + STD**2 * torch.outer(mean, mean))
    start[1 : 1 + k] += factor.T[..., None]
    states: list[Tensor] = []
    run(oracle, (total, 1), start=start, callback=lambda i, t, u, x0: states.append(u))
    assert used <= total
    x, last = states[-1][:, 0, 0], float(run.times[-1])
    m = process.mean(last)[0]
    std = (x[1:] - x[0]).square().sum().sqrt()
    exact = (process.covariance(last)[0, 0] + (STD * m) ** 2).sqrt()
    return float(((x[0] - MEAN * m) ** 2 + (std - exact) ** 2).sqrt()), run.nfe
