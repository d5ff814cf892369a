"""params.yaml as one frozen object: datasets, experiments, the list of active ones."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sgm_core.config.base import Frozen, build, build_kind
from sgm_core.config.custom import ALL_PROCESSES, check_kind, custom_params, is_custom, use_folder
from sgm_core.config.data import DATASETS, DatasetParams
from sgm_core.config.evaluation import EvaluationConfig, ReferenceConfig
from sgm_core.config.net import NETS, NetParams
from sgm_core.config.process import ProcessParams
from sgm_core.config.publish import PublishConfig
from sgm_core.config.selection import SearchConfig, SelectionConfig
from sgm_core.config.training import SamplingConfig, TrainingConfig
from sgm_core.errors import UsageError, unknown
from sgm_core.evaluate.names import METRICS, ranking_names
from sgm_core.sample.names import SAMPLERS, sampler_fits
from sgm_core.search import rungs_of

SECTIONS: dict[str, type[Frozen]] = {
    "training": TrainingConfig,
    "sampling": SamplingConfig,
    "evaluation": EvaluationConfig,
    "reference": ReferenceConfig,
    "selection": SelectionConfig,
    "publish": PublishConfig,
}
# Names become folders, file names and tags.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
FIELDS = ["dataset", "seeds", "processes", "nets", *SECTIONS, "search"]
LEAST_EXTRAPOLATED = 260  # 4 (d + 1) for the 64 features of our own network
LEAST_SEEDS = 3  # of a finalist: fewer do not tell how much training seeds spread


@dataclass(frozen=True)
class ExperimentConfig:
    """One experiment: a dataset, a grid of processes x nets x seeds, and how to judge it.

    `search`: how the grid is searched; None: every cell is trained in full.
    """

    name: str
    dataset: str
    seeds: tuple[int, ...]
    processes: dict[str, ProcessParams]
    nets: dict[str, NetParams]
    training: TrainingConfig
    sampling: SamplingConfig
    evaluation: EvaluationConfig
    reference: ReferenceConfig
    selection: SelectionConfig
    publish: PublishConfig
    search: SearchConfig | None = None


@dataclass(frozen=True)
class Config:
    """The whole of params.yaml."""

    datasets: dict[str, DatasetParams]
    experiments: dict[str, ExperimentConfig]
    active: tuple[str, ...]

    def experiment(self, name: str) -> ExperimentConfig:
        """Return an experiment by name; an unknown name says which is nearest."""
        if name not in self.experiments:
            raise unknown("experiment", name, self.experiments)
        return self.experiments[name]

    def dataset(self, name: str) -> DatasetParams:
        """Return a dataset's parameters by name; an unknown name says which is nearest."""
        if name not in self.datasets:
            raise unknown("dataset", name, self.datasets)
        return self.datasets[name]


