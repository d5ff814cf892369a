r"""Exact denoisers: what every sampler, likelihood and figure is held against.

For x_0 ~ sum_i w_i N(mu_i, s_i^2 I) and y = x_0 + sigma eps,

    E[x_0 | y] = sum_i r_i(y) (s_i^2 y + sigma^2 mu_i) / (s_i^2 + sigma^2),
    r_i(y) ~ w_i N(y; mu_i, (s_i^2 + sigma^2) I);

for x_0 ~ N(mu, C) with any covariance,

    E[x_0 | y] = mu + C (C + sigma^2 I)^-1 (y - mu).

y is the sufficient statistic of u_t, so that the same formula serves every process. All of it is
float64 on the CPU and differentiable in u, so that dD/dy is exact as well.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from sgm_core.errors import UsageError
from sgm_core.preconditioning import mix, statistic_row_sigma
from sgm_core.process.base import Process, as_time


class ExactDenoiser(ABC):
    """E[x_0 | u_t] of a known law of x_0, under any process.

    Attributes:
        process: the forward process (its marginal).
        shape: of one x_0.
        nfe: calls so far.
    """

    def __init__(self, shape: tuple[int, ...], process: Process) -> None:
        self.shape = shape
        self.process = process.marginal
        self.nfe = 0

    def __call__(self, u: Tensor, t: float | Tensor, **cond: object) -> Tensor:
        """Return the posterior mean, (B, *shape), for u (B, k, *shape); conditions are ignored."""
        self.nfe += 1
        t = as_time(t).reshape(-1)
        row, sigma = statistic_row_sigma(self.process, t)
        y = mix(row[:, None], u.double().cpu())[:, 0].flatten(1)
        x0 = self.posterior_mean(y, sigma)
        return x0.reshape(u.shape[0], *self.shape).to(u)

    @abstractmethod
    def posterior_mean(self, y: Tensor, sigma: Tensor) -> Tensor:
        """Return E[x_0 | y] for y (B, D) at noise levels sigma (1,) or (B,)."""

    @abstractmethod
    def log_density(self, y: Tensor, sigma: float | Tensor = 0.0) -> Tensor:
        """Return log p(y) in nats of the data smoothed by sigma, (B,), for y (B, *shape)."""


class MixtureDenoiser(ExactDenoiser):
    """E[x_0 | u_t] for a mixture of isotropic Gaussians under any process.

    Args:
        weights: (n,), summing to one.
        means: (n, *shape).
        stds: (n,), zero for point data.
        process: the forward process.
    """

    def __init__(self, weights: Tensor, means: Tensor, stds: Tensor, process: Process) -> None:
        super().__init__(tuple(means.shape[1:]), process)
        self.log_weights = as_time(weights).log()
        self.means = as_time(means).flatten(1)
        self.variances = as_time(stds).square()

    def _total(self, sigma: Tensor) -> Tensor:
        return self.variances + sigma.reshape(-1, 1).square()

    def _log_terms(self, y: Tensor, sigma: Tensor) -> Tensor:
        total = self._total(sigma)
        # Differences, not |a|^2 + |b|^2 - 2 ab, which cancels where y is next to a mean.
        distance = torch.cdist(y, self.means, compute_mode="donot_use_mm_for_euclid_dist").square()
        return self.log_weights - 0.5 * distance / total - 0.5 * y.shape[1] * total.log()

    def posterior_mean(self, y: Tensor, sigma: Tensor) -> Tensor:
        weights = self._log_terms(y, sigma).softmax(-1)
        total = self._total(sigma)
        shrink = (weights * self.variances / total).sum(-1, keepdim=True)
        pull = (weights * (sigma.reshape(-1, 1).square() / total)) @ self.means
        return shrink * y + pull

    def log_density(self, y: Tensor, sigma: float | Tensor = 0.0) -> Tensor:
        terms = self._log_terms(y.double().flatten(1), as_time(sigma).reshape(-1))
        return terms.logsumexp(-1) - 0.5 * self.means.shape[1] * math.log(2 * math.pi)


class GaussianDenoiser(ExactDenoiser):
    """E[x_0 | u_t] for N(mean, covariance) under any process.

    Args:
        mean: (*shape), D numbers in all.
        covariance: (D, D), symmetric, positive semi-definite (zero directions are allowed).
        process: the forward process.

    Raises:
        UsageError: the covariance has another shape, is not symmetric or has a negative eigenvalue.
    """

    def __init__(self, mean: Tensor, covariance: Tensor, process: Process) -> None:
        super().__init__(tuple(mean.shape), process)
        self.mean = as_time(mean).flatten()
        matrix, size = as_time(covariance), len(self.mean)
        if tuple(matrix.shape) != (size, size) or not torch.allclose(matrix, matrix.mT):
            raise UsageError(
                f"covariance: shape {tuple(matrix.shape)} is not valid: "
                f"give a symmetric ({size}, {size}) matrix"
            )
        self.values, self.axes = torch.linalg.eigh(matrix)
        if self.values[0] < -1e-9 * self.values[-1].abs():
            raise UsageError(
                f"covariance: smallest eigenvalue {float(self.values[0]):g} is not valid: "
                "give a positive semi-definite matrix"
            )
        self.values = self.values.clamp(min=0)

    def posterior_mean(self, y: Tensor, sigma: Tensor) -> Tensor:
        gain = self.values / (self.values + sigma.reshape(-1, 1).square())
        return self.mean + (((y - self.mean) @ self.axes) * gain) @ self.axes.mT

    def log_density(self, y: Tensor, sigma: float | Tensor = 0.0) -> Tensor:
        total = self.values + as_time(sigma).reshape(-1, 1).square()
        rotated = (y.double().flatten(1) - self.mean) @ self.axes
        terms = rotated.square() / total + total.log() + math.log(2 * math.pi)
        return -0.5 * terms.sum(-1)


def gaussian_denoiser(
    mean: float, std: float, shape: tuple[int, ...], process: Process
) -> MixtureDenoiser:
    """Return the exact denoiser of N(mean, std^2 I)."""
    means = torch.full((1, *shape), mean, dtype=torch.float64)
    return MixtureDenoiser(torch.ones(1), means, torch.tensor([std]), process)


def point_denoiser(points: Tensor, weights: Tensor, process: Process) -> MixtureDenoiser:
    """Return the exact denoiser of point data, sum_i w_i delta(x - points_i).

    It is what a network tends to that has learned its training set by heart; `log_density` is
    finite for sigma > 0 only.

    Args:
        points: (n, *shape).
        weights: (n,), summing to one.
    """
    return MixtureDenoiser(weights, points, torch.zeros(len(points)), process)
