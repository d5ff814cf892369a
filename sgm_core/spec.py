"""What a cell is, as plain values, and the keys that its results are found by.

    cell key        = SHA-256 {process, net, training, seed, data digest, code, torch, device class}
    evaluation key  = SHA-256 {cell key, sampling, evaluation, reference digest, data digest, code}

`code` is the hash of the import closure of what does the work (sgm_core.code). The experiment and
the cell's name are labels and not part of a key.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sgm_core.code import closure_hash
from sgm_core.config.custom import ALL_PROCESSES, folder_of
from sgm_core.config.experiment import ExperimentConfig
from sgm_core.config.net import NETS
from sgm_core.device import device_class, torch_release
from sgm_core.errors import SgmError, UsageError, unknown
from sgm_core.evaluate.names import main_metric
from sgm_core.sample.names import SAMPLERS
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

    `sampler` is the sampler's target "module:Class".
    """

    cell_key: str
    sampler: str
    sampling: dict[str, Any]
    evaluation: dict[str, Any]
    reference_digest: str
    data_digest: str

    @property
    def modules(self) -> list[str]:
        """The modules whose import closure is the evaluation's code."""
        others = [ALL_PROCESSES[name].target for name in self.evaluation.get("under", ())]
        targets = [self.sampler, *others]
        return ["sgm_core.evaluate.run", *(target.partition(":")[0] for target in targets)]

    def identity(self) -> dict[str, Any]:
        """Everything that determines the metrics."""
        return {**asdict(self), "code": closure_hash(self.modules)}

    @property
    def key(self) -> str:
        """SHA-256 of the identity."""
        return identity_key(self.identity())


@dataclass(frozen=True)
class Job:
    """A cell and where its inputs and results lie: all that a worker process is told.

    Attributes:
        dataset, reference: folders of the prepared dataset and of its reference statistics.
        store: root of the content-addressed store.
        sampling, evaluation: all fields of SamplingConfig and EvaluationConfig.
        modules: folder of the modules of custom processes, if there are any.
    """

    spec: CellSpec
    checkpoint_every: int
    dataset: Path
    reference: Path
    store: Path
    sampling: dict[str, Any]
    evaluation: dict[str, Any]
    modules: Path | None = None

    def to_json(self) -> str:
        """The job as JSON, with absolute paths."""
        values = asdict(self)
        for name in self._paths(values):
            values[name] = str(Path(values[name]).absolute())
        return json.dumps(values, sort_keys=True, indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Job:
        """Read what `to_json` wrote.

        Raises:
            UsageError: it is not a job.
        """
        try:
            values = json.loads(text)
            values.update({name: Path(values[name]) for name in cls._paths(values)})
            return cls(**{**values, "spec": CellSpec(**values["spec"])})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UsageError(f"not a job ({error}); write one with Job.to_json") from None

    @staticmethod
    def _paths(values: dict[str, Any]) -> list[str]:
        return ["dataset", "reference", "store", *(["modules"] if values.get("modules") else [])]

    def evaluation_spec(self, cell_key: str) -> EvaluationSpec:
        """What is measured on the cell `cell_key` (reads the reference's digest)."""
        reference = digest_of(self.reference / "reference.json", "reference")
        name = self.sampling["sampler"]
        if name not in SAMPLERS:
            raise unknown("sampler", name, SAMPLERS)
        return EvaluationSpec(
            cell_key=cell_key,
            sampler=SAMPLERS[name],
            sampling=self.sampling,
            evaluation=self.evaluation,
            reference_digest=reference,
            data_digest=self.spec.data_digest,
        )


def cells_of(
    experiment: ExperimentConfig, data_digest: str, shape: Sequence[int] | None = None
) -> list[CellSpec]:
    """Return the grid of an experiment: processes x nets x seeds, in the order of params.yaml.

    Args:
        shape: of one item of the dataset ([d] or [C, H, W]); checked against each network.

    Raises:
        UsageError: a network is for another kind of data.
    """
    training = experiment.training.model_dump(mode="json", exclude={"checkpoint_every"})
    training["device"] = device_class(experiment.training.device)
    where = f"experiments.{experiment.name}"
    for label, net in experiment.nets.items():
        if shape is not None and net.data_rank != len(shape):
            kinds = ", ".join(kind for kind, n in NETS.items() if n.data_rank == len(shape))
            raise UsageError(
                f"{where}.nets.{label}: {net.kind!r} does not fit dataset {experiment.dataset!r}, "
                f"whose items have shape {list(shape)}; choose kind: {kinds or 'another'}"
            )
    cells = [
        CellSpec(
            experiment=experiment.name,
            name=f"{process_label}-{net_label}-s{seed}",
            process={"kind": process.kind, **process.model_dump(mode="json")},
            net={"kind": net.kind, **net.model_dump(mode="json")},
            training=training,
            seed=seed,
            data_digest=data_digest,
        )
        for process_label, process in experiment.processes.items()
        for net_label, net in experiment.nets.items()
        for seed in experiment.seeds
    ]
    names = [cell.name for cell in cells]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{where}: two cells would be named {name!r}; rename a label")
    return cells


def jobs_of(experiment: ExperimentConfig, dataset: Path, reference: Path, store: Path) -> list[Job]:
    """Return the jobs of an experiment's grid, in grid order.

    Args:
        dataset, reference: folders as written by the data stages.
        store: root of the store.

    Raises:
        UsageError: see `cells_of`.
        SgmError: the prepared dataset is missing or not readable.
    """
    digest = digest_of(dataset / "dataset.json", "dataset")
    meta = read_json(dataset / "dataset.json")
    try:
        wanted = experiment.selection.metric
        main_metric(meta["kind"], wanted, str(meta.get("source", "")), bool(meta["labels"]))
    except UsageError as error:
        raise UsageError(f"experiments.{experiment.name}.selection.metric: {error}") from None
    kinds = [p.kind for p in experiment.processes.values()] + list(experiment.evaluation.under)
    shape, modules = meta.get("shape"), folder_of(kinds)
    return [
        Job(
            spec=spec,
            checkpoint_every=experiment.training.checkpoint_every,
            dataset=dataset,
            reference=reference,
            store=store,
            sampling=experiment.sampling.model_dump(mode="json"),
            evaluation={
                **experiment.evaluation.model_dump(mode="json"),
                "metric": experiment.selection.metric,
                "device": spec.training["device"],
            },
            modules=modules,
        )
        for spec in cells_of(experiment, digest, shape)
    ]


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
