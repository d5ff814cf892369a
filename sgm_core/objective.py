r"""What a training step regresses on, as one table over training times.

The loss is denoising score matching in the frame of the preconditioning,

    E_{t, x_0, eps} | F(c_in u_t, sigma) - target |^2,     u_t = m x_0 + B xi,   xi ~ N(0, I),

target = (x_0 - c_skip . u) / c_out for `edm` (weight 1 / c_out^2 on |D - x_0|^2, so that every
level counts alike), target = xi_k for `native` (the papers' reweighted loss), and that less its best
linear estimate, xi_k - lin . u, for `mixed`; other weights are in sgm_core.weighting. Hybrid score
matching is B = chol Sigma with the velocity integrated out; plain DSM draws v_0 as one more noise.
For `edm` the state is replaced by its sufficient statistic y = x_0 + sigma_eff eps, equal in law.

Tails: with few coordinates, chance now and then takes a sampler four or more standard deviations off all
data of its level, where training has hardly ever been; the network's answer there is arbitrary, and the
sample is lost. With `tails` that share of the items gets TAIL times its level's noise. Among the plain
noise it makes up TAIL^-d of its share and changes D by as little; farther out it is all that the network
has seen, and the answer is the nearest data.

Times: drawn from a fixed table of quantiles of their law, so that all float64 kernel coefficients
are computed once, exactly, and a step only gathers rows. Inputs and target are linear in x_0 and xi
whatever the process and parametrisation: one small matrix per item.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from sgm_core.preconditioning import Preconditioning, mix, per_item
from sgm_core.process.base import Process
from sgm_core.weighting import multipliers

# The papers leave out t < 1e-5 where times are drawn uniformly: the native loss is pure noise there.
UNIFORM_T_MIN = 1e-5
LOGUNIFORM_SIGMA_MIN = 1e-3
TAIL = 2.0  # noise of the share `tails` of the items, in units of its level's


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
    """What a step gathers: n rows, in network channels, r noise channels.

    Inputs and target are linear in the clean item and its noise, so that a row is one matrix:
    [inputs; target] = map [x_0; xi].

    map (n, in + 1, 1 + r): all coefficients multiplied out in float64; sigma (n,);
    weight (n,): multipliers of mean 1, or None where all are 1.
    """

    map: Tensor
    sigma: Tensor
    weight: Tensor | None = None

    def packed(self, device: torch.device | str, dtype: torch.dtype) -> Tensor:
        """Return all columns side by side, (n, columns), cast once: a step gathers once."""
        columns = [self.sigma[:, None], self.map.flatten(1)]
        if self.weight is not None:
            columns.append(self.weight[:, None])
        return torch.cat(columns, 1).to(device, dtype)


def make_table(
    preconditioning: Preconditioning, times: Tensor, weight: Tensor | None = None
) -> Table:
    """Compute the kernel and the preconditioning at the training times."""
    process = preconditioning.process
    if preconditioning.parametrisation == "edm":
        sigma = process.marginal.sigma_eff(times)
        c_in, c_skip, c_out = preconditioning.level(sigma)
        # 1 - c_skip = sigma^2 c_in^2, without the cancellation.
        clean, noise = (sigma * c_in).square() / c_out, -c_skip * sigma / c_out
        rows = torch.stack([c_in, c_in * sigma, clean, noise], 1)
        return Table(rows.view(-1, 2, 2), sigma, weight)
    c = preconditioning.coefficients(times)
    state = torch.cat([process.mean(times)[..., None], process.noise_factor(times)], -1)
    target = torch.zeros(len(times), 1, state.shape[-1], dtype=torch.float64)
    if preconditioning.parametrisation == "mixed":
        target = -preconditioning.linear(times)[:, None] @ state  # of xi_k - lin . u
    target[:, :, process.k] += 1.0  # xi_k: column k - 1 of the noise
    return Table(torch.cat([c.c_in @ state, target], 1), c.sigma, weight)


@dataclass(frozen=True)
class Batch:
    """What the network is given, what it should return, and how much each item counts (None: 1)."""

    inputs: Tensor
    sigma: Tensor
    target: Tensor
    weight: Tensor | None = None

    def loss(self, output: Tensor) -> Tensor:
        """Return the mean over items and coordinates of weight |output - target|^2, a 0-d tensor."""
        if self.weight is None:
            return functional.mse_loss(output, self.target)
        square = (output - self.target).square()
        return (per_item(self.weight, square) * square).mean()

    def loss_and_slope(self, output: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss and its gradient with respect to the output."""
        difference = output - self.target
        slope = difference if self.weight is None else per_item(self.weight, output) * difference
        loss = torch.dot(slope.reshape(-1), difference.reshape(-1)) / output.numel()
        return loss, slope * (2 / output.numel())


