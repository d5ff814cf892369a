r"""The affine frame around a network: D = c_skip . u + c_out F(c_in u, sigma), three of them.

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
  PSLD noises the position too, and near t = 0 that noise says most about x_0: c_out / sigma_eff grows
  to some hundreds there, and with it the network's error; `edm` has no such levels.

* `mixed`: the same noise less its best linear estimate, which Gaussian data of standard deviation
  sigma_d have ("mixed score", arXiv 2112.07068, 2106.05931): `native`'s c_in and c_out, `edm`'s
  c_skip = sigma_d^2 C^-1 m. The untrained network (F = 0) is then the linear denoiser.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sgm_core.process.base import Process, as_time


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
    """Return the states m x^T, (B, k, *shape), of m (k,) or one per item (B, k), and x (B, *shape)."""
    rows = mean.to(x).reshape(-1, mean.shape[-1])
    return per_item(rows, x[:, None]) * x[:, None]


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
    return reflection((inverse @ mean[..., None])[..., 0]) @ inverse


def statistic_row(process: Process, t: float | Tensor) -> Tensor:
    """Return the row m^T Sigma^-1 / SNR that maps u to y = x_0 + sigma_eff eps, (..., k)."""
    return statistic_row_sigma(process, t)[0]


def statistic_row_sigma(process: Process, t: float | Tensor) -> tuple[Tensor, Tensor]:
    """Return that row and sigma_eff (...)."""
    if process.k == 1:
        return process.mean(t).reciprocal(), process.sigma_eff(t)
    row, snr = process.precision_mean_snr(t)
    known = type(process).sigma_eff is not Process.sigma_eff  # by another formula
    return row / snr[..., None], process.sigma_eff(t) if known else snr.rsqrt()


def complement(process: Process, t: float | Tensor) -> Tensor:
    """Return R (..., k, k - 1) with R R^T = Sigma - m m^T / SNR: u = m y + R zeta has the statistic
    y, and zeta ~ N(0, I) is what of u says nothing of x_0.

    R = L H, H an orthonormal basis of the complement of L^-1 m.
    """
    along = process.whiten(process.mean(t), t)
    return process.cholesky(t) @ reflection(along)[..., 1:]


def reflection(v: Tensor) -> Tensor:
    """Return orthogonal, symmetric matrices (..., k, k) whose first row is v / |v|, v (..., k)."""
    along = v / v.norm(dim=-1, keepdim=True)
    first = torch.zeros_like(along)
    first[..., 0] = 1.0
    # Householder reflection that maps `along` to e_1, from the side that does not cancel.
    sign = torch.where(along[..., :1] > 0, -1.0, 1.0)
    normal = along - sign * first
    normal = normal / normal.norm(dim=-1, keepdim=True)
    eye = torch.eye(v.shape[-1], dtype=v.dtype)
    return sign[..., None] * (eye - 2 * normal[..., None] * normal[..., None, :])


class Preconditioning:
    """The affine frame around a network.

    Args:
        process: the process that the network is trained under.
        sigma_data: standard deviation of the data in model space, sigma_d.
        parametrisation: "edm", "native" or "mixed"; see the module's text.
    """

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

    def coefficients(self, t: float | Tensor) -> Coefficients:
        """Return the coefficients at times t (n,)."""
        t = as_time(t).reshape(-1)
        marginal = self.process.marginal
        if self.parametrisation == "edm":
            row, sigma = statistic_row_sigma(marginal, t)
            c_in, c_skip, c_out = self.level(sigma)
            return Coefficients((c_in[:, None] * row)[:, None], c_skip[:, None] * row, c_out, sigma)
        last, last_mean, ratio = self.last_noise(t)
        if self.parametrisation == "mixed":
            row, sigma = statistic_row_sigma(marginal, t)
            skip = self.level(sigma)[1][:, None] * row
        else:
            sigma, skip = marginal.sigma_eff(t), last / last_mean[:, None]
        return Coefficients(
            whitening(marginal, t, self.sigma_data), skip, -ratio / last_mean, sigma
        )

    def output_scale(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return (sigma_eff, c_out) at times t (n,)."""
        sigma = self.process.marginal.sigma_eff(t)
        if self.parametrisation == "edm":
            return sigma, self.level(sigma)[2]
        _, last_mean, ratio = self.last_noise(t)
        return sigma, -ratio / last_mean

    def last_noise(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return how u_t = m x_0 + L xi gives the last channel's noise, at times t (n,).

        Returns:
            last (n, k), the last row of L^-1, and last_mean = last . m (n,), so that
            last . u = last_mean x_0 + xi_k; and the ratio (n,) of the marginal's L_kk to that of
            the kernel that training draws from, E[xi_k | u] = ratio F.
        """
        marginal = self.process.marginal
        factor = marginal.cholesky(t)
        eye = torch.eye(self.process.k, dtype=torch.float64).expand_as(factor)
        last = torch.linalg.solve_triangular(factor, eye, upper=False)[:, -1]
        ratio = factor[:, -1, -1] / self.process.cholesky(t)[:, -1, -1]
        return last, (last * marginal.mean(t)).sum(-1), ratio

    def linear(self, t: Tensor) -> Tensor:
        """Return the row lin (n, k) that `mixed` takes off the noise: F = E[xi_k - lin . u | u]."""
        last, last_mean, ratio = self.last_noise(t)
        row, sigma = statistic_row_sigma(self.process.marginal, t)
        skip = self.level(sigma)[1][:, None] * row
        return (last - last_mean[:, None] * skip) / ratio[:, None]
