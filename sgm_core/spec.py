"""What a cell is, as plain values, and the keys that its results are found by.

    cell key        = SHA-256 {process, net, training, seed, data digest, code, torch, device class}
    evaluation key  = SHA-256 {cell key, sampling, evaluation, reference digest, data digest, code}

`code` is the hash of the import closure of what does the work (sgm_core.code). The experiment and
the cell's name are labels and not part of a key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sgm_core.code import closure_hash
from sgm_core.config.custom import ALL_PROCESSES
from sgm_core.config.experiment import ExperimentConfig
from sgm_core.config.net import NETS
from sgm_core.device import device_class, torch_release
from sgm_core.errors import SgmError, UsageError, unknown
from sgm_core.sample.names import SAMPLERS
from sgm_core.search import Pair, Rung, rungs_of
from sgm_core.store.files import canonical_json, read_json, sha256_bytes


@dataclass(frozen=True)
class CellSpec:
    """What is trained. All mappings are plain JSON values with every default filled in.

    Attributes:
        experiment, name: labels, e.g. "digits", "vp-unet-s0"; not part of the key.
        process, net: `kind` and all its parameters.
        training: the fields of TrainingConfig without `checkpoint_every`; `device` is a class.
        data_digest: of the prepared dataset (`digest` in its dataset.json).
    """

    experiment: str
    name: str
    process: dict[str, Any]
    net: dict[str, Any]
    training: dict[str, Any]
    seed: int
    data_digest: str

    @property
    def modules(self) -> list[str]:
        """The modules whose import closure is the cell's code."""
        targets = [_target("process", ALL_PROCESSES, self.process), _target("net", NETS, self.net)]
        return ["sgm_core.train.run", *(target.partition(":")[0] for target in targets)]

    def identity(self) -> dict[str, Any]:
        """Everything that determines the trained weights."""
        return {
            "process": {**self.process, "target": _target("process", ALL_PROCESSES, self.process)},
            "net": {**self.net, "target": _target("net", NETS, self.net)},
            "training": self.training,
            "seed": self.seed,
            "data_digest": self.data_digest,
            "code": closure_hash(self.modules),
            "torch": torch_release(),
        }

    @property
    def key(self) -> str:
        """SHA-256 of the identity; computed anew each time, because code can change."""
        return identity_key(self.identity())

    def as_dict(self) -> dict[str, Any]:
        """The specification as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class EvaluationSpec:
    """What is measured on a finished cell (`batch` counts: it decides the last bits of a sample).

    `task` names the function that measures, `sampler` is the sampler's target "module:Class".
    """

    task: str
    cell_key: str
    sampler: str
    sampling: dict[str, Any]
    evaluation: dict[str, Any]
    reference_digest: str
    data_digest: str

    @property
    def modules(self) -> list[str]:
        """The modules whose import closure is the evaluation's code."""
        targets = [self.task, self.sampler]
        targets += [ALL_PROCESSES[name].target for name in self.evaluation.get("under", ())]
        targets += [SAMPLERS[name] for name in self.evaluation.get("samplers", ())]
        return [target.partition(":")[0] for target in targets]

    def identity(self) -> dict[str, Any]:
        """Everything that determines the metrics."""
        return {**asdict(self), "code": closure_hash(self.modules)}

    @property
    def key(self) -> str:
        """SHA-256 of the identity."""
        return identity_key(self.identity())


def cells_of(
    experiment: ExperimentConfig,
    data_digest: str,
    shape: Sequence[int] | None = None,
    rung: Rung | None = None,
    pairs: Sequence[Pair] | None = None,
) -> list[CellSpec]:
    """Return the cells of an experiment's grid, in the order of params.yaml.

    Args:
        shape: of one item of the dataset ([d] or [C, H, W]); checked against each network.
        rung: of `rungs_of`; None: the final one, with all pairs.
        pairs: labels of process and network that are in it; None: all.

    Raises:
        UsageError: a network is for another kind of data.
    """
    training = experiment.training.model_dump(mode="json", exclude={"checkpoint_every"})
    training["device"] = device_class(experiment.training.device)
    for name, usual in (("devices", 1), ("stack", 1), ("compile", False)):
        if training[name] == usual:  # as before there was a choice: the key of a cell is old
            del training[name]
    cheap = rung is not None and not rung.final
    if cheap and rung is not None:
        training["steps"] = rung.steps
    where = f"experiments.{experiment.name}"
    for label, net in experiment.nets.items():
        if shape is not None and net.data_rank != len(shape):
            kinds = ", ".join(kind for kind, n in NETS.items() if n.data_rank == len(shape))
            raise UsageError(
                f"{where}.nets.{label}: {net.kind!r} does not fit dataset {experiment.dataset!r}, "
                f"whose items have shape {list(shape)}; choose kind: {kinds or 'another'}"
            )
        if net.data_rank == 1 and experiment.training.compile:
            raise UsageError(
                f"{where}.training.compile: true does not fit net {label!r}: networks of points know "
                "their derivative and are not compiled; write false"
            )
        if net.data_rank != 1 and experiment.training.stack > 1:
            raise UsageError(
                f"{where}.training.stack: {experiment.training.stack} does not fit net {label!r}: only "
                "networks of points are trained together; write 1"
            )
    cells = [
        CellSpec(
            experiment=experiment.name,
            name=f"{process_label}-{net_label}-s{seed}{cheap_mark(training) if cheap else ''}",
            process={"kind": process.kind, **process.model_dump(mode="json")},
            net={"kind": net.kind, **net.model_dump(mode="json")},
            training=training,
            seed=seed,
            data_digest=data_digest,
        )
        for process_label, process in experiment.processes.items()
        for net_label, net in experiment.nets.items()
        if pairs is None or (process_label, net_label) in pairs
        for seed in (experiment.seeds if rung is None else rung.seeds)
    ]
    names = [cell.name for cell in cells]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{where}: two cells would be named {name!r}; rename a label")
    return cells


def cheap_mark(training: Mapping[str, Any]) -> str:
    """Return what the name of a cell of a cheap rung ends in."""
    return f"-{training['steps']}steps"


def all_cells(
    experiment: ExperimentConfig, data_digest: str, shape: Sequence[int] | None = None
) -> list[CellSpec]:
    """Return every cell that a search of this experiment can train."""
    cheap = [rung for rung in rungs_of(experiment) if not rung.final]
    rungs = [cells_of(experiment, data_digest, shape, rung) for rung in cheap]
    return [cell for cells in (cells_of(experiment, data_digest, shape), *rungs) for cell in cells]


def _target(field: str, registry: Any, values: dict[str, Any]) -> str:
    if values.get("kind") not in registry:
        raise unknown(field, values.get("kind"), registry)
    return str(registry[values["kind"]].target)


def identity_key(identity: dict[str, Any]) -> str:
    return sha256_bytes(canonical_json(identity))


def digest_of(file: Path, stage: str) -> str:
    """The digest that a data stage wrote into its JSON file."""
    if not file.is_file():
        raise SgmError(f"{file} does not exist; make the stage {stage} first (dvc repro)")
    values = read_json(file)
    if not isinstance(values, dict) or not isinstance(values.get("digest"), str):
        raise SgmError(f"{file} holds no digest; make the stage {stage} again (dvc repro -f)")
    return str(values["digest"])
