"""The largest noise level of the critically damped processes, without torch.

Of the closed forms in sgm_core.process.critical (Psi = exp(-lambda tau) times a polynomial in tau, in
unit stationary coordinates) the value at t_max only, where nothing cancels.
"""

from __future__ import annotations

import math


def second_order(decay: float, turn: float, start: float) -> float:
    """Return sigma_eff of a critically damped process of order 2 at its end.

    SNR = (W^-1)_xx with W = (Psi^T Psi)^-1 - diag(1, 1 - start) and
    Psi = exp(-decay) [[1 + turn, turn], [-turn, 1 - turn]] in unit stationary coordinates.

    Args:
        decay: lambda tau.
        turn: w tau.
        start: initial variance of the velocity.
    """
    grown, left = math.exp(2 * decay), 1.0 - start
    x, v = 1 - 2 * turn + 2 * turn**2, 1 + 2 * turn + 2 * turn**2
    determinant = grown**2 - grown * (left * x + v) + left
    return math.sqrt(max(0.0, determinant / (grown * v - left)))


def third_order(decay: float, start: float) -> float:
    """Return sigma_eff of HOLD3 at its end: SNR = m^T Sigma^-1 m with Sigma = 1 - Psi D Psi^T,
    D = diag(1, 1 - start, 1 - start) and Psi = exp(-decay) (1 + decay B + decay^2 B^2 / 2).

    B = A / omega + 1 is nilpotent. Sigma is singular at decay = 0 and soon well conditioned.
    """
    b, c = math.sqrt(1 / 3), math.sqrt(8 / 3)
    n, h, e = decay, 0.5 * decay**2, math.exp(-decay)
    # Columns of Psi.
    x = (e * (1 + n + h * 2 / 3), -e * b * (n + 2 * h), e * b * c * h)
    p = (e * b * (n + 2 * h), e * (1 + n - 2 * h), -e * c * (n - h))
    q = (e * b * c * h, e * c * (n - h), e * (1 - 2 * n + h * 4 / 3))
    left = 1.0 - start

    def sigma(i: int, j: int) -> float:
        return float(i == j) - x[i] * x[j] - left * (p[i] * p[j] + q[i] * q[j])

    def minor(i: int, j: int) -> float:
        r, s, t, u = (i + 1) % 3, (i + 2) % 3, (j + 1) % 3, (j + 2) % 3
        return sigma(r, t) * sigma(s, u) - sigma(r, u) * sigma(s, t)

    determinant = sum(sigma(0, j) * minor(0, j) for j in range(3))
    weighted = sum(x[i] * x[j] * minor(i, j) for i in range(3) for j in range(3))
    if decay < 0.5 or weighted == 0.0:
        # Early rounding decides (the level is far below 1), late nothing is left of the mean.
        return 0.0 if decay < 0.5 else math.inf
    return math.sqrt(max(0.0, determinant / weighted))
