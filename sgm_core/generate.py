"""Drawing samples in passes of bounded memory: sampler settings + denoiser -> arrays of data."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sgm_core.config.base import build
from sgm_core.config.training import SamplingConfig
from sgm_core.denoise import Denoiser, DenoiserLike, Guided
from sgm_core.errors import UsageError
from sgm_core.preconditioning import statistic_row_sigma
from sgm_core.sample import make_sampler
from sgm_core.sample.base import Sampler
from sgm_core.space import DataSpace

# callback(step, steps, t, sigma_eff, x_t, x0_hat): arrays in the data's own range, x_t the
# position seen through the process, rescaled to y = x_0 + sigma_eff eps.
StepCallback = Callable[[int, int, float, float, np.ndarray, np.ndarray], bool | None]
Wrap = Callable[[DenoiserLike], DenoiserLike]


@dataclass(frozen=True)
class SampleResult:
    """Drawn samples and what they cost.

    Attributes:
        x: data range; points (n, d) float64, images (n, C, H, W) float32 clipped to the range.
        labels: class of each sample, or None.
        nfe: network evaluations per sample, counted.
        seconds, cpu_seconds: for all samples.
    """

    x: np.ndarray
    labels: np.ndarray | None
    nfe: int
    seconds: float
    cpu_seconds: float


def generate(
    denoiser: Denoiser,
    space: DataSpace,
    settings: SamplingConfig,
    n: int,
    *,
    seeds: np.ndarray,
    batch: int,
    labels: np.ndarray | None,
    device: torch.device,
    sigma_max: float | None = None,
    callback: StepCallback | None = None,
    start: Tensor | None = None,
    wrap: Wrap | None = None,
) -> SampleResult:
    """Draw n samples, at most `batch` in a pass; see `ScoreModel.sample` for the arguments.

    Args:
        denoiser: names the process that is sampled under; its evaluations are counted.
        seeds: (n,) uint64, one per sample.
        labels: (n,) class indices, or None.

    Raises:
        UsageError: the start's shape, or the sampler, does not fit the process.
    """
    # Without a class both terms of guidance are the same: one evaluation does.
    guided = settings.guidance != 1.0 and labels is not None and bool((labels >= 0).any())
    call: DenoiserLike = Guided(denoiser, settings.guidance) if guided else denoiser
    call = call if wrap is None else wrap(call)
    walk, shape = sampler_of(settings, sigma_max), space.shape
    if start is not None and tuple(start.shape) != (n, denoiser.process.k, *shape):
        wanted = (n, denoiser.process.k, *shape)
        raise UsageError(f"start: shape {tuple(start.shape)} does not fit; give {wanted}")
    wall, cpu, parts, nfe = time.perf_counter(), time.process_time(), [], 0
    for first in range(0, n, batch):
        some = slice(first, min(n, first + batch))
        denoiser.nfe = 0
        x = walk(
            call,
            (len(seeds[some]), *shape),
            seeds[some],
            callback=_reporter(walk, space, callback) if callback and first == 0 else None,
            device=device,
            labels=None if labels is None else torch.from_numpy(labels[some]).to(device),
            **({} if start is None else {"start": start[some].to(device)}),
        )
        nfe = max(nfe, denoiser.nfe)
        parts.append(space.to_data(x))
    shown = None if labels is None or (labels < 0).all() else labels
    cost = time.perf_counter() - wall, time.process_time() - cpu
    return SampleResult(np.concatenate(parts), shown, nfe, *cost)


def settings_of(own: Mapping[str, Any], given: Mapping[str, Any]) -> SamplingConfig:
    """Return the settings `own` with those `given` (not None) in their place.

    The options of the sampler in `own` stay with that sampler: they do not carry over to another.
    """
    chosen = {key: value for key, value in given.items() if value is not None}
    values = dict(own)
    if chosen.get("sampler", values.get("sampler")) != values.get("sampler"):
        values.pop("options", None)
    elif isinstance(options := chosen.get("options"), Mapping):
        chosen["options"] = {**(values.get("options") or {}), **options}
    return build(SamplingConfig, {**values, **chosen})


def sampler_of(settings: SamplingConfig, sigma_max: float | None = None) -> Sampler:
    """Build the sampler of these settings; its grid starts at sigma_max if that is given."""
    options = dict(settings.options) | ({} if sigma_max is None else {"sigma_max": sigma_max})
    return make_sampler(
        settings.sampler,
        steps=settings.steps,
        grid=settings.grid,
        sigma_min=settings.sigma_min,
        **options,
    )


def _reporter(
    walk: Sampler, space: DataSpace, callback: StepCallback
) -> Callable[[int, float, Tensor, Tensor], bool | None]:
    def report(step: int, t: float, u: Tensor, x0: Tensor) -> bool | None:
        # Of the process sampled under, not of the one trained under.
        row, sigma = statistic_row_sigma(walk.process.marginal, t)
        y = torch.einsum("k,nk...->n...", row.to(u), u)
        return callback(
            step, walk.steps, t, float(sigma), space.to_data(y, False), space.to_data(x0, False)
        )

    return report
