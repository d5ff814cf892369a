r"""Network + process + preconditioning = Denoiser(u, t) -> E[x_0 | u_t].

E[x_0 | u_t] depends on u through the sufficient statistic y = m^T Sigma^-1 u / SNR
= x_0 + sigma_eff eps alone, whatever the process. So a network that was trained under one process
denoises the states of any other (`process=`): they are mapped to states of the one it knows, at the
time of the same noise level (sgm_core.twin).
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from sgm_core.preconditioning import (
    Coefficients,
    Preconditioning,
    mix,
    outer_state,
    per_item,
    whitening,
)
from sgm_core.process.base import Process
from sgm_core.twin import Twin, same_kernel

__all__ = [
    "Coefficients",
    "Denoiser",
    "DenoiserLike",
    "Guided",
    "Preconditioning",
    "mix",
    "outer_state",
    "per_item",
    "score",
    "whitening",
]

# A denoiser is any callable (u, t, labels=...) -> x_0 estimate with attribute `process`:
# u (B, k, *shape), t a number or (B,), x_0 (B, *shape).
DenoiserLike = Callable[..., Tensor]


class Denoiser:
    """E[x_0 | u_t] by a network; the one contract between networks and samplers.

    Args:
        net: F(inputs, sigma, labels).
        preconditioning: its frame, which also names the process it was trained under.
        process: the process whose states it is called with; None: the one it was trained under.

    Attributes:
        process: the process that a sampler walks.
        nfe: network evaluations so far.
    """

    def __init__(
        self, net: nn.Module, preconditioning: Preconditioning, process: Process | None = None
    ) -> None:
        trained = preconditioning.process.marginal
        self.net = net
        self.preconditioning = preconditioning
        self.process = trained if process is None else process.marginal
        self.twin: Twin | None = None
        if process is not None and not same_kernel(self.process, trained):
            self.twin = Twin(preconditioning, self.process)
        self.nfe = 0

    def __call__(self, u: Tensor, t: float | Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the estimate of x_0, (B, *shape), in u's dtype.

        Args:
            u: states (B, k, *shape), any float dtype; the network itself runs in its own.
            t: one time, or (B,).
            labels: (B,) int64 with -1 for none.
        """
        c = (self.twin or self.preconditioning).coefficients(t)
        inputs = mix(c.c_in.to(u), u)
        skip = mix(c.c_skip.to(u)[:, None], u)[:, 0]
        if self.twin is not None:
            rest_in, rest_skip = self.twin.rest(t, u)
            inputs, skip = inputs + rest_in, skip + rest_skip
        dtype = next(self.net.parameters()).dtype
        sigma = c.sigma.to(device=u.device, dtype=dtype).expand(u.shape[0])
        output = self.net(inputs.to(dtype), sigma, labels).to(u.dtype)
        self.nfe += 1
        return skip + per_item(c.c_out.to(u), output) * output


class Guided:
    """Classifier-free guidance (arXiv 2207.12598): D = D_none + w (D_label - D_none)."""

    def __init__(self, denoiser: Denoiser, scale: float) -> None:
        self.denoiser, self.scale, self.process = denoiser, scale, denoiser.process

    @property
    def nfe(self) -> int:
        """Network evaluations so far (two a step)."""
        return self.denoiser.nfe

    def __call__(self, u: Tensor, t: float | Tensor, labels: Tensor | None = None) -> Tensor:
        with_label = self.denoiser(u, t, labels=labels)
        without = self.denoiser(u, t, labels=None)
        return without + self.scale * (with_label - without)


def score(denoiser: DenoiserLike, u: Tensor, t: float | Tensor, **cond: Tensor | None) -> Tensor:
    """Return grad_u log p_t(u) = Sigma^-1 (m D - u), shape (B, k, *shape).

    Args:
        u: states (B, k, *shape).
        t: one time, or (B,).
        cond: passed on to the denoiser.
    """
    process: Process = denoiser.process  # type: ignore[attr-defined]
    x0 = denoiser(u, t, **cond)
    precision, mean = process.precision(t).to(u), process.mean(t).to(u)
    single = precision.ndim == 2
    residual = per_item(mean[None] if single else mean, u) * x0[:, None] - u
    return mix(precision[None] if single else precision, residual)
