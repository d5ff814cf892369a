r"""States of one process as states of another at the same noise level (the scalar twin).

Let u be a state of the process that is walked, with statistic y = x_0 + sigma eps, and let a network
be trained under another process, with m', Sigma' = L' L'^T at the time t' of the same level,
sigma'(t') = sigma. A state of that process with the same information about x_0 is

    u' = m' y + R zeta,    R = L' H,    zeta ~ N(0, I_{k'-1}),

H an orthonormal basis of the complement of w = L'^-1 m': given x_0, m' y has the covariance
m' m'^T sigma^2 and R zeta the rest of Sigma', independent of it. Any zeta will do for an exact
denoiser; here it is one fixed draw per item shape, the same for every sample, so that a sample does
not depend on its batch mates. An `edm` network sees y and sigma only, and needs no u'.

An `edm` network is asked about any level as it is. `native` and `mixed` ones know the levels of the
trained process only: above them y shrinks by sigma' / sigma to the last one (there x_0 is small
against the noise); below, y is taken for a state of the first.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sgm_core.preconditioning import (
    Coefficients,
    Preconditioning,
    complement,
    mix,
    statistic_row_sigma,
)
from sgm_core.process.base import Process, as_time

# Of the components of u' that carry no information; any number will do.
SEED = 20_190


class Twin:
    """The frame of a network trained under one process, for states of another.

    Args:
        trained: the network's frame.
        process: the process whose states come in; its marginal is meant.
    """

    def __init__(self, trained: Preconditioning, process: Process) -> None:
        self.trained = trained
        self.walked = Preconditioning(process, trained.sigma_data, "edm")
        self.scalar = trained.parametrisation == "edm"
        self._draws: dict[tuple[int, ...], Tensor] = {}
        self._last: tuple[Tensor, Coefficients, Tensor, Tensor] | None = None

    def coefficients(self, t: float | Tensor) -> Coefficients:
        """Return the frame for states of the walked process at its times t (n,).

        The part of it that does not depend on u is `rest`.
        """
        return self.walked.coefficients(t) if self.scalar else self._tables(t)[0]

    def rest(self, t: float | Tensor, u: Tensor) -> tuple[Tensor | float, Tensor | float]:
        """Return what R zeta adds to the network's inputs (n, in, *shape) and to D (n, *shape)."""
        if self.scalar or self.trained.process.k == 1:
            return 0.0, 0.0
        _, rest_in, rest_skip = self._tables(t)
        zeta = self._zeta(tuple(u.shape[2:])).to(u)[None].expand(len(rest_in), *[-1] * (u.ndim - 1))
        return mix(rest_in.to(u), zeta), mix(rest_skip.to(u)[:, None], zeta)[:, 0]

    def _zeta(self, shape: tuple[int, ...]) -> Tensor:
        if shape not in self._draws:
            generator = torch.Generator().manual_seed(SEED)
            channels = self.trained.process.k - 1
            self._draws[shape] = torch.randn(
                (channels, *shape), generator=generator, dtype=torch.float64
            )
        return self._draws[shape]

    def _tables(self, t: float | Tensor) -> tuple[Coefficients, Tensor, Tensor]:
        """Return the frame, c_in R (n, in, k' - 1) and c_skip . R (n, k' - 1); the last t's are kept."""
        t = as_time(t).reshape(-1)
        if self._last is None or not torch.equal(self._last[0], t):
            self._last = (t.clone(), *self._computed(t))
        return self._last[1:]

    def _computed(self, t: Tensor) -> tuple[Coefficients, Tensor, Tensor]:
        trained, marginal = self.trained, self.trained.process.marginal
        row, sigma = statistic_row_sigma(self.walked.process.marginal, t)
        time = marginal.time_of(sigma)
        inner = trained.coefficients(time)
        shrink = (inner.sigma / sigma).clamp(max=1.0)
        # Within the range, time_of's last bits must not scale y.
        shrink = torch.where(time < marginal.t_max, torch.ones_like(shrink), shrink)
        row = shrink[:, None] * row
        mean = marginal.mean(time)
        carry_in = (inner.c_in @ mean[..., None]) * row[:, None]
        carry_skip = (inner.c_skip * mean).sum(-1, keepdim=True) * row
        across = complement(marginal, time)
        frame = Coefficients(carry_in, carry_skip, inner.c_out, inner.sigma)
        return frame, inner.c_in @ across, (inner.c_skip[:, None] @ across)[:, 0]


def same_kernel(a: Process, b: Process) -> bool:
    """Whether two processes are one, compared by their kernels (which is what a process is)."""
    if a is b:
        return True
    if a.k != b.k or (a.t_min, a.t_max) != (b.t_min, b.t_max):
        return False
    t = torch.linspace(a.t_min, a.t_max, 9, dtype=torch.float64)
    return torch.equal(a.mean(t), b.mean(t)) and torch.equal(a.covariance(t), b.covariance(t))
