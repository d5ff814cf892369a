r"""What a training step regresses on, as one table over training times.

The loss is denoising score matching in the frame of the preconditioning,

    E_{t, x_0, eps} | F(c_in u_t, sigma) - target |^2,     u_t = m x_0 + B xi,   xi ~ N(0, I),

target = (x_0 - c_skip . u) / c_out for `edm` (weight 1 / c_out^2 on |D - x_0|^2, so that every
level counts alike), target = xi_k for `native` (the papers' reweighted loss), and that less its best
linear estimate, xi_k - lin . u, for `mixed`; other weights are in sgm_core.weighting. Hybrid score
matching is B = chol Sigma with the velocity integrated out; plain DSM draws v_0 as one more noise.
For `edm` the state is replaced by its sufficient statistic y = x_0 + sigma_eff eps, equal in law.

Times: drawn from a fixed table of quantiles of their law, so that all float64 kernel coefficients
are computed once, exactly, and a step only gathers rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from sgm_core.preconditioning import Preconditioning, mix, per_item
from sgm_core.process.base import Process
from sgm_core.weighting import multipliers

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
            "loguniform" in sigma_eff; "uniform" in t, up to t_max.
    """
    quantile = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    if law == "uniform":
        first = max(UNIFORM_T_MIN, process.t_min)
        return first + (process.t_max - first) * quantile
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

    mean (n, c), noise (n, c, r), c_in (n, in, c), c_skip (n, c), c_out (n,), sigma (n,);
    target (n, 1 + r): the coefficients of (x_0, xi) in the target of `mixed`;
    weight (n,): multipliers of mean 1, unless all are 1.
    """

    mean: Tensor
    noise: Tensor
    c_in: Tensor
    c_skip: Tensor
    c_out: Tensor
    sigma: Tensor
    target: Tensor | None = None
    weight: Tensor | None = None

    def rows(self, index: Tensor) -> Table:
        """Gather rows."""
        return self._each(lambda value: value[index])

    def to(self, device: torch.device, dtype: torch.dtype) -> Table:
        """Cast once, after everything was computed in float64."""
        return self._each(lambda value: value.to(device, dtype))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Table:
        old = [getattr(self, field.name) for field in fields(self)]
        new: list[Any] = [None if value is None else change(value) for value in old]
        return Table(*new)


def make_table(
    preconditioning: Preconditioning, times: Tensor, weight: Tensor | None = None
) -> Table:
    """Compute the kernel and the preconditioning at the training times."""
    process = preconditioning.process
    if preconditioning.parametrisation == "edm":
        sigma = process.marginal.sigma_eff(times)
        c_in, c_skip, c_out = preconditioning.level(sigma)
        ones, noise = torch.ones_like(sigma)[:, None], sigma[:, None, None]
        c_in = c_in[:, None, None]
        return Table(ones, noise, c_in, c_skip[:, None], c_out, sigma, weight=weight)
    c = preconditioning.coefficients(times)
    mean, noise = process.mean(times), process.noise_factor(times)
    target = None
    if preconditioning.parametrisation == "mixed":
        # xi_k - lin . u with u = m x_0 + B xi put in, where float64 takes the difference.
        lin = preconditioning.linear(times)[:, None]
        target = -torch.cat([lin @ mean[..., None], lin @ noise], -1)[:, 0]
        target[:, process.k] += 1.0  # xi_k is column k - 1 of B
    return Table(mean, noise, c.c_in, c.c_skip, c.c_out, c.sigma, target, weight)


@dataclass(frozen=True)
class Batch:
    """What the network is given, what it should return, and how much each item counts (None: 1)."""

    inputs: Tensor
    sigma: Tensor
    target: Tensor
    weight: Tensor | None = None

    def loss(self, output: Tensor) -> Tensor:
        """Return the mean over items and coordinates of weight |output - target|^2, a 0-d tensor."""
        square = (output - self.target).square()
        return (square if self.weight is None else per_item(self.weight, square) * square).mean()


class Objective:
    """Draws (inputs, sigma, target, weight) for clean data.

    Args:
        preconditioning: frame and process.
        times: (n,) equally likely training times.
        device, dtype: where the steps run.
        weighting, min_snr_gamma: see sgm_core.weighting.

    Attributes:
        normaliser: what the multipliers were divided by, to have mean 1 over the table. With
            weighting "likelihood", normaliser x loss is the diffusion part of the negative ELBO in
            nats per dimension, between the table's first and last noise level.
    """

    def __init__(
        self,
        preconditioning: Preconditioning,
        times: Tensor,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        weighting: str = "auto",
        min_snr_gamma: float = 5.0,
    ) -> None:
        self.normaliser, weight = 1.0, None
        if weighting != "auto":
            raw = multipliers(preconditioning, times, weighting, min_snr_gamma)
            self.normaliser = float(raw.mean())
            weight = raw / self.normaliser
        table = make_table(preconditioning, times, weight)
        native = preconditioning.parametrisation == "native"
        self.column = preconditioning.process.k - 1 if native else None
        self.table = table.to(torch.device(device), dtype)
        self.n = len(times)

    @classmethod
    def of(
        cls,
        preconditioning: Preconditioning,
        training: Mapping[str, Any],
        n: int,
        device: torch.device | str = "cpu",
    ) -> Objective:
        """Build the objective of a resolved `training` mapping with a table of n times."""
        law, p_mean, p_std = (training[f] for f in ("time_sampling", "p_mean", "p_std"))
        times = training_times(preconditioning.process, law, n, p_mean, p_std)
        return cls(
            preconditioning,
            times,
            device,
            weighting=training["weighting"],
            min_snr_gamma=training["min_snr_gamma"],
        )

    def draw(self, x0: Tensor, generator: torch.Generator) -> Batch:
        """Perturb x0 (B, *shape) at random times; stratified over the table within the batch."""
        b = x0.shape[0]
        uniform = torch.rand(b, generator=generator, device=x0.device)
        strata = (torch.arange(b, device=x0.device) + uniform) * (self.n / b)
        row = self.table.rows(strata.long().clamp_(max=self.n - 1))
        shape = (b, row.noise.shape[-1], *x0.shape[1:])
        xi = torch.randn(shape, generator=generator, device=x0.device, dtype=x0.dtype)
        u = per_item(row.mean, xi) * x0[:, None] + mix(row.noise, xi)
        if self.column is not None:
            target = xi[:, self.column]
        elif row.target is not None:
            target = mix(row.target[:, None], torch.cat([x0[:, None], xi], 1))[:, 0]
        else:
            target = (x0 - per_item(row.c_skip[:, 0], x0) * u[:, 0]) / per_item(row.c_out, x0)
        return Batch(mix(row.c_in, u), row.sigma, target, row.weight)
