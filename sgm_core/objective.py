r"""What a training step regresses on, as one table over training times.

The loss is denoising score matching in the frame of the preconditioning,

    E_{t, x_0, eps} | F(c_in u_t, sigma) - target |^2,     u_t = m x_0 + B xi,   xi ~ N(0, I),

target = (x_0 - c_skip . u) / c_out for `edm` (weight 1 / c_out^2 on |D - x_0|^2, so that every
level counts alike) and target = xi_k for `native` (the papers' reweighted loss). Hybrid score
matching is B = chol Sigma with the velocity integrated out; plain DSM draws v_0 as one more noise.
For `edm` the state is replaced by its sufficient statistic y = x_0 + sigma_eff eps, equal in law.

Times: drawn from a fixed table of quantiles of their law, so that all float64 kernel coefficients
are computed once, exactly, and a step only gathers rows.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from sgm_core.denoise import Preconditioning, mix, per_item
from sgm_core.process.base import Process

# The papers leave out t < 1e-5 where times are drawn uniformly: the native loss is pure noise there.
UNIFORM_T_MIN = 1e-5
LOGUNIFORM_SIGMA_MIN = 1e-3


def training_times(
    process: Process, law: str, n: int, p_mean: float = -1.2, p_std: float = 1.2
) -> Tensor:
    """Return n equally likely training times, the mid-quantiles of the law, (n,) float64.

    Args:
        process: its marginal's sigma_eff maps levels to times.
        law: "lognormal": ln sigma_eff ~ N(p_mean, p_std^2), truncated to the process's range;
            "loguniform" in sigma_eff; "uniform" in t.
    """
    quantile = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    if law == "uniform":
        return UNIFORM_T_MIN + (1 - UNIFORM_T_MIN) * quantile
    low, high = (torch.tensor(s, dtype=torch.float64).log() for s in process.marginal.sigma_range())
    if law == "loguniform":
        low = low.clamp(min=torch.tensor(LOGUNIFORM_SIGMA_MIN, dtype=torch.float64).log())
        return process.marginal.time_of((low + (high - low) * quantile).exp())
    normal = torch.distributions.Normal(
        torch.tensor(p_mean, dtype=torch.float64), torch.tensor(p_std, dtype=torch.float64)
    )
    inside = normal.cdf(low) + (normal.cdf(high) - normal.cdf(low)) * quantile
    return process.marginal.time_of(normal.icdf(inside.clamp(1e-12, 1 - 1e-12)).exp())


@dataclass(frozen=True)
class Table:
    """Rows gathered by a training step; n rows, c state channels, r noise channels.

    mean (n, c), noise (n, c, r), c_in (n, in, c), c_skip (n, c), c_out (n,), sigma (n,).
    """

    mean: Tensor
    noise: Tensor
    c_in: Tensor
    c_skip: Tensor
    c_out: Tensor
    sigma: Tensor

    def rows(self, index: Tensor) -> Table:
        """Gather rows."""
        return Table(*(getattr(self, f.name)[index] for f in fields(self)))

    def to(self, device: torch.device, dtype: torch.dtype) -> Table:
        """Cast once, after everything was computed in float64."""
        return Table(*(getattr(self, f.name).to(device, dtype) for f in fields(self)))


def make_table(preconditioning: Preconditioning, times: Tensor) -> Table:
    """Compute the kernel and the preconditioning at the training times."""
    process = preconditioning.process
    if preconditioning.parametrisation == "edm":
        sigma = process.marginal.sigma_eff(times)
        c_in, c_skip, c_out = preconditioning.level(sigma)
        ones = torch.ones_like(sigma)[:, None]
        return Table(ones, sigma[:, None, None], c_in[:, None, None], c_skip[:, None], c_out, sigma)
    c = preconditioning.coefficients(times)
    noise = process.noise_factor(times)
    return Table(process.mean(times), noise, c.c_in, c.c_skip, c.c_out, c.sigma)


@dataclass(frozen=True)
class Batch:
    """What the network is given and what it should return."""

    inputs: Tensor
    sigma: Tensor
    target: Tensor


class Objective:
    """Draws (inputs, sigma, target) for clean data.

    Args:
        preconditioning: frame and process.
        times: (n,) equally likely training times.
        device, dtype: where the steps run.
    """

    def __init__(
        self,
        preconditioning: Preconditioning,
        times: Tensor,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.native = preconditioning.parametrisation == "native"
        self.table = make_table(preconditioning, times).to(torch.device(device), dtype)
        self.n = len(times)

    def draw(self, x0: Tensor, generator: torch.Generator) -> Batch:
        """Perturb x0 (B, *shape) at random times; stratified over the table within the batch."""
        b = x0.shape[0]
        uniform = torch.rand(b, generator=generator, device=x0.device)
        strata = (torch.arange(b, device=x0.device) + uniform) * (self.n / b)
        row = self.table.rows(strata.long().clamp_(max=self.n - 1))
        shape = (b, row.noise.shape[-1], *x0.shape[1:])
        xi = torch.randn(shape, generator=generator, device=x0.device, dtype=x0.dtype)
        u = per_item(row.mean, xi) * x0[:, None] + mix(row.noise, xi)
        if self.native:
            target = xi[:, u.shape[1] - 1]
        else:
            target = (x0 - per_item(row.c_skip[:, 0], x0) * u[:, 0]) / per_item(row.c_out, x0)
        return Batch(mix(row.c_in, u), row.sigma, target)
