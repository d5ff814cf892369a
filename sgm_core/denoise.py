r"""Network + process + preconditioning = Denoiser(u, t) -> E[x_0 | u_t].

Two parametrisations, both affine in the network's output F:

* `edm`: D = c_skip y + c_out F(c_in y, sigma) on the sufficient statistic
  y = m^T Sigma^-1 u / SNR = x_0 + sigma_eff eps, with EDM's coefficients (arXiv 2206.00364)

      c_in^2 = 1 / (sigma_d^2 + sigma^2),  c_skip = sigma_d^2 c_in^2,  c_out = sigma sigma_d c_in.

  It is the matrix form D = c_skip^T u + c_out F(c_in u) with C = sigma_d^2 m m^T + Sigma,
  c_skip = sigma_d^2 C^-1 m, c_out^2 = 1 / (sigma_d^-2 + SNR), in the rotation of C^-1/2 whose
  first row is along m; the other rows of C^-1/2 u are independent of x_0 and are not fed.
  The same network then serves every process.

* `native`: F predicts the noise of the last channel, eps = [L^-1 (u - m x_0)]_k with L = chol Sigma,
  as the papers train it (k = 1: epsilon prediction; CLD: the velocity's noise). All k channels
  of C^-1/2 u are fed. CLD's objective "dsm" scales F by the ratio of the two kernels' L_kk.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sgm_core.process.base import Process, as_time

# A denoiser is any callable (u, t, labels=...) -> x_0 estimate with attribute `process`:
# u (B, k, *shape), t a number or (B,), x_0 (B, *shape).
DenoiserLike = Callable[..., Tensor]


@dataclass(frozen=True)
class Coefficients:
    """D = c_skip . u + c_out F(c_in u, sigma) at times t of shape (n,); all float64.

    Attributes:
        c_in: (n, in_channels, k).
        c_skip: (n, k).
        c_out: (n,).
        sigma: (n,) sigma_eff.
    """

    c_in: Tensor
    c_skip: Tensor
    c_out: Tensor
    sigma: Tensor


def per_item(coefficient: Tensor, like: Tensor) -> Tensor:
    """Append axes to (B, ...) coefficients so that they broadcast over `like`'s data axes."""
    return coefficient.reshape(*coefficient.shape, *([1] * (like.ndim - coefficient.ndim)))


def outer_state(mean: Tensor, x: Tensor) -> Tensor:
    """Return the state m x^T, (B, k, *shape), of m (k,) and x (B, *shape)."""
    return per_item(mean.to(x)[None], x[:, None]) * x[:, None]


def mix(matrix: Tensor, u: Tensor) -> Tensor:
    """Apply (B, j, k) or (1, j, k) matrices to states (B, k, *shape) -> (B, j, *shape)."""
    if matrix.shape[-1] == 1 and matrix.shape[-2] == 1:
        return per_item(matrix[..., 0], u) * u
    flat = torch.matmul(matrix, u.flatten(2))
    return flat.reshape(u.shape[0], matrix.shape[-2], *u.shape[2:])


def whitening(process: Process, t: Tensor, sigma_data: float) -> Tensor:
    """Return C^-1/2 (n, k, k) with C = sigma_d^2 m m^T + Sigma and first row along C^-1 m."""
    mean = process.mean(t)
    covariance = sigma_data**2 * mean[..., None] * mean[..., None, :] + process.covariance(t)
    factor = torch.linalg.cholesky(covariance)
    eye = torch.eye(process.k, dtype=torch.float64).expand_as(factor)
    inverse = torch.linalg.solve_triangular(factor, eye, upper=False)
    if process.k == 1:
        return inverse
    along = (inverse @ mean[..., None])[..., 0]
    along = along / along.norm(dim=-1, keepdim=True)
    first = torch.zeros_like(along)
    first[..., 0] = 1.0
    # Householder reflection that maps `along` to e_1, from the side that does not cancel.
    sign = torch.where(along[..., :1] > 0, -1.0, 1.0)
    normal = along - sign * first
    normal = normal / normal.norm(dim=-1, keepdim=True)
    reflect = eye - 2 * normal[..., None] * normal[..., None, :]
    return sign[..., None] * (reflect @ inverse)


