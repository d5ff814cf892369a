"""Publish the best finished cell of an experiment: register it, decide on the champion.

The cell is chosen on the validation split, the decision about the champion falls on the test split.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import flow, get_run_logger

from flows.cell import jobs_in
from flows.lineage import lineage
from flows.packaging import PICTURES, log_model
from flows.project import Project
from flows.registry import SAMPLING, WEIGHTS, Candidate, Decision, model_name, submit
from flows.setup import initialise
from flows.tracking import CellRun, Tracking
from sgm_core.cell import CELLS, EVALUATIONS, lookup
from sgm_core.errors import SgmError
from sgm_core.store import Store
from sgm_core.store.files import canonical_json, read_json

if TYPE_CHECKING:
    from sgm_core.cell import Job, Outcome
    from sgm_core.config import ExperimentConfig


@flow(
    name="publish",
    flow_run_name="publish {experiment}",
    persist_result=False,
    validate_parameters=False,
)
def publish(experiment: str, root: str = ".", allow_failures: bool = False) -> str:
    """Register the best cell of an experiment and return what was decided, as a sentence.

    Args:
        experiment: name of the experiment.
        root: the project's folder.
        allow_failures: publish the best finished cell although others are not finished.

    Raises:
        SgmError: a cell is not finished, no cell can be chosen, or MLflow failed.
    """
    project, log = Project.find(Path(root)), get_run_logger()
    initialise(project, prefect=False)
    decision = publish_best(project, experiment, allow_failures, log.info)
    text = sentence(decision)
    log.info("%s", text)
    return text


def publish_best(
    project: Project, experiment: str, allow_failures: bool, log: Callable[[str], None]
) -> Decision:
    """Do the work of the flow `publish`; the same errors."""
    config, jobs = project.config().experiment(experiment), jobs_in(project, experiment)
    found = {name: lookup(job) for name, job in jobs.items()}
    outcomes = {name: outcome for name, outcome in found.items() if outcome is not None}
    missing = sorted(set(jobs) - set(outcomes))
    if missing and not (allow_failures and outcomes):
        raise SgmError(
            f"{experiment}: {len(missing)} of {len(jobs)} cells are not finished "
            f"({', '.join(missing)}); run: sgm grid {experiment}"
            + (", or publish with --allow-failures" if outcomes else "")
        )
    name, metric, reason = _choose(config, outcomes)
    job, outcome = jobs[name], outcomes[name]
    tags = lineage(project, outcome) | {SAMPLING: canonical_json(job.sampling).decode()}

    def card(version: int, *pictures: str) -> str:
        from sgm_core.report.card import model_card

        model = model_name(experiment)
        return model_card(model, version, config, outcome, reason, tags, pictures=pictures)

    tracking = Tracking(project, experiment)
    with CellRun(tracking, tracking.parent(jobs.values()), job) as run:
        run_id = run.finish(outcome)
    candidate = Candidate(
        experiment=experiment,
        metric=metric,
        value=_value(outcome.evaluation.path, metric),
        lower=_lower(metric),
        tags=tags,
        card=card,
        run_id=run_id,
        upload=lambda version: log_model(
            tracking, run_id, outcome, job.sampling, card(version, *PICTURES)
        ),
        measure=lambda version: measure(
            project, tracking, version, _against(version, job, tags), metric, log
        ),
    )
    with tracking.errors():
        return submit(project, tracking.client, candidate, config.selection.min_improvement)


def measure(
    project: Project,
    tracking: Tracking,
    version: Any,
    job: Job,
    metric: str,
    log: Callable[[str], None],
) -> float | None:
    """Measure a registered version with the settings of `job`, on its data; None if it cannot be.

    The measurement is an entry of the store like any other: a champion whose cell is in the grid
    is not measured twice.

    Raises:
        SgmError: the version's files are missing or were altered.
    """
    store, key = Store(project.store), str(version.tags.get("sgm.cell_key", ""))
    entry = store.find(CELLS, key) if key else None
    folder = entry.path if entry is not None else download(tracking, version)
    trained_on = read_json(folder / "config.json")["data"]
    meta = read_json(job.dataset / "dataset.json")
    if (trained_on["kind"], trained_on["shape"]) != (meta["kind"], meta["shape"]):
        return None
    spec = job.evaluation_spec(key or str(version.tags[WEIGHTS]))

    def build(work: Path) -> dict[str, Any]:
        from sgm_core.evaluate.run import evaluate

        log(f"measuring version {version.version} of {version.name} on the same data")
        settings = job.sampling, job.evaluation
        return evaluate(folder, job.dataset, job.reference, *settings, work, lambda event: None)

    describe = {"name": f"version {version.version}", **spec.identity()}
    try:
        evaluation = store.ensure(EVALUATIONS, spec.key, build, describe)
    except SgmError as error:
        raise SgmError(
            f"version {version.version} of {version.name} could not be measured again: {error}"
        ) from error
    return _value(evaluation.path, metric)


def _against(version: Any, job: Job, tags: dict[str, str]) -> Job:
    """Return the job with the settings that a version is measured with.

    They are those of the new model; one of the same weights differs in its own sampling only.
    """
    if version.tags.get(WEIGHTS) != tags[WEIGHTS] or SAMPLING not in version.tags:
        return job
    return replace(job, sampling=json.loads(version.tags[SAMPLING]))


def download(tracking: Tracking, version: Any) -> Path:
    """Return a local folder with the model files of a registered version."""
    import mlflow

    with tracking.errors():
        mlflow.set_tracking_uri(tracking.project.tracking_uri)
        uri = f"models:/{version.name}/{version.version}"
        folder = Path(mlflow.artifacts.download_artifacts(f"{uri}/artifacts/model"))
    if not (folder / "config.json").is_file():
        raise SgmError(f"{uri} holds no model of this project; restore its artifacts")
    return folder


def sentence(decision: Decision) -> str:
    """Return a decision as one line."""
    name = f"{decision.model} version {decision.version}"
    if decision.action == "promoted":
        return f"{name} is the new champion: {decision.reason}"
    if decision.action == "unchanged":
        return f"{name} stays the champion: {decision.reason}"
    if decision.champion is None:
        return f"{name} is not promoted: {decision.reason}"
    return f"{name} is the challenger of version {decision.champion}: {decision.reason}"


def _choose(config: ExperimentConfig, outcomes: dict[str, Outcome]) -> tuple[str, str, str]:
    """Return the chosen cell, the ranking metric, and why it was chosen."""
    from sgm_core.report import leaderboard as board

    frame = board.leaderboard(outcomes.values(), [], config)
    choice = board.choose(frame, config.selection, frame.attrs["kind"])
    if choice.cell is None:
        why = "; ".join(f"{cell}: {text}" for cell, text in choice.excluded.items())
        raise SgmError(f"{config.name}: no cell can be published ({why})")
    return choice.cell, str(frame.attrs["metric"]), choice.reason


def _value(evaluation: Path, metric: str) -> float:
    rows = read_json(evaluation / "metrics.json")["rows"]
    values = [r["value"] for r in rows if r["metric"] == metric and r["split"] == "test"]
    return math.nan if not values or values[0] is None else float(values[0])


def _lower(metric: str) -> bool:
    from sgm_core.evaluate.names import METRICS

    return METRICS[metric].better == "lower"
