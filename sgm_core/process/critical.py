r"""Critically damped linear diffusions of any order, in closed form without cancellation.

In coordinates with unit stationary covariance, and time tau = beta t,

    du = A u dtau + Q^1/2 dw,     A = J - R,  J skew,  Q = 2 R,

is critically damped when A has one eigenvalue -lambda, k-fold. Then B = A + lambda I is nilpotent and,
with y = 2 lambda tau and P the regularised lower incomplete gamma function,

    Psi(tau) = exp(-lambda tau) sum_{j<k} (tau B)^j / j!
    N(tau)   = int_0^tau Psi Q Psi^T = sum_{n <= 2k-2} P(n + 1, y) C_n,
    C_n      = (2 lambda)^-(n+1) sum_{i+j=n} binom(n, i) B^i Q (B^T)^j.

P(n + 1, y) ~ y^(n+1) is exact near 0, where I - Psi Psi^T has lost all its digits; towards
stationarity, where the sum cancels, N = I - Psi Psi^T is exact instead. The kernel is
Sigma = N + Psi Sigma_0 Psi^T, with Sigma_0 = diag(0, auxiliary variances) for hybrid score matching.

The position alone is noised at order tau^(2k-1), the auxiliary channels pass theirs on at order tau^2:
SNR and the Cholesky factor near t = 0 are therefore computed in the coordinates of t = 0,

    Sigma = Psi W Psi^T,  W = Sigma_0 + K,  K = Psi^-1 N Psi^-T,  SNR = (W^-1)_xx,

where nothing cancels. (Sources: arXiv 2112.07068 for k = 2, 2303.01748, 2404.12814 for k = 3; the form
in incomplete gammas is this project's.)
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from sgm_core.process.base import Process, as_time

# Below this y the kernel's inverse is taken in the coordinates of t = 0, above it directly.
SMALL_Y = 2.0

Kernel = Callable[[Tensor], Tensor]


class CriticallyDamped(Process):
    """A critically damped process of order k = len(start).

    Args:
        drift: A (k, k) in unit stationary coordinates.
        beta: rate of time, tau = beta t.
        start: variances of the auxiliary channels at t = 0 in unit coordinates, (k,), start[0] = 0.
        scale: standard deviations of the stationary law, (k,), scale[0] = 1.
        objective: "hsm": the kernel integrates the auxiliary initial values out; "dsm": they are
            drawn, the kernel has Sigma_0 = 0, and its `marginal` is the hsm kernel.
    """

    def __init__(
        self, drift: Tensor, beta: float, start: Tensor, scale: Tensor, objective: str
    ) -> None:
        self.k = len(start)
        self.beta, self.objective = beta, objective
        self._drift, self._noise_rate = drift, -(drift + drift.mT)
        self._start = start if objective == "hsm" else torch.zeros_like(start)
        self._drawn, self._scale = start, scale
        self.decay = -float(drift.diagonal().sum()) / self.k  # lambda
        nilpotent = drift + self.decay * torch.eye(self.k, dtype=torch.float64)
        powers = _powers(nilpotent)
        # tau^j comes with B^j / j!, P(n, y) with C_n.
        self._orders = torch.arange(2 * self.k, dtype=torch.float64)
        self._taylor = powers / torch.exp(torch.lgamma(self._orders[: self.k, None, None] + 1))
        self._gramian = self._coefficients(powers)
        self._reverse_gramian = self._coefficients(powers.mT)

    @property
    def marginal(self) -> Process:
        if self.objective == "hsm":
            return self
        arguments = (self._drift, self.beta, self._drawn, self._scale, "hsm")
        process = CriticallyDamped(*arguments)
        process.kind = self.kind
        return process

    def _coefficients(self, powers: Tensor) -> Tensor:
        """Return C_n, (2k - 1, k, k)."""
        total = torch.zeros(2 * self.k - 1, self.k, self.k, dtype=torch.float64)
        for i in range(self.k):
            for j in range(self.k):
                weight = math.comb(i + j, i) * (2 * self.decay) ** -(i + j + 1)
                total[i + j] += weight * powers[i] @ self._noise_rate @ powers[j].mT
        return total

    # -- in unit coordinates, as functions of tau (...) ------------------------------------------

    def _flow(self, tau: Tensor) -> Tensor:
        """Return Psi(tau), (..., k, k); Psi(-tau) is its inverse."""
        series = self._sum(tau[..., None] ** self._orders[: self.k], self._taylor)
        return torch.exp(-self.decay * tau)[..., None, None] * series

    def _noise(self, tau: Tensor, reverse: bool = False) -> Tensor:
        """Return N(tau), (..., k, k); `reverse`: of the process with A^T."""
        flow = self._flow(tau).mT if reverse else self._flow(tau)
        spent = flow @ flow.mT
        gammas = torch.special.gammainc(self._orders[1:], (2 * self.decay * tau)[..., None])
        early = self._sum(gammas, self._reverse_gramian if reverse else self._gramian)
        late = torch.eye(self.k, dtype=torch.float64) - spent
        return torch.where(_settled(spent), late, early)

    def _sum(self, weights: Tensor, matrices: Tensor) -> Tensor:
        """Return sum_n weights_n matrices_n, (..., k, k)."""
        return (weights @ matrices.flatten(1)).unflatten(-1, (self.k, self.k))

    def _at_origin(self, tau: Tensor) -> Tensor:
        """Return W = Psi^-1 Sigma Psi^-T = Sigma_0 + K, (..., k, k); for small tau."""
        back = self._flow(-tau)
        return torch.diag(self._start) + back @ self._noise(tau) @ back.mT

    # -- the contract ----------------------------------------------------------------------------

    def _tau(self, t: float | Tensor) -> Tensor:
        return self.beta * as_time(t)

    def _scaled(self, matrix: Tensor) -> Tensor:
        """Carry a covariance (..., k, k) from unit coordinates to the process's own."""
        return self._scale[:, None] * matrix * self._scale

    def mean(self, t: float | Tensor) -> Tensor:
        return self._scale * self._flow(self._tau(t))[..., :, 0]

    def covariance(self, t: float | Tensor) -> Tensor:
        tau = self._tau(t)
        flow = self._flow(tau)
        early = self._noise(tau) + flow @ torch.diag(self._start) @ flow.mT
        left = torch.diag(1.0 - self._start)
        late = torch.eye(self.k, dtype=torch.float64) - flow @ left @ flow.mT
        return self._scaled(torch.where(_settled(flow @ flow.mT), late, early))

    def transition(self, s: float | Tensor, t: float | Tensor) -> Tensor:
        flow = self._flow(self._tau(t) - self._tau(s))
        return self._scale[:, None] * flow / self._scale

    def drift(self, t: float | Tensor) -> Tensor:
        matrix = self.beta * self._scale[:, None] * self._drift / self._scale
        return matrix.expand(*as_time(t).shape, self.k, self.k)

    def diffusion(self, t: float | Tensor) -> Tensor:
        matrix = self.beta * self._scaled(self._noise_rate)
        return matrix.expand(*as_time(t).shape, self.k, self.k)

    def cholesky(self, t: float | Tensor) -> Tensor:
        def early(tau: Tensor) -> Tensor:
            # Psi (factor of W) is a factor of Sigma; QR turns it into the triangular one.
            factor = self._scale[:, None] * self._flow(tau) @ _backward_factor(self._at_origin(tau))
            upper = torch.linalg.qr(factor.mT).R
            signs = torch.where(upper.diagonal(dim1=-2, dim2=-1) < 0, -1.0, 1.0)
            return upper.mT * signs[..., None, :]

        def late(tau: Tensor) -> Tensor:
            return torch.linalg.cholesky(self.covariance(tau / self.beta))

        return self._by_time(t, early, late)

    def noise_factor(self, t: float | Tensor) -> Tensor:
        if self.objective == "hsm":
            return self.cholesky(t)
        drawn = self._scale[:, None] * self._flow(self._tau(t)) * self._drawn.sqrt()
        return torch.cat([self.cholesky(t), drawn[..., 1:]], -1)

    def precision_mean(self, t: float | Tensor) -> Tensor:
        return self._precision_mean_snr(t)[0]

    def precision_mean_snr(self, t: float | Tensor) -> tuple[Tensor, Tensor]:
        own, ours = type(self), CriticallyDamped
        if own.snr is not ours.snr or own.precision_mean is not ours.precision_mean:
            return super().precision_mean_snr(t)
        return self._precision_mean_snr(t)

    def _precision_mean_snr(self, t: float | Tensor) -> tuple[Tensor, Tensor]:
        def early(tau: Tensor) -> Tensor:
            # Sigma^-1 m = Psi^-T W^-1 e_x.
            factor = _backward_factor(self._at_origin(tau))
            first = torch.linalg.solve_triangular(factor, _first(factor), upper=True)
            inner = torch.linalg.solve_triangular(factor.mT, first, upper=False)
            row = (self._flow(-tau).mT @ inner)[..., 0] / self._scale
            return torch.cat([row, _corner(factor)[..., None]], -1)

        def late(tau: Tensor) -> Tensor:
            mean = self.mean(tau / self.beta)[..., None]
            factor = self.cholesky(tau / self.beta)
            white = torch.linalg.solve_triangular(factor, mean, upper=False)
            row = torch.cholesky_solve(mean, factor)
            return torch.cat([row, white.square().sum(-2, keepdim=True)], -2)[..., 0]

        found = self._by_time(t, early, late)
        return found[..., :-1], found[..., -1]

    def snr(self, t: float | Tensor) -> Tensor:
        def early(tau: Tensor) -> Tensor:
            return _corner(_backward_factor(self._at_origin(tau)))

        return self._by_time(t, early, lambda tau: Process.snr(self, tau / self.beta))

    def _by_time(self, t: float | Tensor, early: Kernel, late: Kernel) -> Tensor:
        """Evaluate `early` where y is small and `late` elsewhere; both map tau (n,) to (n, ...)."""
        tau = self._tau(t)
        flat = tau.flatten()
        small = 2 * self.decay * flat < SMALL_Y
        parts = [(early, small), (late, ~small)]
        found = [(function(flat[mask]), mask) for function, mask in parts if bool(mask.any())]
        if not found:  # no times at all
            found = [(early(flat), small)]
        result = torch.empty(len(flat), *found[0][0].shape[1:], dtype=torch.float64)
        for values, mask in found:
            result[mask] = values
        return result.reshape((*tau.shape, *result.shape[1:]))

    def stationary_covariance(self) -> Tensor:
        return torch.diag(self._scale.square())

    def reverse_splitting(self, s: float, t: float) -> tuple[Tensor, Tensor]:
        """Return (Psi, N) that carry u from time s down to t < s with the score -Sigma_inf^-1 u.

        The reverse SDE splits into this Ornstein-Uhlenbeck part, solved exactly, and the flow of
        G G^T (score + Sigma_inf^-1 u) (SSCS, arXiv 2112.07068). Reversal flips the sign of J, which
        turns A into A^T.
        """
        tau = self._tau(s) - self._tau(t)
        flow = self._scale[:, None] * self._flow(tau).mT / self._scale
        return flow, self._scaled(self._noise(tau, reverse=True))