class Preconditioning:
    """The affine frame around a network; see the module's text for the two parametrisations."""

    def __init__(self, process: Process, sigma_data: float, parametrisation: str = "edm") -> None:
        self.process = process
        self.sigma_data = sigma_data
        self.parametrisation = parametrisation

    @property
    def in_channels(self) -> int:
        """Channels of the whitened state that the network sees."""
        return 1 if self.parametrisation == "edm" else self.process.k

    def level(self, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return EDM's (c_in, c_skip, c_out) at noise levels sigma, for y = x_0 + sigma eps."""
        c_in = (sigma.square() + self.sigma_data**2).rsqrt()
        return c_in, self.sigma_data**2 * c_in.square(), sigma * self.sigma_data * c_in

    def statistic(self, t: float | Tensor) -> Tensor:
        """Return the row m^T Sigma^-1 / SNR that maps u to y, shape (..., k)."""
        marginal = self.process.marginal
        if marginal.k == 1:
            return marginal.mean(t).reciprocal()
        return marginal.precision_mean(t) / marginal.snr(t)[..., None]

    def coefficients(self, t: float | Tensor) -> Coefficients:
        """Return the coefficients at times t (n,)."""
        t = as_time(t).reshape(-1)
        marginal = self.process.marginal
        sigma = marginal.sigma_eff(t)
        if self.parametrisation == "edm":
            row = self.statistic(t)
            c_in, c_skip, c_out = self.level(sigma)
            return Coefficients((c_in[:, None] * row)[:, None], c_skip[:, None] * row, c_out, sigma)
        factor = marginal.cholesky(t)
        eye = torch.eye(self.process.k, dtype=torch.float64).expand_as(factor)
        last = torch.linalg.solve_triangular(factor, eye, upper=False)[:, -1]
        last_mean = (last * marginal.mean(t)).sum(-1)
        ratio = factor[:, -1, -1] / self.process.cholesky(t)[:, -1, -1]
        return Coefficients(
            whitening(marginal, t, self.sigma_data),
            last / last_mean[:, None],
            -ratio / last_mean,
            sigma,
        )


class Denoiser:
    """E[x_0 | u_t] by a network; the one contract between networks and samplers.

    Args:
        net: F(inputs, sigma, labels).
        preconditioning: its frame, which also names the process it was trained under.
    """

    def __init__(self, net: nn.Module, preconditioning: Preconditioning) -> None:
        self.net = net
        self.preconditioning = preconditioning
        self.process = preconditioning.process.marginal
        self.nfe = 0

    def __call__(self, u: Tensor, t: float | Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the estimate of x_0, (B, *shape), in u's dtype.

        Args:
            u: states (B, k, *shape), any float dtype; the network itself runs in its own.
            t: one time, or (B,).
            labels: (B,) int64 with -1 for none.
        """
        c = self.preconditioning.coefficients(t)
        inputs = mix(c.c_in.to(u), u)
        dtype = next(self.net.parameters()).dtype
        sigma = c.sigma.to(device=u.device, dtype=dtype).expand(u.shape[0])
        output = self.net(inputs.to(dtype), sigma, labels).to(u.dtype)
        self.nfe += 1
        skip = mix(c.c_skip.to(u)[:, None], u)[:, 0]
        return skip + per_item(c.c_out.to(u), output) * output


class Guided:
    """Classifier-free guidance (arXiv 2207.12598): D = D_none + w (D_label - D_none)."""

    def __init__(self, denoiser: Denoiser, scale: float) -> None:
        self.denoiser, self.scale, self.process = denoiser, scale, denoiser.process

    @property
    def nfe(self) -> int:
        """Network evaluations so far (two a step)."""
        return self.denoiser.nfe

    def __call__(self, u: Tensor, t: float | Tensor, labels: Tensor | None = None) -> Tensor:
        with_label = self.denoiser(u, t, labels=labels)
        without = self.denoiser(u, t, labels=None)
        return without + self.scale * (with_label - without)


def score(denoiser: DenoiserLike, u: Tensor, t: float, **cond: Tensor | None) -> Tensor:
    """Return grad_u log p_t(u) = Sigma^-1 (m D - u), shape (B, k, *shape)."""
    process: Process = denoiser.process  # type: ignore[attr-defined]
    x0 = denoiser(u, t, **cond)
    mean, covariance = process.mean(t), process.covariance(t)
    residual = per_item(mean.to(u)[None], u) * x0[:, None] - u
    return mix(torch.linalg.inv(covariance).to(u)[None], residual)
