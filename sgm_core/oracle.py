r"""Exact denoisers: what every sampler, likelihood and figure is held against.

For x_0 ~ sum_i w_i N(mu_i, s_i^2 I) and y = x_0 + sigma eps,

    E[x_0 | y] = sum_i r_i(y) (s_i^2 y + sigma^2 mu_i) / (s_i^2 + sigma^2),
    r_i(y) ~ w_i N(y; mu_i, (s_i^2 + sigma^2) I);

y is the sufficient statistic of u_t, so that the same formula serves every process.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sgm_core.denoise import Preconditioning, mix
from sgm_core.process.base import Process, as_time


class MixtureDenoiser:
    """E[x_0 | u_t] for a mixture of isotropic Gaussians under any process.

    Args:
        weights: (n,), summing to one.
        means: (n, *shape).
        stds: (n,), zero for point data.
        process: the forward process.
    """

    def __init__(self, weights: Tensor, means: Tensor, stds: Tensor, process: Process) -> None:
        self.log_weights = as_time(weights).log()
        self.shape = tuple(means.shape[1:])
        self.means = as_time(means).flatten(1)
        self.variances = as_time(stds).square()
        self.process = process.marginal
        self._statistic = Preconditioning(self.process, 1.0).statistic
        self.nfe = 0

    def __call__(self, u: Tensor, t: float | Tensor, **cond: object) -> Tensor:
        """Return the posterior mean, (B, *shape)."""
        self.nfe += 1
        t = as_time(t).reshape(-1)
        y = mix(self._statistic(t)[:, None].to(u.device), u.double())[:, 0].flatten(1)
        return (
            self.posterior_mean(y, self.process.sigma_eff(t)).reshape(u.shape[0], *self.shape).to(u)
        )

    def _total(self, sigma: Tensor) -> Tensor:
        return self.variances + sigma.reshape(-1, 1).square()

    def _log_terms(self, y: Tensor, sigma: Tensor) -> Tensor:
        total = self._total(sigma)
        distance = torch.cdist(y, self.means).square()
        return self.log_weights - 0.5 * distance / total - 0.5 * y.shape[1] * total.log()

    def posterior_mean(self, y: Tensor, sigma: Tensor) -> Tensor:
        """Return E[x_0 | y] for y (B, D) at noise levels sigma (1,) or (B,)."""
        weights = self._log_terms(y, sigma).softmax(-1)
        total = self._total(sigma)
        shrink = (weights * self.variances / total).sum(-1, keepdim=True)
        pull = (weights * (sigma.reshape(-1, 1).square() / total)) @ self.means
        return shrink * y + pull

    def log_density(self, y: Tensor, sigma: float | Tensor = 0.0) -> Tensor:
        """Return log p(y) of the data smoothed by sigma, (B,)."""
        terms = self._log_terms(y.double().flatten(1), as_time(sigma).reshape(-1))
        return terms.logsumexp(-1) - 0.5 * self.means.shape[1] * math.log(2 * math.pi)


def gaussian_denoiser(
    mean: float, std: float, shape: tuple[int, ...], process: Process
) -> MixtureDenoiser:
    """Return the exact denoiser of N(mean, std^2 I)."""
    means = torch.full((1, *shape), mean, dtype=torch.float64)
    return MixtureDenoiser(torch.ones(1), means, torch.tensor([std]), process)