@dataclass(frozen=True)
class Chance:
    """What is random in a batch: places (B,) among the times, noise (B, r, *shape), and which items
    (B,) get more of it (None: none)."""

    places: Tensor
    xi: Tensor
    wide: Tensor | None = None

    @classmethod
    def joined(cls, parts: Sequence[Chance]) -> Chance:
        """Return the batches of several objectives, one behind the other."""
        wide = [part.wide for part in parts if part.wide is not None]
        return cls(
            torch.cat([part.places for part in parts]),
            torch.cat([part.xi for part in parts]),
            torch.cat(wide) if wide else None,
        )


class Objective:
    """Draws (inputs, sigma, target, weight) for clean data.

    Args:
        preconditioning: frame and process.
        times: (n,) equally likely training times.
        device, dtype: where the steps run.
        weighting, min_snr_gamma: see sgm_core.weighting.
        tails: share of the items that get TAIL times the noise.

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
        tails: float = 0.0,
    ) -> None:
        self.normaliser, weight = 1.0, None
        if weighting != "auto":
            raw = multipliers(preconditioning, times, weighting, min_snr_gamma)
            self.normaliser = float(raw.mean())
            weight = raw / self.normaliser
        self.table = make_table(preconditioning, times, weight)
        self.rows = self.table.packed(device, dtype)
        self.n, self.tails, self.parts = len(times), tails, 1
        self._items = torch.arange(0, device=device)
        self._first: Tensor | None = None  # row of each item's table, where there are several

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
            tails=training.get("tails", 0.0),  # not in the settings of older cells
        )

    @classmethod
    def joined(cls, objectives: Sequence[Objective]) -> Objective:
        """Return the objective of several batches of one size that lie one behind the other.

        Args:
            objectives: of one number of times and shape of table, with the same `tails`.
        """
        first = objectives[0]
        both = copy.copy(first)
        both.rows = torch.cat([objective.rows for objective in objectives])
        both.parts = len(objectives)
        both._items, both._first = first._items[:0], None
        return both

    def chance(self, x0: Tensor, generator: torch.Generator) -> Chance:
        """Draw what is random in the batch of x0 (B, *shape)."""
        b = len(x0)
        options: dict[str, Any] = {"generator": generator, "device": x0.device}
        places = torch.rand(b, **options)
        xi = torch.randn((b, self.table.map.shape[2] - 1, *x0.shape[1:]), dtype=x0.dtype, **options)
        return Chance(places, xi, torch.rand(b, **options) < self.tails if self.tails else None)

    def perturb(self, x0: Tensor, chance: Chance) -> Batch:
        """Perturb x0 (B, *shape) as drawn; times are stratified over the table within the batch."""
        b = len(x0) // self.parts
        if len(self._items) != len(x0):
            self._items = torch.arange(b, device=x0.device).repeat(self.parts)
            if self.parts > 1:
                first = torch.arange(self.parts, device=x0.device) * self.n
                self._first = first.repeat_interleave(b)
        index = ((self._items + chance.places) * (self.n / b)).long().clamp_(max=self.n - 1)
        if self._first is not None:
            index += self._first
        row = self.rows.index_select(0, index)
        xi = chance.xi
        if chance.wide is not None:
            xi = xi * per_item(1 + (TAIL - 1) * chance.wide.to(xi), xi)
        outputs, inputs = self.table.map.shape[1:]
        matrix = row[:, 1 : 1 + outputs * inputs].unflatten(1, (outputs, inputs))
        both = mix(matrix, torch.cat([x0[:, None], xi], 1))
        weight = None if self.table.weight is None else row[:, -1]
        return Batch(both[:, :-1], row[:, 0], both[:, -1], weight)

    def draw(self, x0: Tensor, generator: torch.Generator) -> Batch:
        """Perturb x0 (B, *shape) at random times."""
        return self.perturb(x0, self.chance(x0, generator))
