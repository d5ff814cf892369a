r"""Critically-damped Langevin diffusion (arXiv 2112.07068): position x and velocity v,

    dx = beta M^-1 v dt,     dv = -beta x dt - beta Gamma M^-1 v dt + sqrt(2 beta Gamma) dw,

with Gamma = 2 sqrt(M) (critical damping): lambda = w = M^-1/2 and, in unit coordinates,

    A = [[0, w], [-w, -2w]],   N_xx = P(3, y),  N_xv = y^2 exp(-y) / 2,  N_vv = P(3, y) + 2 y exp(-y).

The published closed form of these loses all digits near t = 0 and is patched with a constant.
Hybrid score matching ("hsm") integrates the initial velocity v_0 ~ N(0, gamma M) out.
"""

from __future__ import annotations

import torch

from sgm_core.process.critical import CriticallyDamped


class CLD(CriticallyDamped):
    """The critically-damped Langevin process; channel order (position, velocity)."""

    kind = "cld"

    def __init__(
        self, m_inv: float = 4.0, beta: float = 4.0, gamma: float = 0.04, objective: str = "hsm"
    ) -> None:
        w = m_inv**0.5
        drift = torch.tensor([[0.0, w], [-w, -2 * w]], dtype=torch.float64)
        start = torch.tensor([0.0, gamma], dtype=torch.float64)
        scale = torch.tensor([1.0, 1 / w], dtype=torch.float64)
        super().__init__(drift, beta, start, scale, objective)
