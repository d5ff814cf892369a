"""From what was asked to what is drawn: everything that can be wrong is found before a sample is."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from sgm_core.config.training import SamplingConfig
from sgm_core.control.api import DETERMINISTIC, NOISE
from sgm_core.control.paths import edit_level
from sgm_core.errors import UsageError, unknown
from sgm_core.generate import settings_of
from studio.catalogue import Entry, Shelf
from studio.draw import Array, Change, Draw, Hole, Path, Recipe, Task, unpacked
from studio.limits import Limits
from studio.schemas import SEEDS, Asked
from studio.version import Opened

# Samplers whose evaluations depend on the other samples of a run (each has its own step size).
ALONE = ("ode",)
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Plan:
    """A request that was found right.

    Attributes:
        entry: the version.
        draw: what the runners get.
        steps: of the sampler.
    """

    entry: Entry
    draw: Draw
    steps: int

    def start(self) -> dict[str, Any]:
        """Return the fields of the first event."""
        version, recipe = self.entry.version, self.draw.recipe
        return {
            "model": version.name,
            "version": version.number,
            "variant": recipe.variant,
            "device": "cpu",
            "n": self.draw.n,
            "steps": self.steps,
            "shape": list(recipe.opened.model.shape),
        }


def plan(asked: Asked, shelf: Shelf, limits: Limits, emit: Callable[[bytes], bool]) -> Plan:
    """Check a request against the model and the limits.

    Args:
        emit: see `Draw`.

    Raises:
        UsageError: something does not fit; the message names it, its value and the fix.
    """
    entry = shelf.find(asked.model, asked.version)
    opened = entry.opened
    _check_size(asked, opened, limits)
    settings = _settings(asked, opened)
    _check_process(asked.process, opened)
    steps = opened.steps(settings, asked.process)
    task = _task(asked, opened, settings)
    if isinstance(task, Change) and settings.sampler not in ALONE:
        steps -= edit_level(torch.empty(steps), task.strength)
    labels = _labels(asked, opened, task)
    every = _every(asked, steps, opened.size, limits)
    guided = settings.guidance != 1 and labels is not None and bool((labels >= 0).any())
    recipe = Recipe(
        opened,
        _variant(asked, opened, isinstance(task, Hole)),
        settings.model_dump_json(),
        None if asked.process == opened.config["process"]["kind"] else asked.process,
        guided,
        next(_numbers) if task is not None or settings.sampler in ALONE else 0,
    )
    seeds = np.uint64(asked.seed) + np.arange(asked.n, dtype=np.uint64)
    deadline = time.monotonic() + limits.seconds
    return Plan(entry, Draw(recipe, seeds, labels, every, emit, deadline, task), steps)


def _check_size(asked: Asked, opened: Opened, limits: Limits) -> None:
    most = limits.most(opened.size)
    if asked.n > most:
        raise UsageError(
            f"n: {asked.n} is not valid: this server draws 1 to {most} samples of {opened.name} at once"
        )
    steps = opened.config["sampling"]["steps"] if asked.steps is None else asked.steps
    if steps > limits.steps:
        raise UsageError(f"steps: {steps} is not valid: this server takes 1 to {limits.steps}")
    if asked.seed + asked.n > SEEDS:
        raise UsageError(f"seed: {asked.seed} is not valid: seed + n must not exceed 2^64")


def _settings(asked: Asked, opened: Opened) -> SamplingConfig:
    """Return the model's settings with those that were asked for."""
    if asked.guidance is not None and asked.guidance != 1 and not opened.model.labels:
        raise UsageError(
            f"guidance: {asked.guidance:g} was given and {opened.name} has no classes; leave it out"
        )
    given = {
        "steps": asked.steps,
        "sampler": asked.sampler,
        "options": asked.options,
        "guidance": asked.guidance,
    }
    return settings_of(opened.config["sampling"], given)


def _check_process(name: str | None, opened: Opened) -> None:
    if name is not None and name not in opened.listed_processes():
        raise unknown("process", name, opened.listed_processes())


