r"""States for paths between samples: encoding, spherical interpolation, and SDEdit's start.

A deterministic sampler is a map from states u at t_max to data. `encode` is its inverse: it walks
the probability-flow ODE upwards from data, so that decoding gives the data back. What lies between
two samples is drawn from states between their states; an image is edited by forgetting its fine
levels and drawing them anew (SDEdit, arXiv 2108.01073).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from sgm_core.denoise import DenoiserLike, outer_state
from sgm_core.preconditioning import complement
from sgm_core.process.base import Process
from sgm_core.sample.base import apply
from sgm_core.sample.grids import make_grid
from sgm_core.sample.noise import NoiseStream
from sgm_core.sample.propagator import propagators

NODES = 10
# A draw of a sample's stream that no sampler reaches (they count from 0).
AUXILIARY = 2**32 - 1


def slerp(a: Tensor, b: Tensor, weights: Tensor | float) -> Tensor:
    """Return the points of the great circle from a (weight 0) to b (weight 1), sample by sample.

        sin((1 - w) theta) / sin(theta) a + sin(w theta) / sin(theta) b,  theta = angle(a, b)

    The mean of two independent normal states is shorter than either by sqrt(2), and so no draw of
    the prior; on the circle the length is kept. (Nearly) parallel states are joined by a line.

    Args:
        a, b: (n, ...), or (1, ...).
        weights: (n,), or one number.
    """
    flat_a, flat_b = a.flatten(1), b.flatten(1)
    w = torch.as_tensor(weights, dtype=flat_a.dtype, device=a.device).reshape(-1, 1)
    length = flat_a.norm(dim=1, keepdim=True) * flat_b.norm(dim=1, keepdim=True)
    cosine = (flat_a * flat_b).sum(1, keepdim=True) / length.clamp(min=1e-300)
    theta = cosine.clamp(-1, 1).acos()
    sine = theta.sin()
    straight = sine < 1e-6
    sine = torch.where(straight, 1.0, sine)
    from_a = torch.where(straight, 1 - w, ((1 - w) * theta).sin() / sine)
    from_b = torch.where(straight, w, (w * theta).sin() / sine)
    path = from_a * flat_a + from_b * flat_b
    return path.reshape(len(path), *a.shape[1:])


def seeded_state(process: Process, seeds: np.ndarray | list[int], shape: tuple[int, ...]) -> Tensor:
    """Return the state at t_max that a sampler draws for each seed, (n, k, *shape) float64."""
    noise = NoiseStream(seeds).draw(0, (process.k, *shape))
    return apply(process.cholesky(process.t_max), noise)


def whitened(process: Process, u: Tensor) -> Tensor:
    """Return L^-1 u for states at t_max, so that the prior's draws become standard normal."""
    return apply(torch.linalg.inv(process.cholesky(process.t_max)), u)


def state_between(process: Process, a: Tensor, b: Tensor, weights: Tensor | float) -> Tensor:
    """Return `slerp` of two states at t_max, taken where the prior is standard normal."""
    path = slerp(whitened(process, a), whitened(process, b), weights)
    return apply(process.cholesky(process.t_max), path)


def noised_state(process: Process, x: Tensor, t: float, seeds: np.ndarray | list[int]) -> Tensor:
    """Draw u_t ~ p(u_t | x_0 = x), each item from its seed's first draw: (n, k, *shape).

    Args:
        x: (n, *shape) in model space.
    """
    noise = NoiseStream(seeds).draw(0, (process.k, *x.shape[1:])).to(x.device)
    return outer_state(process.mean(t), x.double()) + apply(process.cholesky(t), noise)


def clean_state(process: Process, x: Tensor, t: float, seeds: np.ndarray | list[int]) -> Tensor:
    """Return a state at time t whose statistic y is exactly x, (n, k, *shape) float64.

    u = m x + R zeta, R R^T = Sigma - m m^T / SNR: the k - 1 components that say nothing of x_0 are
    drawn from their law given y, each item's from its seed.

    Args:
        x: (n, *shape) in model space.
    """
    mean = process.mean(t)
    u = outer_state(mean, x.double())
    if process.k == 1:
        return u
    across = complement(process, t)
    zeta = NoiseStream(seeds).draw(AUXILIARY, (process.k - 1, *x.shape[1:]))
    return u + apply(across, zeta.to(x.device))


def encode(
    denoiser: DenoiserLike,
    x: Tensor,
    *,
    steps: int = 50,
    sigma_min: float = 0.002,
    seeds: int | np.ndarray | list[int] = 0,
    **cond: Tensor | None,
) -> Tensor:
    r"""Return the states at t_max that a deterministic sampler turns into x.

    The probability-flow ODE from the level sigma_min upwards, in its exponential form: with Phi the
    flow at x_0 held fixed and D linear in lambda = -ln sigma_eff over a step from s to t (Heun),

        u_t = Phi u_s + (I - Phi m_s) D_s + (m_t - I) D_t,   I = int Phi(t, r) m_r d lambda / span.

    Two evaluations a step, order 2. The data is taken for its own state at sigma_min (`clean_state`).

    Args:
        denoiser: (u, t, **cond) -> x_0 with attribute `process`.
        x: (n, *shape) in model space.
        steps: steps on the "log" grid.
        sigma_min: level at which the data is taken; raised to the process's smallest.
        seeds: of the components that say nothing of x_0 (k > 1); one for all, or one per item.

    Returns:
        (n, k, *shape) float64.
    """
    process: Process = denoiser.process  # type: ignore[attr-defined]
    times = make_grid(process, steps + 1, "log", sigma_min).flip(0)
    start, end = times[:-1], times[1:]
    level = process.sigma_eff(times).log()
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    place = torch.from_numpy((nodes + 1) / 2)
    inner = process.time_of((level[:-1, None] + place * level.diff()[:, None]).exp())
    all_times = torch.cat([start[:, None], inner], dim=1)
    carry = propagators(process, all_times, end[:, None])
    carried = (carry @ process.mean(all_times)[..., None])[..., 0]
    inside = (torch.from_numpy(weights / 2)[:, None] * carried[:, 1:]).sum(1)
    own = np.full(len(x), seeds, dtype=np.uint64) if isinstance(seeds, int) else seeds
    mean = process.mean(end)
    with torch.no_grad():
        u = clean_state(process, x, float(times[0]), own)
        for i in range(steps):
            before = denoiser(u, float(start[i]), **cond)
            u = apply(carry[i, 0], u) - outer_state(carried[i, 0], before)
            guess = u + outer_state(mean[i], before)
            after = denoiser(guess, float(end[i]), **cond)
            u = u + outer_state(inside[i], before) + outer_state(mean[i] - inside[i], after)
    return u


def edit_level(times: Tensor, strength: float) -> int:
    """Return the index of a sampler's grid at which SDEdit of this strength starts.

    Strength is the share of the grid that is walked: 1 the whole of it, towards 0 the last step.
    """
    return max(0, min(len(times) - 2, math.floor((1 - strength) * (len(times) - 1) + 0.5)))