def load_config(path: str | os.PathLike[str] = "params.yaml") -> Config:
    """Read and validate params.yaml.

    Raises:
        UsageError: the file is missing or not YAML, or a field is wrong (named, with the fix).
    """
    file = Path(path)
    try:
        values = yaml.load(file.read_text(encoding="utf-8"), Loader=_Loader)
    except FileNotFoundError:
        raise UsageError(
            f"{file} does not exist; run from the project's folder or name it with --params"
        ) from None
    except UsageError as error:
        raise UsageError(f"{file.name}: {error}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        detail = " ".join(str(error).split())
        raise UsageError(f"{file.name} is not valid YAML: {detail}") from None
    if not isinstance(values, Mapping):
        raise UsageError(f"{file.name}: write a mapping with datasets, experiments and active")
    use_folder(file.absolute().parent)
    try:
        return parse_config(values)
    except UsageError as error:
        raise UsageError(f"{file.name}: {error}") from None


class _Loader(yaml.SafeLoader):
    """The safe loader, but a key that is given twice is an error and not the last one's win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                line = key.start_mark.line + 1
                raise UsageError(f"line {line}: {key.value!r} is given twice; remove one of them")
            if isinstance(key.value, str) and key.tag != "tag:yaml.org,2002:merge":
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def parse_config(values: Mapping[str, Any]) -> Config:
    """Validate an already read params.yaml."""
    _check_names("", values, ["datasets", "experiments", "active"])
    datasets = {
        str(name): build_kind(DATASETS, str(name), entry, ["datasets", str(name)])
        for name, entry in _mapping(values, "datasets", "").items()
    }
    experiments = {
        str(name): _experiment(str(name), entry, datasets)
        for name, entry in _mapping(values, "experiments", "").items()
    }
    active = values.get("active") or []
    if not isinstance(active, list):
        raise UsageError(f"active: {active!r} is not valid: write a list of experiments")
    for name in active:
        if not isinstance(name, str) or name not in experiments:
            raise UsageError(f"active: {unknown('experiment', name, experiments)}")
    if len(set(active)) != len(active):
        raise UsageError(f"active: {active!r} names an experiment twice; name each once")
    return Config(datasets, experiments, tuple(active))


def _experiment(
    name: str, entry: object, datasets: Mapping[str, DatasetParams]
) -> ExperimentConfig:
    where = f"experiments.{name}"
    if not isinstance(entry, Mapping):
        raise UsageError(f"{where}: {entry!r} is not valid: write a mapping of fields")
    _check_names(where, entry, FIELDS)
    if "dataset" not in entry:  # dvc.yaml depends on the field, so it has no default
        raise UsageError(f"{where}.dataset: is missing; add the name of a dataset")
    dataset = entry["dataset"]
    if not isinstance(dataset, str) or dataset not in datasets:
        raise UsageError(f"{where}.dataset: {unknown('dataset', dataset, datasets)}")
    processes = {
        str(label): _process(str(label), params, [where, "processes", str(label)])
        for label, params in _mapping(entry, "processes", where).items()
    }
    nets = {
        str(label): build_kind(NETS, str(label), params, [where, "nets", str(label)])
        for label, params in _mapping(entry, "nets", where).items()
    }
    seeds = entry.get("seeds", [0])
    if not (isinstance(seeds, list) and seeds and all(_is_seed(s) for s in seeds)):
        raise UsageError(
            f"{where}.seeds: {seeds!r} is not valid: write a list of whole numbers from 0"
        )
    if len(set(seeds)) != len(seeds):
        raise UsageError(f"{where}.seeds: {seeds!r} names a seed twice; name each once")
    sections: dict[str, Any] = {
        key: build(model, entry.get(key), [where, key]) for key, model in SECTIONS.items()
    }
    search = _search(entry, [where, "search"], seeds)
    experiment = ExperimentConfig(
        name, str(dataset), tuple(seeds), processes, nets, **sections, search=search
    )
    _check_budget(where, experiment)
    _check_sampling(where, experiment)
    _check_extrapolation(where, experiment)
    _check_data(where, experiment, datasets[str(dataset)])
    return experiment


def _search(entry: Mapping[str, Any], where: list[str], seeds: list[int]) -> SearchConfig | None:
    if "search" not in entry:
        return None
    if len(seeds) < LEAST_SEEDS:
        raise UsageError(
            f"{where[0]}.seeds: {seeds!r} has too few seeds for search, which trains its finalists "
            f"with at least {LEAST_SEEDS}; write {list(range(LEAST_SEEDS))} or leave search out"
        )
    return build(SearchConfig, entry["search"], where)


def _check_budget(where: str, experiment: ExperimentConfig) -> None:
    """Refuse a search that cannot pay for one finalist."""
    try:
        rungs_of(experiment)
    except UsageError as error:
        raise UsageError(f"{where}.{error}") from None


def _process(label: str, params: object, where: list[str]) -> ProcessParams:
    """Validate a process: a built-in one, or "module:Class" of the project's own."""
    kind = params.get("kind") if isinstance(params, Mapping) else None
    try:
        check_kind(kind)
        if is_custom(kind):
            custom_params(str(kind))
    except UsageError as error:
        raise UsageError(f"{'.'.join(where)}.kind: {error}") from None
    return build_kind(ALL_PROCESSES, label, params, where)


def _check_data(where: str, experiment: ExperimentConfig, data: DatasetParams) -> None:
    """Refuse networks and metrics that are for another kind of data, where the kind is known."""
    if data.data_rank is None:
        return
    for label, net in experiment.nets.items():
        if net.data_rank != data.data_rank:
            fitting = [kind for kind, params in NETS.items() if params.data_rank == data.data_rank]
            raise UsageError(
                f"{where}.nets.{label}: {net.kind!r} does not fit dataset {experiment.dataset!r}; "
                f"choose kind: {' or '.join(fitting)}"
            )
    metric, measured = experiment.selection.metric, experiment.evaluation.likelihood_items
    kind = "points" if data.data_rank == 1 else "images"
    names = ", ".join(ranking_names(kind, data.kind, labelled=True))
    if metric != "auto" and metric not in names.split(", "):
        raise UsageError(
            f"{where}.selection.metric: {metric!r} cannot be measured on dataset "
            f"{experiment.dataset!r}; choose one of: auto, {names}"
        )
    if metric in METRICS and METRICS[metric].of == "model" and not measured:
        raise UsageError(
            f"{where}.evaluation.likelihood_items: 0 leaves {metric!r} out, which selection.metric "
            "asks for; write at least 1"
        )


def _check_extrapolation(where: str, experiment: ExperimentConfig) -> None:
    """Refuse to rank by a distance that cannot be extrapolated, before anything is trained."""
    if experiment.selection.metric != "fd_inf":
        return
    if experiment.reference.extractor != "own":
        raise UsageError(
            f"{where}.selection.metric: 'fd_inf' has no interval with the features of "
            f"{experiment.reference.extractor}; choose fd or kid"
        )
    if experiment.evaluation.samples < LEAST_EXTRAPOLATED:
        raise UsageError(
            f"{where}.evaluation.samples: {experiment.evaluation.samples} are too few to rank by "
            f"fd_inf; write at least {LEAST_EXTRAPOLATED}"
        )


def _check_sampling(where: str, experiment: ExperimentConfig) -> None:
    """Refuse, before anything is trained, sampling that cannot run under one of the processes."""
    name = experiment.sampling.sampler
    for label, process in experiment.processes.items():
        if not sampler_fits(name, process.langevin):
            others = [s for s in SAMPLERS if sampler_fits(s, process.langevin)]
            raise UsageError(
                f"{where}.sampling.sampler: {name!r} is not for process {label!r} "
                f"({process.kind}); choose one of: {', '.join(others)}"
            )
    for name in experiment.evaluation.samplers or ():
        if not any(sampler_fits(name, p.langevin) for p in experiment.processes.values()):
            raise UsageError(
                f"{where}.evaluation.samplers: {name!r} is for none of the processes "
                f"({', '.join(experiment.processes)}); remove it"
            )
    levels = {label: process.largest_level() for label, process in experiment.processes.items()}
    levels |= {name: ALL_PROCESSES[name]().largest_level() for name in experiment.evaluation.under}
    for label, level in levels.items():
        if experiment.sampling.sigma_min >= level:
            raise UsageError(
                f"{where}.sampling.sigma_min: {experiment.sampling.sigma_min} is not below "
                f"{level:.3g}, the largest noise level of process {label!r}; lower it"
            )


def _is_seed(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _mapping(values: Mapping[str, Any], key: str, where: str) -> Mapping[str, Any]:
    path = f"{where}.{key}" if where else key
    entry = values.get(key)
    if not isinstance(entry, Mapping) or not entry:
        raise UsageError(f"{path}: {entry!r} is not valid: write a mapping with at least one name")
    for name in entry:
        if not NAME.fullmatch(str(name)):
            raise UsageError(
                f"{path}: {name!r} is not a name; use letters, digits, . _ and -, not a sign first"
            )
    return entry


def _check_names(where: str, values: Mapping[str, Any], choices: list[str]) -> None:
    for name in values:
        if name not in choices:
            prefix = f"{where}." if where else ""
            raise UsageError(f"{prefix}{name}: {unknown('field', name, choices)}")
