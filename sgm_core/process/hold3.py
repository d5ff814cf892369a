r"""Third-order Langevin diffusion, critically damped (arXiv 2404.12814): position x, velocity p and
acceleration-like q; only q is noised, so that the path of x is twice smoother than in CLD.

In coordinates with unit stationary covariance, tau = beta t,

    A = [[0, c1, 0], [-c1, 0, c2], [0, -c2, -3 omega]],   c1 = omega / sqrt 3,  c2 = omega sqrt(8/3),

noise rate 6 omega on q: one eigenvalue -omega, threefold, and N_xx = P(5, 2 omega tau).
Hybrid score matching ("hsm") integrates the initial p_0, q_0 ~ N(0, aux_variance) out.
"""

from __future__ import annotations

import torch

from sgm_core.process.critical import CriticallyDamped


class HOLD3(CriticallyDamped):
    """The third-order process; channel order (position, velocity, acceleration)."""

    kind = "hold3"

    def __init__(
        self,
        omega: float = 2.0,
        beta: float = 4.0,
        aux_variance: float = 0.04,
        objective: str = "hsm",
    ) -> None:
        c1, c2 = omega / 3**0.5, omega * (8 / 3) ** 0.5
        drift = torch.tensor(
            [[0.0, c1, 0.0], [-c1, 0.0, c2], [0.0, -c2, -3 * omega]], dtype=torch.float64
        )
        start = torch.tensor([0.0, aux_variance, aux_variance], dtype=torch.float64)
        super().__init__(drift, beta, start, torch.ones(3, dtype=torch.float64), objective)
