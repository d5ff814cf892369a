r"""Critically-damped Langevin diffusion (arXiv 2112.07068): position x and velocity v,

    dx = beta M^-1 v dt,     dv = -beta x dt - beta Gamma M^-1 v dt + sqrt(2 beta Gamma) dw,

with Gamma = 2 sqrt(M) (critical damping). With w = M^-1/2, tau = beta t and y = 2 w tau,

    Psi = exp(-w tau) [[1 + w tau, w^2 tau], [-tau, 1 - w tau]]
    N_xx = P(3, y),  N_xv = y^2 exp(-y) / (2 w),  N_vv = M (P(3, y) + 2 y exp(-y)),

P the regularised lower incomplete gamma function: sums of positive terms, where the published
closed form loses all its digits near t = 0 and is patched with an additive constant.

Hybrid score matching (objective "hsm") has the initial velocity v_0 ~ N(0, gamma M) integrated out:
Sigma = N + gamma M psi psi^T with psi the velocity column of Psi. Denoising score matching ("dsm")
draws v_0, so that its kernel is N; its `marginal` is the hsm process.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sgm_core.process.base import Process, as_time


def _matrix(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """Stack four (...) tensors into (..., 2, 2)."""
    return torch.stack([torch.stack([a, b], -1), torch.stack([c, d], -1)], -2)


class CLD(Process):
    """The critically-damped Langevin process; channel order (position, velocity)."""

    kind = "cld"
    k = 2

    def __init__(
        self, m_inv: float = 4.0, beta: float = 4.0, gamma: float = 0.04, objective: str = "hsm"
    ) -> None:
        self.m_inv, self.beta, self.gamma, self.objective = m_inv, beta, gamma, objective
        self.mass = 1.0 / m_inv
        self.omega = m_inv**0.5

    @property
    def marginal(self) -> Process:
        return self if self.objective == "hsm" else CLD(self.m_inv, self.beta, self.gamma)

    def _initial_variance(self) -> float:
        """The part of the velocity's initial variance that the kernel integrates out."""
        return self.gamma * self.mass if self.objective == "hsm" else 0.0

    def mean(self, t: float | Tensor) -> Tensor:
        tau = self.beta * as_time(t)
        return torch.exp(-self.omega * tau)[..., None] * torch.stack(
            [1.0 + self.omega * tau, -tau], -1
        )

    def velocity_column(self, t: float | Tensor) -> Tensor:
        """Return psi = Psi(t, 0) e_v, the response to the initial velocity, (..., 2)."""
        tau = self.beta * as_time(t)
        return torch.exp(-self.omega * tau)[..., None] * torch.stack(
            [self.m_inv * tau, 1.0 - self.omega * tau], -1
        )

    def transition(self, s: float | Tensor, t: float | Tensor) -> Tensor:
        tau = self.beta * (as_time(t) - as_time(s))
        decay, wt = torch.exp(-self.omega * tau), self.omega * tau
        return decay[..., None, None] * _matrix(1.0 + wt, self.m_inv * tau, -tau, 1.0 - wt)

    def _noise(self, tau: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return N_xx, N_xv, N_vv after a time tau (in units of 1 / beta), (...)."""
        y = 2.0 * self.omega * tau
        gamma3 = torch.special.gammainc(torch.full_like(y, 3.0), y)
        decay = torch.exp(-y)
        return gamma3, y.square() * decay / (2 * self.omega), self.mass * (gamma3 + 2 * y * decay)

    def covariance(self, t: float | Tensor) -> Tensor:
        n_xx, n_xv, n_vv = self._noise(self.beta * as_time(t))
        p_x, p_v = self.velocity_column(t).unbind(-1)
        v0 = self._initial_variance()
        s_xv = n_xv + v0 * p_x * p_v
        return _matrix(n_xx + v0 * p_x.square(), s_xv, s_xv, n_vv + v0 * p_v.square())

    def _determinant(self, t: float | Tensor) -> Tensor:
        """Return det Sigma without cancellation: det N + v0 psi^T adj(N) psi."""
        n_xx, n_xv, n_vv = self._noise(self.beta * as_time(t))
        p_x, p_v = self.velocity_column(t).unbind(-1)
        adjugate = p_x.square() * n_vv - 2 * p_x * p_v * n_xv + p_v.square() * n_xx
        return n_xx * n_vv - n_xv.square() + self._initial_variance() * adjugate

    def cholesky(self, t: float | Tensor) -> Tensor:
        sigma = self.covariance(t)
        l_xx = sigma[..., 0, 0].sqrt()
        l_vv = (self._determinant(t) / sigma[..., 0, 0]).sqrt()
        return _matrix(l_xx, torch.zeros_like(l_xx), sigma[..., 0, 1] / l_xx, l_vv)

    def noise_factor(self, t: float | Tensor) -> Tensor:
        if self.objective == "hsm":
            return self.cholesky(t)
        drawn = (self.gamma * self.mass) ** 0.5 * self.velocity_column(t)
        return torch.cat([self.cholesky(t), drawn[..., None]], -1)

    def snr(self, t: float | Tensor) -> Tensor:
        # m^T adj(Sigma) m = m^T adj(N) m + v0 det(Psi)^2, all terms positive (m_v < 0 < N_xv).
        tau = self.beta * as_time(t)
        n_xx, n_xv, n_vv = self._noise(tau)
        m_x, m_v = self.mean(t).unbind(-1)
        adjugate = m_x.square() * n_vv - 2 * m_x * m_v * n_xv + m_v.square() * n_xx
        from_velocity = self._initial_variance() * torch.exp(-4.0 * self.omega * tau)
        return (adjugate + from_velocity) / self._determinant(t)

    def drift(self, t: float | Tensor) -> Tensor:
        one = torch.ones_like(as_time(t))
        w = self.omega
        return self.beta * _matrix(0 * one, self.m_inv * one, -one, -2.0 * w * one)

    def diffusion(self, t: float | Tensor) -> Tensor:
        one = torch.ones_like(as_time(t))
        noise = 2.0 * self.beta * 2.0 * self.mass**0.5 * one
        return _matrix(0 * one, 0 * one, 0 * one, noise)

    def stationary_covariance(self) -> Tensor:
        return torch.diag(torch.tensor([1.0, self.mass], dtype=torch.float64))

    def reverse_splitting(self, s: float, t: float) -> tuple[Tensor, Tensor]:
        """Return (Psi, N) that carry u from time s down to t < s with the score -Sigma_inf^-1 u.

        The reverse SDE splits into this Ornstein-Uhlenbeck part, solved exactly, and the flow of
        G G^T (score + Sigma_inf^-1 u) (SSCS, arXiv 2112.07068). Reversal flips the sign of the
        position-velocity coupling only.
        """
        tau = self.beta * (as_time(s) - as_time(t))
        forward = self.transition(0.0, (as_time(s) - as_time(t)))
        flip = torch.tensor([[1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64)
        n_xx, n_xv, n_vv = self._noise(tau)
        return forward * flip, _matrix(n_xx, -n_xv, -n_xv, n_vv)