def _powers(matrix: Tensor) -> Tensor:
    """Return matrix^j for j < k, (k, k, k)."""
    powers = [torch.eye(len(matrix), dtype=torch.float64)]
    for _ in range(len(matrix) - 1):
        powers.append(matrix @ powers[-1])
    return torch.stack(powers)


def _settled(spent: Tensor) -> Tensor:
    """Whether so little of the start is left that I - Psi Psi^T does not cancel, (..., 1, 1)."""
    return (spent.diagonal(dim1=-2, dim2=-1).amax(-1) < 0.5)[..., None, None]


def _backward_factor(matrix: Tensor) -> Tensor:
    """Return upper triangular U with U U^T = matrix: the position is eliminated last.

    The rows are scaled to unit variance first.
    """
    size = matrix.diagonal(dim1=-2, dim2=-1).sqrt()
    unit = matrix / (size[..., :, None] * size[..., None, :])
    return size[..., :, None] * torch.linalg.cholesky(unit.flip(-1, -2)).flip(-1, -2)


def _corner(factor: Tensor) -> Tensor:
    """Return SNR = (W^-1)_xx of the factor of W, (...)."""
    return factor[..., 0, 0].square().reciprocal()


def _first(matrix: Tensor) -> Tensor:
    """Return e_x as (..., k, 1)."""
    unit = torch.zeros(*matrix.shape[:-1], 1, dtype=torch.float64)
    unit[..., 0, 0] = 1.0
    return unit
