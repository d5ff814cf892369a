r"""The linear map of the reverse dynamics with x_0 held at D, for every amount of noise eta.

The reverse-time family with marginals p_t (eta = 0: probability-flow ODE, eta = 1: reverse SDE),

    du = [F u - (1 + eta^2)/2 G G^T score(u, t)] dt + eta G dw,   score = Sigma^-1 (m D - u),

is linear in r = u - m D:  r_t = Phi(t, s) r_s + Q^1/2 z, t < s, where

    Phi' = (F + (1 + eta^2)/2 G G^T Sigma^-1) Phi,   Q = Sigma_t - Phi Sigma_s Phi^T

(gDDIM, arXiv 2206.05564; Q follows from the marginals and needs no integral). Closed forms:

    eta = 1:  Phi = Sigma_t Psi(s, t)^T Sigma_s^-1      (the ancestral step p(u_t | u_s, x_0 = D))
    k = 1:    Phi = (Sigma_t / Sigma_s)^((1 - eta^2)/2) Phi_1^(eta^2)     (eta = 0: DDIM)
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from sgm_core.process.base import Process


def propagators(process: Process, start: Tensor, end: Tensor, eta: float = 0.0) -> Tensor:
    """Return Phi(end, start), (..., k, k), for times of shapes that broadcast to (...).

    For k > 1 and eta < 1 all intervals are integrated at once, each from the identity, in ln t.
    """
    start, end = torch.broadcast_tensors(start, end)
    if eta == 1.0 or process.k == 1:
        ancestral = process.covariance(end) @ process.transition(end, start).mT
        ancestral = ancestral @ process.precision(start)
        if eta == 1.0:
            return ancestral
        flow = (process.covariance(end) / process.covariance(start)).sqrt()
        return flow ** (1 - eta**2) * ancestral ** (eta**2)
    return _integrate(process, start.flatten(), end.flatten(), eta).reshape(
        *start.shape, process.k, process.k
    )


def _integrate(process: Process, start: Tensor, end: Tensor, eta: float) -> Tensor:
    n, k = len(start), process.k
    if n == 0:
        return torch.zeros(0, k, k, dtype=torch.float64)
    span = (end / start).log()
    gain = 0.5 * (1 + eta**2)

    def slope(theta: float, flat: np.ndarray) -> np.ndarray:
        t = start * (theta * span).exp()
        matrix = process.drift(t) + gain * process.diffusion(t) @ process.precision(t)
        change = (t * span)[:, None, None] * matrix @ torch.from_numpy(flat).reshape(n, k, k)
        return change.flatten().numpy()

    identity = np.tile(np.eye(k).ravel(), n)
    solution = solve_ivp(slope, (0, 1), identity, "DOP853", rtol=1e-10, atol=1e-12)
    return torch.from_numpy(np.ascontiguousarray(solution.y[:, -1])).reshape(n, k, k)
