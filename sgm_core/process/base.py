r"""A forward process is its perturbation kernel.

The state u in R^{k x d} carries k channels per data coordinate, the data in channel 0
(k = 1: VP, sub-VP, VE; k = 2: position and velocity of Langevin dynamics):

    p(u_t | x_0) = N( m_t x_0^T , Sigma_t (x) I_d ),   m_t in R^k,  Sigma_t in R^{k x k}

Everything else follows. The posterior of x_0 depends on u_t only through one number per coordinate,

    y = m^T Sigma^-1 u / SNR = x_0 + sigma_eff eps,   SNR = m^T Sigma^-1 m,  sigma_eff = SNR^-1/2,

so E[x_0 | u_t] = D(y; sigma_eff) and score(u, t) = Sigma^-1 (m D - u) for every process.

All kernels are float64 and exact to about 1e-12 relative down to t = 1e-7: no additive eps, and
differences of nearly equal numbers are written as sums of positive terms.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from sgm_core.errors import UsageError

# Times below this are outside of what the kernels are tested for.
T_MIN = 1e-7


def as_time(t: float | Tensor | np.ndarray) -> Tensor:
    """Return t as a float64 tensor on the CPU, where all kernel coefficients are computed."""
    return torch.as_tensor(t, dtype=torch.float64, device="cpu")


class Process(ABC):
    """A linear diffusion on t in [0, 1]; subclasses give the kernel in closed form.

    Attributes:
        kind: the name in params.yaml.
        k: channels per data coordinate (position first).
    """

    kind: str
    k: int

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

    def prior(self, shape: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
        """Draw u_1 ~ N(0, Sigma_1), the state that sampling starts from.

        Args:
            shape: (n, *data shape); returns (n, k, *data shape), float64.
            generator: source of randomness.
        """
        n, *rest = shape
        noise = torch.randn((n, self.k, *rest), dtype=torch.float64, generator=generator)
        return torch.einsum("kl,nl...->nk...", self.cholesky(1.0), noise)

    # -- noise level <-> time ------------------------------------------------------------------

    @cached_property
    def _level_table(self) -> tuple[np.ndarray, np.ndarray]:
        """ln sigma_eff on a fine grid of ln t, for bracketing the root in `time_of`."""
        t = torch.logspace(np.log10(T_MIN), 0, 4096, dtype=torch.float64)
        t[-1] = 1.0
        return t.numpy(), self.marginal.sigma_eff(t).log().numpy()

    def time_of(self, sigma: float | Tensor) -> Tensor:
        """Return the t at which sigma_eff(t) = sigma, by bisection; clipped to [1e-7, 1]."""
        times, levels = self._level_table
        target = np.log(np.atleast_1d(as_time(sigma).numpy()))
        index = np.clip(np.searchsorted(levels, target), 1, len(times) - 1)
        low, high = torch.from_numpy(times[index - 1]), torch.from_numpy(times[index])
        goal = torch.from_numpy(target)
        for _ in range(48):  # a bracket of relative width 4e-3 shrinks below float64 resolution
            middle = (low + high) / 2
            above = self.marginal.sigma_eff(middle).log() > goal
            low, high = torch.where(above, low, middle), torch.where(above, middle, high)
        t = (low + high) / 2
        t[goal <= levels[0]] = times[0]
        t[goal >= levels[-1]] = 1.0
        return t.reshape(as_time(sigma).shape)

    def sigma_range(self) -> tuple[float, float]:
        """Return the noise levels at t = 1e-7 and t = 1."""
        _, levels = self._level_table
        return float(np.exp(levels[0])), float(np.exp(levels[-1]))

    # -- the probability-flow map with the denoiser held fixed ----------------------------------

    def flow_factors(self, times: Tensor) -> Tensor:
        """Return R_t at decreasing `times`, (len, k, k), with R_{times[0]} = chol Sigma.

        R solves R' = (F + 1/2 G G^T Sigma^-1) R (gDDIM, arXiv 2206.05564). Along the
        probability-flow ODE with x_0 held at D, u_t = m_t D + R_t R_s^-1 (u_s - m_s D), exactly.
        For k = 1, R = sqrt(Sigma). Otherwise it is integrated downwards in ln t from its largest
        time (a start at t = 0 would be singular).
        """
        process, k = self.marginal, self.k
        if k == 1:
            return process.covariance(times).sqrt()

        def slope(log_t: float, flat: np.ndarray) -> np.ndarray:
            t = float(np.exp(log_t))
            gain = torch.linalg.solve(process.covariance(t), process.diffusion(t), left=False)
            matrix = process.drift(t) + 0.5 * gain
            return np.asarray(t * (matrix.numpy() @ flat.reshape(k, k))).ravel()

        grid = times.log().numpy()
        start = process.cholesky(times[0]).numpy().ravel()
        solution = solve_ivp(
            slope, (grid[0], grid[-1]), start, "DOP853", t_eval=grid, rtol=1e-10, atol=1e-14
        )
        return torch.from_numpy(np.ascontiguousarray(solution.y.T)).reshape(-1, k, k)

    def stationary_covariance(self) -> Tensor:
        """Return Sigma_inf (k, k), the covariance that the process tends to."""
        return self.covariance(1.0)

    def reverse_splitting(self, s: float, t: float) -> tuple[Tensor, Tensor]:
        """Return (Psi, N) of the exactly solvable half of SSCS; only for Langevin processes."""
        raise UsageError(
            f"sampler 'sscs' splits a Langevin process and {self.kind!r} is none; "
            "use 'multistep', 'ddim', 'heun', 'euler_maruyama' or 'ode'"
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
