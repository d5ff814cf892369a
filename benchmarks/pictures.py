"""Images trained for a number of steps or CPU seconds, and how good the network is then."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from statistics import median
from tempfile import mkdtemp
from typing import Any

import numpy as np
import torch

from sgm_core.config.base import build
from sgm_core.config.data import DATASETS
from sgm_core.config.training import SamplingConfig, TrainingConfig
from sgm_core.data import prepare
from sgm_core.data.dataset import Dataset, load_dataset
from sgm_core.denoise import Denoiser
from sgm_core.evaluate.classes import Judge
from sgm_core.evaluate.pixels import unit
from sgm_core.generate import generate
from sgm_core.objective import Objective
from sgm_core.parts import build_parts
from sgm_core.space import DataSpace
from sgm_core.train.items import affine_of, items_of
from sgm_core.train.loop import LoopSettings, TrainState, train

TABLE, BATCH, PACE_STEPS = 8192, 125, 6
CPU = torch.device("cpu")


@cache
def data(name: str, **fields: Any) -> Dataset:
    """A prepared dataset, made once a process."""
    root = Path(mkdtemp(prefix=f"sgm-{name}-"))
    prepare(name, build(DATASETS[name], fields, [name]), root, root / name, lambda _: None)
    return load_dataset(root / name)


@dataclass(frozen=True)
class Recipe:
    """What is trained, as in params.yaml."""

    net: Mapping[str, Any]
    training: Mapping[str, Any] = field(default_factory=dict)
    process: str = "vp"


@dataclass(frozen=True)
class Trained:
    """A trained network and what it cost."""

    denoiser: Denoiser
    steps: int
    cpu_seconds: float
    parameters: int


def start(dataset: Dataset, recipe: Recipe, seed: int, steps: int) -> tuple[Any, TrainState]:
    """Return the parts and a fresh state of the training loop."""
    training = TrainingConfig(**{**recipe.training, "steps": steps, "device": "cpu"}).model_dump()
    process = {"kind": recipe.process}
    parts = build_parts(process, recipe.net, dataset.meta, training["parametrisation"], seed)
    objective = Objective.of(parts.preconditioning, training, TABLE)
    return parts, TrainState(parts.net, objective, LoopSettings.of(training), seed)


def run(dataset: Dataset, state: TrainState) -> Any:
    """The generator of steps on the train split."""
    split = dataset.split("train")
    items, labels = items_of(split.x, split.labels, CPU)
    return train(state, items, labels, affine_of(dataset.meta, CPU))


def steps_for(dataset: Dataset, recipe: Recipe, seconds: float) -> int:
    """How many steps take so many CPU seconds (of the median step)."""
    _, state = start(dataset, recipe, 0, PACE_STEPS + 2)
    spent, before = [], time.process_time()
    for _ in run(dataset, state):
        now = time.process_time()
        spent.append(now - before)
        before = now
    return max(1, round(seconds / median(spent[2:])))


def trained(dataset: Dataset, recipe: Recipe, seed: int, steps: int) -> Trained:
    """Train; the averaged weights are what counts."""
    parts, state = start(dataset, recipe, seed, steps)
    begin = time.process_time()
    for _ in run(dataset, state):
        pass
    spent = time.process_time() - begin
    denoiser = Denoiser(state.ema_net, parts.preconditioning)
    return Trained(denoiser, steps, spent, parts.parameters)


def drawn(dataset: Dataset, denoiser: Denoiser, n: int, steps: int, sigma_min: float) -> Any:
    """Draw n pictures with the default sampler, the classes in turn: pixels as the data has them."""
    settings = SamplingConfig(steps=steps, sigma_min=sigma_min)
    classes = np.arange(n) % len(dataset.meta["labels"]) if dataset.meta["labels"] else None
    result = generate(
        denoiser, DataSpace(dataset.meta), settings, n, seeds=np.arange(n), batch=BATCH,
        labels=classes, device=CPU,
    )  # fmt: skip
    return np.rint(result.x), result.labels, result.cpu_seconds


def thumbs(dataset: Dataset, x: Any) -> Any:
    """Pictures as rows of numbers in [0, 1]."""
    low, high = dataset.meta["range"]
    return unit(np.asarray(x), (low, high)).numpy().reshape(len(x), -1)


def agreement(dataset: Dataset, x: Any, classes: Any) -> float:
    """The share of pictures in which a judge fitted on the train split sees their class."""
    split = dataset.split("train")
    judge = Judge(thumbs(dataset, split.x), np.asarray(split.labels))
    return float((judge.predict(thumbs(dataset, x)) == np.asarray(classes)).mean())
