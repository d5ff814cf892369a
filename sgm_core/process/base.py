r"""A forward process is its perturbation kernel.

The state u in R^{k x d} carries k channels per data coordinate, the data in channel 0
(k = 1: VP, sub-VP, VE, EDM, rectified flow; k = 2: position and velocity of Langevin dynamics;
k = 3: its third-order form):

    p(u_t | x_0) = N( m_t x_0^T , Sigma_t (x) I_d ),   m_t in R^k,  Sigma_t in R^{k x k}

Everything else follows. The posterior of x_0 depends on u_t only through one number per coordinate,

    y = m^T Sigma^-1 u / SNR = x_0 + sigma_eff eps,   SNR = m^T Sigma^-1 m,  sigma_eff = SNR^-1/2,

so E[x_0 | u_t] = D(y; sigma_eff) and score(u, t) = Sigma^-1 (m D - u) for every process.

All kernels are float64 and exact to about 1e-12 relative down to t = 1e-7: no additive eps, and
differences of nearly equal numbers are written as sums of positive terms.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from sgm_core.errors import UsageError

# Times below this are outside of what the kernels are tested for.
T_MIN = 1e-7


def as_time(t: float | Tensor | np.ndarray) -> Tensor:
    """Return t as a float64 tensor on the CPU, where all kernel coefficients are computed."""
    return torch.as_tensor(t, dtype=torch.float64, device="cpu")


class Process(ABC):
    """A linear diffusion on t in [0, t_max]; subclasses give the kernel in closed form.

    Attributes:
        kind: the name in params.yaml.
        k: channels per data coordinate (position first).
        t_min: smallest time of sampling grids and training times.
        t_max: where sampling starts. 1 unless the paper's time runs further (EDM), or the mean
            vanishes at 1 (rectified flow, cosine VP), where sigma_eff and F are infinite.
    """

    kind: str
    k: int
    t_min: float = T_MIN
    t_max: float = 1.0

    @abstractmethod
    def mean(self, t: float | Tensor) -> Tensor:
        """Return m_t, shape (..., k), float64."""

    @abstractmethod
    def covariance(self, t: float | Tensor) -> Tensor:
        """Return Sigma_t, shape (..., k, k), float64."""

    @abstractmethod
    def transition(self, s: float | Tensor, t: float | Tensor) -> Tensor:
        """Return Psi(t, s), the linear map of the drift from time s to time t, (..., k, k).

        It satisfies m_t = Psi(t, s) m_s; t < s gives the inverse map.
        """

    @abstractmethod
    def drift(self, t: float | Tensor) -> Tensor:
        """Return F_t of the forward SDE du = F_t u dt + G_t dw, shape (..., k, k)."""

    @abstractmethod
    def diffusion(self, t: float | Tensor) -> Tensor:
        """Return G_t G_t^T, shape (..., k, k)."""

    @property
    def marginal(self) -> Process:
        """The kernel of p(u_t | x_0) with all auxiliary initial values integrated out.

        It differs from the process itself only where training conditions on more than x_0
        (CLD with objective="dsm"); denoisers and samplers use the marginal.
        """
        return self

    def cholesky(self, t: float | Tensor) -> Tensor:
        """Return the lower Cholesky factor L of Sigma_t, (..., k, k)."""
        return torch.linalg.cholesky(self.covariance(t))

    def precision(self, t: float | Tensor) -> Tensor:
        """Return Sigma_t^-1 = L^-T L^-1, (..., k, k)."""
        factor = self.cholesky(t)
        eye = torch.eye(self.k, dtype=torch.float64).expand_as(factor)
        inverse = torch.linalg.solve_triangular(factor, eye, upper=False)
        return inverse.mT @ inverse

    def noise_factor(self, t: float | Tensor) -> Tensor:
        """Return B with u_t = m x_0 + B xi, xi ~ N(0, I) in law, (..., k, r); column k - 1 is the
        noise that the native parametrisation predicts."""
        return self.cholesky(t)

    def snr(self, t: float | Tensor) -> Tensor:
        """Return SNR = m^T Sigma^-1 m, shape (...)."""
        return self.whiten(self.mean(t), t).square().sum(-1)

    def sigma_eff(self, t: float | Tensor) -> Tensor:
        """Return sigma_eff = SNR^-1/2, the noise level of the sufficient statistic, shape (...)."""
        return self.snr(t).rsqrt()

    def whiten(self, v: Tensor, t: float | Tensor) -> Tensor:
        """Return L^-1 v for v of shape (..., k)."""
        return torch.linalg.solve_triangular(self.cholesky(t), v[..., None], upper=False)[..., 0]

    def precision_mean(self, t: float | Tensor) -> Tensor:
        """Return Sigma^-1 m, shape (..., k)."""
        factor = self.cholesky(t)
        return torch.cholesky_solve(self.mean(t)[..., None], factor)[..., 0]

    def precision_mean_snr(self, t: float | Tensor) -> tuple[Tensor, Tensor]:
        """Return Sigma^-1 m (..., k) and SNR (...), where a process shares work between them."""
        return self.precision_mean(t), self.snr(t)

    def prior(self, shape: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
        """Draw u ~ N(0, Sigma_{t_max}), the state that sampling starts from.

        Args:
            shape: (n, *data shape); returns (n, k, *data shape), float64.
            generator: source of randomness.
        """
        n, *rest = shape
        noise = torch.randn((n, self.k, *rest), dtype=torch.float64, generator=generator)
        return torch.einsum("kl,nl...->nk...", self.cholesky(self.t_max), noise)

    # -- noise level <-> time ------------------------------------------------------------------

    @cached_property
    def _level_table(self) -> tuple[np.ndarray, np.ndarray]:
        """ln sigma_eff on a fine grid of ln t, for bracketing the root in `time_of`."""
        low, high = math.log10(self.t_min), math.log10(self.t_max)
        t = torch.logspace(low, high, 4096, dtype=torch.float64)
        t[0], t[-1] = self.t_min, self.t_max
        return t.numpy(), self.marginal.sigma_eff(t).log().numpy()

    def time_of(self, sigma: float | Tensor) -> Tensor:
        """Return the t at which sigma_eff(t) = sigma; clipped to [t_min, t_max].

        Bracketed by a table, then the Illinois method in (ln t, ln sigma_eff), which is nearly a
        straight line there.
        """
        times, levels = self._level_table
        goal = as_time(sigma).flatten().log()
        index = np.clip(np.searchsorted(levels, goal.numpy()), 1, len(times) - 1)
        low, high = (torch.from_numpy(times[i]).log() for i in (index - 1, index))
        below, above = (torch.from_numpy(levels[i]) - goal for i in (index - 1, index))
        inside = (below < 0) & (above > 0)
        t = torch.where(below < 0, high, low)
        for _ in range(60):
            guess = low - below * (high - low) / (above - below)
            t = torch.where(inside, guess, t)
            value = self.marginal.sigma_eff(t.exp()).log() - goal
            # Levels are sums of a few terms: a change below their rounding is noise.
            if bool((~inside | (value.abs() < 1e-14 * (1 + goal.abs()))).all()):
                break
            left = value < 0
            # Illinois: the end that stays is halved, so that both ends close in.
            low, high = torch.where(left, t, low), torch.where(left, high, t)
            below = torch.where(left, value, 0.5 * below)
            above = torch.where(left, 0.5 * above, value)
        t = t.exp()
        t[goal <= levels[0]] = float(times[0])
        t[goal >= levels[-1]] = float(times[-1])
        return t.reshape(as_time(sigma).shape)

    def sigma_range(self) -> tuple[float, float]:
        """Return the noise levels at t_min and t_max."""
        _, levels = self._level_table
        return float(np.exp(levels[0])), float(np.exp(levels[-1]))

    # -- Langevin processes only -------------------------------------------------------------------

    def stationary_covariance(self) -> Tensor:
        """Return Sigma_inf (k, k), the covariance that the process tends to."""
        return self.covariance(self.t_max)

    def reverse_splitting(self, s: float, t: float) -> tuple[Tensor, Tensor]:
        """Return (Psi, N) of the exactly solvable half of SSCS; only for Langevin processes."""
        raise UsageError(
            f"samplers 'sscs' and 'sscs2' split a Langevin process and {self.kind!r} is none; "
            "use 'multistep_sde', 'multistep', 'ddim' or 'ode'"
        )


class ScalarProcess(Process):
    """A process with k = 1: m_t = alpha(t), Sigma_t = sigma(t)^2, both as (...) tensors."""

    k = 1

    @abstractmethod
    def alpha(self, t: Tensor) -> Tensor:
        """Return the mean coefficient, shape (...)."""

    @abstractmethod
    def variance(self, t: Tensor) -> Tensor:
        """Return the kernel's variance, shape (...)."""

    @abstractmethod
    def rate(self, t: Tensor) -> Tensor:
        """Return d ln alpha / dt, shape (...)."""

    @abstractmethod
    def noise_rate(self, t: Tensor) -> Tensor:
        """Return g(t)^2, shape (...)."""

    def mean(self, t: float | Tensor) -> Tensor:
        return self.alpha(as_time(t))[..., None]

    def covariance(self, t: float | Tensor) -> Tensor:
        return self.variance(as_time(t))[..., None, None]

    def cholesky(self, t: float | Tensor) -> Tensor:
        return self.covariance(t).sqrt()

    def drift(self, t: float | Tensor) -> Tensor:
        return self.rate(as_time(t))[..., None, None]

    def diffusion(self, t: float | Tensor) -> Tensor:
        return self.noise_rate(as_time(t))[..., None, None]
