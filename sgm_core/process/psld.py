r"""Phase-space Langevin diffusion (arXiv 2303.01748): noise on position and velocity,

    du = beta/2 [[-Gamma, M^-1], [-1, -nu]] u dt + G dw,   G G^T = beta diag(Gamma, M nu),

critically damped for M^-1 = (Gamma - nu)^2 / 4: lambda = (Gamma + nu) / 2 in tau = beta t / 2. CLD is
Gamma = 0. Hybrid score matching ("hsm") integrates the initial velocity v_0 ~ N(0, kappa M) out.
"""

from __future__ import annotations

import torch

from sgm_core.process.critical import CriticallyDamped


class PSLD(CriticallyDamped):
    """The phase-space Langevin process; channel order (position, velocity)."""

    kind = "psld"

    def __init__(
        self,
        gamma: float = 0.01,
        nu: float = 4.01,
        beta: float = 8.0,
        kappa: float = 0.04,
        objective: str = "hsm",
    ) -> None:
        w = abs(nu - gamma) / 2
        drift = torch.tensor([[-gamma, w], [-w, -nu]], dtype=torch.float64)
        start = torch.tensor([0.0, kappa], dtype=torch.float64)
        scale = torch.tensor([1.0, 1 / w], dtype=torch.float64)
        super().__init__(drift, beta / 2, start, scale, objective)