def _variant(asked: Asked, opened: Opened, filling: bool) -> str:
    """Return the variant that was asked for, or the best one that does the work."""
    variants = opened.manifest["variants"]
    if asked.variant is not None and asked.variant not in variants:
        raise unknown("variant", asked.variant, variants)
    if not filling:
        return asked.variant or opened.default_variant()
    able = opened.differentiable()
    if asked.variant is not None and asked.variant not in able:
        raise UsageError(
            f"variant: {asked.variant!r} cannot complete an image, which needs gradients; choose one "
            f"of: {', '.join(able)}"
        )
    return asked.variant or "fp32"


def _labels(asked: Asked, opened: Opened, task: Task) -> Array | None:
    """Return the class of each sample; a task has none where none was asked for."""
    space, label = opened.model.space, asked.label
    if task is not None and label is None:
        label = -1
    if not space.labels and label in (None, -1):
        return None
    return space.classes(label, asked.n)


def _every(asked: Asked, steps: int, size: int, limits: Limits) -> int:
    """Return each how many steps a frame is sent; 0: never."""
    if not asked.frames:
        return 0
    one = asked.n * size
    frames = -(-steps // asked.every)
    if frames * one > limits.frame_numbers:
        least = -(-steps // max(1, limits.frame_numbers // one))
        raise UsageError(
            f"every: {asked.every} is not valid: {frames} frames of {asked.n} samples are more than "
            f"this server sends; write at least {least}, or frames: false"
        )
    return asked.every


def _task(asked: Asked, opened: Opened, settings: SamplingConfig) -> Task:
    """Return what is to be done with an image or along a path, if there is one."""
    if asked.path is not None:
        if other := [name for name in ("image", "mask", "strength") if getattr(asked, name)]:
            raise UsageError(f"{other[0]}: does not go with path; leave one of them out")
        return _path(asked, settings)
    if asked.strength is not None:
        if asked.mask is not None:
            raise UsageError("strength: does not go with mask; leave one of them out")
        if asked.image is None:
            raise UsageError("image: is missing; strength needs it")
        image = _image(asked.image, opened)
        _check_range(image, opened)
        return Change(image, asked.strength)
    return _hole(asked, opened)


def _path(asked: Asked, settings: SamplingConfig) -> Path:
    """Return a path, which has two ends and needs a sampler that draws no fresh noise."""
    assert asked.path is not None
    if asked.n < 2:
        raise UsageError(f"n: {asked.n} is not valid: a path has at least 2 samples, its ends")
    noisy = [name for name in NOISE if settings.options.get(name)]
    if settings.sampler not in DETERMINISTIC:
        raise UsageError(
            f"sampler: {settings.sampler!r} draws fresh noise; a path needs one of: "
            f"{', '.join(DETERMINISTIC)}"
        )
    if noisy:
        raise UsageError(f"options: {noisy[0]} draws fresh noise; leave it out, or path")
    return Path(*asked.path)


def _hole(asked: Asked, opened: Opened) -> Hole | None:
    """Return the item to complete, if there is one."""
    if asked.image is None and asked.mask is None:
        return None
    if asked.image is None:
        raise UsageError("image: is missing; mask needs it")
    if asked.mask is None:
        raise UsageError("mask: is missing; image needs it, or strength")
    image = _image(asked.image, opened)
    try:
        mask = unpacked(asked.mask, "u1", opened.size, "mask").reshape(opened.model.shape)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if not ((mask == 0) | (mask == 1)).all():
        raise UsageError("mask: holds values other than 0 and 1; write 1 where the item is known")
    known = mask == 1
    if known.all():
        raise UsageError("mask: leaves nothing to draw; write 0 where the item is to be drawn")
    _check_range(image[known], opened)
    return Hole(image, known)


def _image(text: str, opened: Opened) -> Array:
    try:
        return unpacked(text, "<f4", opened.size, "image").reshape(opened.model.shape)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _check_range(seen: Array, opened: Opened) -> None:
    """Refuse values that no item has."""
    if not np.isfinite(seen).all():
        raise UsageError("image: holds NaN or infinite values; replace them by numbers")
    low, high = opened.model.space.range
    slack = 1e-3 * (high - low)
    images = len(opened.model.shape) == 3
    if images and seen.size and (seen.min() < low - slack or seen.max() > high + slack):
        raise UsageError(
            f"image: has values {seen.min():g} to {seen.max():g}; the data of {opened.name} lie in "
            f"{low:g} to {high:g}"
        )
