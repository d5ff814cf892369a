r"""Divergences of a denoiser by automatic differentiation: sum_ci w_c dD_i / du_ci.

With w = m and u = m y it is tr dD/dy. Exact: one vector-Jacobian product for each of the d numbers
of an item. Hutchinson's estimate: E[v^T J v] = tr J for random signs v, one product a probe, of
variance 2 sum_{i != j} J_ij^2 (arXiv 1810.01367); J is symmetric and nearly diagonal for images at
low noise. The signs of an item come from its own stream and stay fixed, so that what is integrated
is one smooth function.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sgm_core.denoise import DenoiserLike
from sgm_core.errors import UsageError, unknown
from sgm_core.sample.noise import NoiseStream

KINDS = ("auto", "exact", "hutchinson")
# Up to this many numbers per item, "auto" is exact.
EXACT_LIMIT = 16


class Trace:
    """Calls a denoiser and returns its divergence too.

    Args:
        denoiser: (u, t, **cond) -> x0.
        d: numbers per item.
        kind: "auto", "exact" or "hutchinson".
        probes: sign vectors per item.
        stream: one stream per item; draws number `first`, ... make the signs.
        cond: passed on; tensors of `n` rows are taken to belong to the items.

    Raises:
        UsageError: there is no such kind, or probes is not a whole number from 1.
    """

    def __init__(
        self,
        denoiser: DenoiserLike,
        d: int,
        kind: str,
        probes: int,
        stream: NoiseStream,
        first: int,
        cond: dict[str, Any],
        n: int,
    ) -> None:
        if kind not in KINDS:
            raise unknown("divergence", kind, KINDS)
        if isinstance(probes, bool) or not isinstance(probes, int) or probes < 1:
            raise UsageError(f"probes: {probes!r} is not valid: write a whole number from 1")
        exact = kind == "exact" or (kind == "auto" and d <= EXACT_LIMIT)
        self.kind = "exact" if exact else "hutchinson"
        self.probes = 0 if exact else probes
        self.denoiser, self.cond, self.n = denoiser, cond, n
        # (vectors, items or 1, d)
        self.vectors = (
            torch.eye(d, dtype=torch.float64)[:, None]
            if exact
            else torch.stack([_signs(stream, first + j, d) for j in range(probes)])
        )

    def __call__(
        self, u: Tensor, t: Tensor, weights: Tensor, index: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return x0 (b, *shape) and sum_ci w_c dD_i / du_ci (b,).

        Args:
            u: states (b, k, *shape) of the items `index`.
            t: times (b,).
            weights: w, (b, k).
        """
        cond = {name: self._rows(value, index) for name, value in self.cond.items()}
        # A caller may have switched gradients off.
        with torch.inference_mode(False), torch.enable_grad():
            u = u.detach().clone().requires_grad_()
            x0 = self.denoiser(u, t, **cond)
            flat = x0.flatten(1)
            total = torch.zeros(len(u), dtype=u.dtype, device=u.device)
            for j, vector in enumerate(self.vectors):
                v = (vector if len(vector) == 1 else vector[index]).to(flat).expand_as(flat)
                more = j + 1 < len(self.vectors)
                (gradient,) = torch.autograd.grad(flat, u, v, retain_graph=more)
                along = (gradient.flatten(2) * weights.to(u)[:, :, None]).sum(1)
                total += (v * along).sum(1)
        return x0.detach(), total.detach() / (self.probes or 1)

    def _rows(self, value: Any, index: Tensor) -> Any:
        if isinstance(value, Tensor) and value.ndim and len(value) == self.n:
            return value[index.to(value.device)]
        return value


def _signs(stream: NoiseStream, draw: int, d: int) -> Tensor:
    """Return random signs (n, d), float64."""
    return torch.where(stream.draw(draw, (d,)) < 0, -1.0, 1.0).double()
