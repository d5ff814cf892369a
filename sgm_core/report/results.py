"""What a finished cell left behind, read once for the leaderboard, the pictures and the pages.

cell entry        manifest.json (summary), history.json, config.json, weights
evaluation entry  metrics.json, samples.safetensors, samples.png, trajectory.png, field.png
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from sgm_core.config.experiment import ExperimentConfig
from sgm_core.evaluate.names import MAIN, METRICS
from sgm_core.spec import cheap_mark
from sgm_core.store.files import read_json


class Spec(Protocol):
    """What is read of a `CellSpec`."""

    @property
    def name(self) -> str: ...
    @property
    def process(self) -> Mapping[str, Any]: ...
    @property
    def net(self) -> Mapping[str, Any]: ...
    @property
    def training(self) -> Mapping[str, Any]: ...
    @property
    def seed(self) -> int: ...


class StoredEntry(Protocol):
    """What is read of a store's `Entry`."""

    @property
    def key(self) -> str: ...
    @property
    def path(self) -> Path: ...
    @property
    def manifest(self) -> Mapping[str, Any]: ...


class Outcome(Protocol):
    """What is read of an `Outcome`."""

    @property
    def spec(self) -> Spec: ...
    @property
    def cell(self) -> StoredEntry: ...
    @property
    def evaluation(self) -> StoredEntry: ...


Failures = Sequence[tuple[Spec, str]]
SAMPLERS_TITLE = "The chosen cell under every sampler"


@dataclass(frozen=True)
class Result:
    """One finished cell with its labels in the experiment."""

    outcome: Outcome
    name: str
    process: str
    net: str
    seed: int

    @cached_property
    def document(self) -> dict[str, Any]:
        """metrics.json."""
        return dict(read_json(self.outcome.evaluation.path / "metrics.json"))

    @cached_property
    def config(self) -> dict[str, Any]:
        """The model's config.json."""
        return dict(read_json(self.outcome.cell.path / "config.json"))

    @cached_property
    def history(self) -> list[dict[str, Any]]:
        """Losses over the steps."""
        return list(read_json(self.outcome.cell.path / "history.json"))

    @property
    def summary(self) -> dict[str, Any]:
        """What the trainer reported."""
        return dict(self.outcome.cell.manifest["summary"])

    @property
    def steps(self) -> int:
        """Optimiser steps of the training."""
        return int(self.summary.get("steps", 0))

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The metric rows in the order of the evaluation."""
        return list(self.document["rows"])

    def row(self, metric: str, split: str = "test") -> dict[str, Any] | None:
        """The row of a metric on a split, or None if it was not measured."""
        for row in self.rows:
            if row["metric"] == metric and row["split"] == split:
                return row
        return None

    def value(self, metric: str, field: str = "value", split: str = "test") -> float:
        """A number of a row; NaN where there is none."""
        row = self.row(metric, split)
        return number(None if row is None else row.get(field))


def sampler_rows(document: Mapping[str, Any] | None, metric: str) -> list[dict[str, Any]]:
    """The rows of samplers.json with a value of a metric; [] without a measurement."""
    rows = [] if document is None else document["rows"]
    return [row for row in rows if row["value"] is not None and row["metric"] == metric]


def number(value: Any) -> float:
    """A float, with NaN for what is missing or not finite."""
    if value is None:
        return math.nan
    as_float = float(value)
    return as_float if math.isfinite(as_float) else math.nan


def read(outcomes: Iterable[Outcome], experiment: ExperimentConfig) -> list[Result]:
    """Label finished cells by their place in the grid, in the order of the grid."""
    grid = list(labels(experiment))
    found = []
    for outcome in outcomes:
        process, net = label_of(outcome.spec, experiment)
        found.append(Result(outcome, outcome.spec.name, process, net, outcome.spec.seed))
    place = {name: index for index, name in enumerate(grid)}
    return sorted(found, key=lambda result: (place.get(result.name, len(grid)), result.name))


def labels(experiment: ExperimentConfig) -> Iterable[str]:
    """The names of the cells of a grid, in its order."""
    for process in experiment.processes:
        for net in experiment.nets:
            for seed in experiment.seeds:
                yield f"{process}-{net}-s{seed}"


def label_of(spec: Spec, experiment: ExperimentConfig) -> tuple[str, str]:
    """The labels of a cell's process and network (their kinds if the grid has no such cell)."""
    name = spec.name.removesuffix(cheap_mark(spec.training))
    for process in experiment.processes:
        for net in experiment.nets:
            if name == f"{process}-{net}-s{spec.seed}":
                return process, net
    return str(spec.process.get("kind", "")), str(spec.net.get("kind", ""))


def kind_of(experiment: ExperimentConfig) -> str:
    """Tell "points" from "images" by what the networks take."""
    return "images" if any(net.data_rank == 3 for net in experiment.nets.values()) else "points"


def ranking_metric(experiment: ExperimentConfig) -> str:
    """The metric that ranks the cells of an experiment."""
    wanted = experiment.selection.metric
    return MAIN[kind_of(experiment)] if wanted == "auto" else wanted


def lower_is_better(metric: str) -> bool:
    """The direction of a metric (unknown ones: lower)."""
    return metric not in METRICS or METRICS[metric].better == "lower"


def direction(metric: str) -> str:
    """Say which direction is better."""
    return "lower is better" if lower_is_better(metric) else "higher is better"


def meaning(metric: str) -> str:
    """One line on a metric."""
    return METRICS[metric].text if metric in METRICS else metric
