"""The evidence for a promotion: new model and champion scored on the same test items and seeds.

A score is an entry of the store like any other, with a key over everything that it depends on, so
that the same two models are measured once. The seeds follow from the two models (`common_seed`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.registry import SAMPLING, WEIGHTS
from flows.verify import verified
from sgm_core.cell import CELLS, EVALUATIONS, Emit, check_code
from sgm_core.errors import SgmError
from sgm_core.evaluate.decision import Verdict, common_seed, decide
from sgm_core.evaluate.evidence import Score, load_score
from sgm_core.evaluate.names import METRICS
from sgm_core.job import SCORE
from sgm_core.spec import identity_key
from sgm_core.store.files import os_errors, read_json
from sgm_core.store.shared import store_at

if TYPE_CHECKING:
    from flows.tracking import Tracking
    from sgm_core.cell import Job, Outcome
    from sgm_core.config import ExperimentConfig

Log = Callable[[str], None]
# Fresh samples of a decision, in evaluations of a cell: noise that the two models do not share
# falls with their number, and they are drawn for two models only.
SAMPLES = 4
# What must agree for a model to be measured on this data.
SAME = ("kind", "shape", "labels")


@dataclass(frozen=True)
class Judge:
    """Compares one finished cell with versions of its registered model.

    Attributes:
        metric: the ranking metric.
        tags: of the version that the cell would become.
    """

    tracking: Tracking
    config: ExperimentConfig
    job: Job
    outcome: Outcome
    metric: str
    tags: dict[str, str]
    log: Log
    emit: Emit

    def __call__(self, champion: Any | None) -> Verdict:
        """Return what the numbers say of replacing this version (None: there is no champion).

        Raises:
            SgmError: the champion's files were altered, or a model could not be measured.
        """
        with os_errors(self.job.store):  # or the registry would be blamed for a full disk
            return self._judge(champion)

    def _judge(self, champion: Any | None) -> Verdict:
        better, selection = METRICS[self.metric].better, self.config.selection
        if champion is None:
            own = self._score(self.outcome.cell.path, self.tags, common_seed(_id(self.tags)))
            return decide(own, None, selection, better=better)
        rival = f"version {champion.version}"
        folder = self._folder(champion)
        seed = common_seed(_id(self.tags), _id(champion.tags))
        own = self._score(self.outcome.cell.path, self.tags, seed)
        if not self._fits(folder):
            verdict = decide(own, None, selection, better=better)
            text = f"{rival} cannot be measured on this data"
            if not verdict.promote:
                return verdict
            return replace(verdict, reason=f"{text}, so the new model replaces it")
        self.log(f"measuring {rival} of {champion.name} on the same data and seeds")
        try:
            theirs = self._score(folder, dict(champion.tags), seed)
        except SgmError as error:
            raise SgmError(
                f"{rival} of {champion.name} could not be measured again: {error}"
            ) from error
        return decide(own, theirs, selection, better=better, rival=rival)

    def _score(self, folder: Path, tags: dict[str, str], seed: int) -> Score:
        """Score a model, or find that it was scored."""
        job = replace(self.job, task=SCORE, evaluation=self._evaluation(seed))
        if SAMPLING in tags:  # a version is weights and the sampling that its consumers get
            job = replace(job, sampling=json.loads(tags[SAMPLING]))
        # By the weights: one cell has others on another kind of machine.
        spec = job.evaluation_spec(tags[WEIGHTS])
        identity = spec.identity()

        def build(work: Path) -> dict[str, Any]:
            from sgm_core.evaluate.score import score
            from sgm_core.threads import every_core

            check_code(spec.modules, identity["code"])
            settings = job.sampling, job.evaluation
            with every_core(job.spec.training["threads"]):
                return score(folder, job.dataset, job.reference, *settings, work, self.emit)

        describe = {"name": f"score of {tags.get('sgm.cell', folder.name)}", **identity}
        key = identity_key(identity)
        entry = store_at(job.store).ensure(EVALUATIONS, key, build, describe, self.log)
        return load_score(entry.path)

    def _evaluation(self, seed: int) -> dict[str, Any]:
        selection, evaluation = self.config.selection, self.job.evaluation
        of_model = METRICS[self.metric].of == "model"
        return {
            **{key: evaluation[key] for key in ("batch", "device", "metric")},
            "samples": selection.decision_samples or SAMPLES * evaluation["samples"],
            "seed": seed,
            "bootstrap": selection.decision_bootstrap,
            "splits": ["test"],
            "likelihood_items": evaluation["likelihood_items"] if of_model else 0,
        }

    def _folder(self, version: Any) -> Path:
        """Return a folder with the model of a version, verified: its cell, or what was published."""
        key = str(version.tags.get("sgm.cell_key", ""))
        entry = store_at(self.job.store).find(CELLS, key) if key else None
        published = verified(self.tracking, version)
        if entry is not None and entry.manifest["summary"].get(
            "weights_sha256"
        ) == version.tags.get(WEIGHTS):
            return entry.path
        return published / "artifacts" / "model"

    def _fits(self, folder: Path) -> bool:
        trained_on = read_json(folder / "config.json")["data"]
        meta = read_json(self.job.dataset / "dataset.json")
        return all(trained_on.get(key) == meta.get(key) for key in SAME)


def _id(tags: Any) -> str:
    """What a model is to its seeds: its weights and its sampling."""
    return f"{tags.get(WEIGHTS, '')} {tags.get(SAMPLING, '')}"
