"""Controllable generation with a `ScoreModel`, in the data's own range.

    inpaint(model, images, mask, n=8)        # what is masked out is drawn given the rest
    colourise(model, gray, n=8)              # colours given the mean over channels
    interpolate(model, 3, 17, count=9)       # between the samples of two seeds, or two items
    edit(model, images, strength=0.5)        # forget fine levels and draw them anew (SDEdit)

All work for points and for images, under any process and with any sampler (interpolation: with the
deterministic ones). `options` are those of `ScoreModel.sample`: steps, sampler, options, grid,
sigma_min, guidance, process. The default label, -1, means no class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sgm_core.arguments import whole
from sgm_core.control.conditioned import Conditioned
from sgm_core.control.items import classes_of, known_mask, numeric, passes, several_items
from sgm_core.control.operators import Gray, Mask, Operator
from sgm_core.control.paths import edit_level, encode, noised_state, seeded_state, state_between
from sgm_core.denoise import DenoiserLike, Guided
from sgm_core.errors import UsageError
from sgm_core.generate import SampleResult, StepCallback
from sgm_core.model import ScoreModel
from sgm_core.sample.grids import make_grid

BATCH = 250  # samples per pass: conditioning keeps the network's activations for backward passes
DETERMINISTIC = ("multistep", "ddim", "heun", "ode")
NOISE = ("eta", "s_churn")  # options that make them draw fresh noise
ENCODING_STEPS = 100


def inpaint(
    model: ScoreModel,
    images: Any,
    mask: Any,
    *,
    n: int = 1,
    seed: int = 0,
    label: Any = -1,
    std: float = 0.01,
    iterations: int = 3,
    batch: int = BATCH,
    **options: Any,
) -> SampleResult:
    """Draw the unknown part of items given the known part (sgm_core.control.conditioned).

    Args:
        images: one item (*shape) or several (m, *shape), in the data's range; points work too. What
            stands at unknown places does not matter.
        mask: 1 or True where an item is known, broadcastable to (*shape) or (m, *shape).
        n: draws per item.
        seed: draw j of item i uses seed + i n + j.
        label: a class, or one per draw.
        std: noise of the known part, in model space, that the drawing assumes.
        iterations: dimension of the Krylov space.
        batch: samples per pass.

    Returns:
        (m n, *shape), the draws of the first item first; the known part is exact.

    Raises:
        UsageError: an argument is wrong; the message names it.
    """
    known = known_mask(mask)
    several = several_items(model, images, "images")
    try:
        known = np.broadcast_to(known, several.shape)
    except ValueError:
        raise UsageError(
            f"mask: shape {known.shape} does not fit the items {several.shape}; "
            f"give {model.shape}, or one per item"
        ) from None
    filled = np.where(known, several, np.broadcast_to(model.space.center, several.shape))
    x = model.to_model(filled)
    result = _conditioned(
        model,
        lambda some: Mask(torch.from_numpy(known.repeat(n, 0)[some])),
        x * torch.from_numpy(known.copy()).to(x),
        whole("n", n, 1),
        {"std": std, "iterations": iterations},
        {"seed": seed, "label": label, "batch": batch, **options},
    )
    exact = filled.repeat(n, 0).astype(result.x.dtype)
    return replace(result, x=np.where(known.repeat(n, 0), exact, result.x))


def colourise(
    model: ScoreModel,
    gray: Any,
    *,
    n: int = 1,
    seed: int = 0,
    label: Any = -1,
    std: float = 0.01,
    iterations: int = 3,
    batch: int = BATCH,
    **options: Any,
) -> SampleResult:
    """Draw colour images given their mean over channels.

    Args:
        gray: (H, W), (m, 1, H, W), or colour images (m, C, H, W) whose mean is taken.
        n, seed, label, std, iterations, batch: see `inpaint`.

    Returns:
        (m n, C, H, W); the mean over channels is the given one up to about std, before values are clipped.

    Raises:
        UsageError: the model is not one of colour images, or an argument is wrong.
    """
    if len(model.shape) != 3 or model.shape[0] < 3:
        raise UsageError(
            f"gray: this model has items of shape {model.shape}; "
            "colourising needs a model of images with 3 channels"
        )
    channels, *size = model.shape
    array = numeric(gray, "gray")
    array = array[None] if array.ndim == 2 else array
    array = array[None] if array.ndim == 3 else array
    if array.ndim != 4 or array.shape[1] not in (1, channels) or list(array.shape[2:]) != size:
        raise UsageError(
            f"gray: shape {numeric(gray, 'gray').shape} does not fit; "
            f"give {tuple(size)} or (m, 1, {size[0]}, {size[1]})"
        )
    mean = array.mean(1, keepdims=True).repeat(channels, 1)
    seen = model.to_model(mean).mean(1, keepdim=True)
    return _conditioned(
        model,
        lambda some: Gray(channels),
        seen,
        whole("n", n, 1),
        {"std": std, "iterations": iterations},
        {"seed": seed, "label": label, "batch": batch, **options},
    )


def interpolate(
    model: ScoreModel,
    first: Any,
    second: Any,
    count: int = 9,
    *,
    label: Any = -1,
    sampler: str | None = None,
    batch: int = BATCH,
    process: Any = None,
    callback: StepCallback | None = None,
    **options: Any,
) -> SampleResult:
    """Draw a path of samples from one to another, on the great circle between their states.

    Args:
        first, second: two seeds (whole numbers), or two items (*shape) in the data's range, which
            are encoded first (sgm_core.control.paths).
        count: samples on the path, the two ends included.
        label: one class for the whole path.
        callback: see `ScoreModel.sample`; of each pass.
        sampler: a deterministic one; default: the model's if it is, with its options, else
            multistep. Between items `steps` is 100 by default, for them to come back.

    Returns:
        (count, *shape). Between seeds the ends are the samples of these seeds; items come back up
        to the error of the solver.

    Raises:
        UsageError: an argument is wrong; the message names it.
    """
    count = whole("count", count, 2)
    sampler = sampler or _deterministic(model, options.get("options"))
    settings = model.settings(sampler=sampler, **options)
    noise = [name for name in NOISE if settings.options.get(name)]
    if settings.sampler not in DETERMINISTIC:
        raise UsageError(
            f"sampler: {settings.sampler!r} draws fresh noise, and a path needs a deterministic "
            f"sampler; choose one of: {', '.join(DETERMINISTIC)}"
        )
    if noise:
        raise UsageError(
            f"options: {settings.sampler} draws fresh noise with {noise[0]}, and a path needs a "
            f"deterministic sampler; leave {noise[0]} out"
        )
    denoiser = model.denoiser(process)
    seeds = [isinstance(v, (int, np.integer)) and not isinstance(v, bool) for v in (first, second)]
    if all(seeds):
        own = np.array([whole("first", first, 0), whole("second", second, 0)], dtype=np.uint64)
        ends = seeded_state(denoiser.process, own, model.shape).to(model.device)
    elif any(seeds):
        raise UsageError("first, second: give two seeds or two items, not one of each")
    else:
        pair = [several_items(model, v, name) for v, name in ((first, "first"), (second, "second"))]
        if len(pair[0]) != 1 or len(pair[1]) != 1:
            raise UsageError("first, second: give one item each")
        call: DenoiserLike = denoiser
        cond: dict[str, Any] = {}
        if (classes := classes_of(model, label, 2)) is not None:
            cond["labels"] = torch.from_numpy(classes).to(model.device)
            if settings.guidance != 1 and (classes >= 0).any():
                call = Guided(denoiser, settings.guidance)
        x = model.to_model(np.concatenate(pair))
        ends = encode(call, x, steps=ENCODING_STEPS, sigma_min=settings.sigma_min, **cond)
        if options.get("steps") is None:
            options["steps"] = max(settings.steps, ENCODING_STEPS)
    weights = torch.linspace(0, 1, count, dtype=torch.float64)
    states = state_between(denoiser.process, ends[:1], ends[1:], weights)
    given = {"label": label, "batch": batch, "sampler": sampler, "process": process, **options}
    given["callback"] = callback
    return passes(model, count, given, lambda some: {"start": states[some]})


def edit(
    model: ScoreModel,
    images: Any,
    strength: float = 0.5,
    *,
    n: int = 1,
    seed: int = 0,
    label: Any = -1,
    batch: int = BATCH,
    process: Any = None,
    callback: StepCallback | None = None,
    **options: Any,
) -> SampleResult:
    """Draw variations of items: noise them to a level and sample from there (SDEdit, 2108.01073).

    Args:
        images: one item (*shape) or several (m, *shape), in the data's range.
        strength: share of the sampler's grid that is walked, in (0, 1]; 1 keeps next to nothing.
        n: draws per item.
        seed: draw j of item i uses seed + i n + j.
        label: a class, or one per draw.
        callback: see `ScoreModel.sample`; of each pass.

    Returns:
        (m n, *shape), the draws of the first item first.

    Raises:
        UsageError: an argument is wrong; the message names it.
    """
    number = isinstance(strength, (int, float)) and not isinstance(strength, bool)
    if not number or not 0 < strength <= 1:
        raise UsageError(
            f"strength: {strength!r} is not valid: write a number above 0 and at most 1"
        )
    settings, forward = model.settings(**options), model.denoiser(process).process
    times = make_grid(forward, settings.steps, settings.grid, settings.sigma_min)
    index = edit_level(times, strength)
    x = model.to_model(several_items(model, images, "images")).repeat_interleave(
        whole("n", n, 1), 0
    )
    seed = whole("seed", seed, 0)

    def start(some: slice) -> dict[str, Any]:
        own = np.arange(seed + some.start, seed + some.stop, dtype=np.uint64)
        return {"start": noised_state(forward, x[some], float(times[index]), own)}

    given = {"seed": seed, "label": label, "batch": batch, "process": process, **options}
    given |= {"steps": settings.steps - index, "callback": callback}
    if index:
        given["sigma_max"] = float(forward.sigma_eff(times[index]))
    return passes(model, len(x), given, start)


def _deterministic(model: ScoreModel, given: Any) -> str | None:
    """Return the sampler of a path where none was named; None: the model's own.

    Args:
        given: options that were asked for. Noise that they ask for is an error of the caller, noise
            that the model's settings ask for is not.
    """
    own, given = model.settings(), given if isinstance(given, Mapping) else {}
    noisy = any(own.options.get(name) and name not in given for name in NOISE)
    return DETERMINISTIC[0] if noisy or own.sampler not in DETERMINISTIC else None


def _conditioned(
    model: ScoreModel,
    operator: Callable[[slice], Operator],
    seen: Tensor,
    n: int,
    solver: Mapping[str, Any],
    given: Mapping[str, Any],
) -> SampleResult:
    """Draw n samples for each of the observations `seen`."""
    every = seen.repeat_interleave(n, 0)

    def wrap(some: slice) -> dict[str, Any]:
        return {
            "wrap": lambda denoiser: Conditioned(denoiser, operator(some), every[some], **solver)
        }

    return passes(model, len(every), given, wrap)
