"""The job: a cell, what is measured on it, and where its inputs and results lie."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sgm_core.config.custom import folder_of
from sgm_core.config.experiment import ExperimentConfig
from sgm_core.device import device_class
from sgm_core.errors import UsageError, unknown
from sgm_core.evaluate.names import METRICS, main_metric
from sgm_core.sample.names import SAMPLERS
from sgm_core.search import Pair, Rung
from sgm_core.spec import CellSpec, EvaluationSpec, cells_of, digest_of
from sgm_core.store.files import read_json

# What measures a finished cell; each is called with the arguments of the first.
EVALUATE = "sgm_core.evaluate.run:evaluate"
SCORE = "sgm_core.evaluate.score:score"
BUNDLE = "sgm_core.export.make:make_bundle"
COMPARE_SAMPLERS = "sgm_core.evaluate.samplers:compare_samplers"


@dataclass(frozen=True)
class Job:
    """A cell and where its inputs and results lie: all that a worker process is told.

    Attributes:
        dataset, reference: folders of the prepared dataset and of its reference statistics.
        store: root of the content-addressed store.
        sampling, evaluation: all fields of SamplingConfig and EvaluationConfig.
        modules: folder of the modules of custom processes, if there are any.
        task: what measures the finished cell, "module:function"; it is called as
            `sgm_core.evaluate.run.evaluate` is.
    """

    spec: CellSpec
    checkpoint_every: int
    dataset: Path
    reference: Path
    store: Path
    sampling: dict[str, Any]
    evaluation: dict[str, Any]
    modules: Path | None = None
    task: str = EVALUATE

    @property
    def label(self) -> str:
        """What it is called among the jobs of its grid: its cell, or samplers of its cell."""
        if self.task != COMPARE_SAMPLERS:
            return self.spec.name
        return f"{', '.join(self.evaluation['samplers'])} of {self.spec.name}"

    def to_json(self) -> str:
        """The job as JSON, with absolute paths."""
        values = asdict(self)
        for name in self._paths(values):
            values[name] = str(Path(values[name]).absolute())
        return json.dumps(values, sort_keys=True, indent=1, allow_nan=False) + "\n"

    def to_line(self) -> str:
        """The job as one line."""
        return " ".join(self.to_json().split("\n")) + "\n"

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
            task=self.task,
            cell_key=cell_key,
            sampler=SAMPLERS[name],
            sampling=self.sampling,
            evaluation=self.evaluation,
            reference_digest=reference,
            data_digest=self.spec.data_digest,
        )


def jobs_of(
    experiment: ExperimentConfig,
    dataset: Path,
    reference: Path,
    store: Path,
    rung: Rung | None = None,
    pairs: Sequence[Pair] | None = None,
) -> list[Job]:
    """Return the jobs of an experiment's grid, in grid order.

    Args:
        dataset, reference: folders as written by the data stages.
        store: root of the store.
        rung, pairs: see `cells_of`.

    Raises:
        UsageError: see `cells_of`.
        SgmError: the prepared dataset is missing or not readable.
    """
    digest = digest_of(dataset / "dataset.json", "dataset")
    meta = read_json(dataset / "dataset.json")
    try:
        wanted = experiment.selection.metric
        main = main_metric(meta["kind"], wanted, str(meta.get("source", "")), bool(meta["labels"]))
    except UsageError as error:
        raise UsageError(f"experiments.{experiment.name}.selection.metric: {error}") from None
    kinds = [p.kind for p in experiment.processes.values()] + list(experiment.evaluation.under)
    shape, modules = meta.get("shape"), folder_of(kinds)
    cells = cells_of(experiment, digest, shape, rung, pairs)
    evaluation = {
        **experiment.evaluation.model_dump(mode="json", exclude={"samplers"}),
        "metric": experiment.selection.metric,
        "device": device_class(experiment.training.device),
    }
    if rung is not None and not rung.final:
        evaluation |= _cheap(evaluation, main)
    return [
        Job(
            spec=spec,
            checkpoint_every=experiment.training.checkpoint_every,
            dataset=dataset,
            reference=reference,
            store=store,
            sampling=experiment.sampling.model_dump(mode="json"),
            evaluation=evaluation,
            modules=modules,
        )
        for spec in cells
    ]


def _cheap(evaluation: Mapping[str, Any], main: str) -> dict[str, Any]:
    """What is measured in a cheap rung: the validation split alone, and no more than ranks cells."""
    of_model = METRICS[main].of == "model"
    fewest = evaluation["samples"] if main == "fd_inf" else evaluation["curve_samples"]
    return {
        "splits": ["validation"],
        "samples": min(evaluation["samples"], fewest),  # fd_inf may need more than a curve has
        "likelihood_items": evaluation["likelihood_items"] if of_model else 0,
        "nfe_curve": [],
        "under": [],
        "pictures": False,
    }
