"""One cell under observation: the work is the executor's, Prefect and MLflow watch.

    executor.run(job, emit)  --events-->  display, Prefect's log (rarely), MLflow (in batches)

`run_cell` is the task of the embedded grid; the flow `cell` is the same as a deployment, for a
work pool whose agents share the state folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.artifacts import cell_artifact
from flows.longest import Costs
from flows.progress import Display, logged
from flows.project import Project
from flows.pulling import pull_data
from flows.searching import all_jobs
from flows.setup import initialise
from flows.tracking import CellRun, Tracking
from sgm_core.cell import Outcome
from sgm_core.errors import SgmError, UsageError, unknown
from sgm_core.evaluate.names import main_metric
from sgm_core.store.files import read_json

if TYPE_CHECKING:
    from flows.executors import CellExecutor
    from flows.turns import Turns
    from sgm_core.cell import Job


class Observed:
    """What the cells of one grid share: executor, MLflow runs, display, and their results.

    Attributes:
        turns: told when a cell's work is done, if its grid hands out turns.
        costs: of finished cells, which tell what others will take.
        outcomes: the finished cells by name.
        failures: name -> why it failed, beginning with the name.
        untracked: messages of MLflow's failures; the cells themselves are finished.
    """

    def __init__(
        self,
        executor: CellExecutor,
        tracking: Tracking | None,
        parent: str,
        display: Display,
        metric: str,
    ) -> None:
        self.executor, self.display, self.metric = executor, display, metric
        self.tracking, self.parent = tracking, parent
        self.turns: Turns | None = None
        self.costs = Costs()
        self.outcomes: dict[str, Outcome] = {}
        self.failures: dict[str, str] = {}
        self.untracked: list[str] = []

    def run(self, job: Job, log: Any) -> Outcome:
        """Work on one cell.

        Raises:
            SgmError: the cell failed; it is in `failures`.
        """
        name = job.spec.name
        try:
            if self.tracking is None:
                outcome, run_id = self._work(job, log, None), ""
            else:
                with CellRun(self.tracking, self.parent, job) as run:
                    outcome, run_id = self._tracked(job, log, run)
        except Exception as error:
            self.lost(name, str(error).removeprefix(f"cell {name}: ") or type(error).__name__)
            raise
        self.outcomes[name] = outcome
        self.display.done(name, summary_line(outcome, self.metric))
        cell_artifact(outcome, run_id, self.tracking)
        return outcome

    def lost(self, name: str, reason: str) -> None:
        """Note and show that a cell failed."""
        self.failures[name] = f"{name}: {reason}"
        self.display.done(name, f"FAILED: {reason}")

    def _tracked(self, job: Job, log: Any, run: CellRun) -> tuple[Outcome, str]:
        try:
            outcome = self._work(job, log, run)
        except Exception as error:
            run.fail(str(error))
            raise
        try:
            return outcome, run.finish(outcome)
        except SgmError as error:
            self.untracked.append(str(error))
            return outcome, ""

    def _work(self, job: Job, log: Any, run: CellRun | None) -> Outcome:
        tell = logged(log)

        def emit(event: dict[str, Any]) -> None:
            self.display.event(job.spec.name, event)
            if run is not None:
                run.event(event)
            tell(event)

        try:
            outcome = self.executor.run(job, emit)
            self.costs.add(outcome)
            return outcome
        finally:
            if self.turns is not None:
                self.turns.give(job.spec.name)


@task(name="cell", task_run_name="{name}", cache_policy=NO_CACHE, persist_result=False)
def run_cell(name: str, observed: Observed, job: Job) -> State[Any]:
    """Run one cell as a task; a cell that was finished already ends in the state "Cached"."""
    log = get_run_logger()
    outcome = observed.run(job, log)
    text = summary_line(outcome, observed.metric)
    log.info("%s", text)
    return Completed(name="Cached" if outcome.cached else "Completed", message=text)


@flow(
    name="cell",
    flow_run_name="{experiment}-{name}",
    persist_result=False,
    validate_parameters=False,
)
def cell(experiment: str, name: str, root: str = ".") -> State[Any]:
    """Run one cell of an experiment, as a deployment.

    Args:
        experiment: name of the experiment.
        name: name of the cell, e.g. "vp-mlp-s0".
        root: the project's folder.
    """
    from flows.executors import default_executor, devices

    project = Project.find(Path(root))
    initialise(project, prefect=False)
    pull_data(project, experiment, get_run_logger().info)
    jobs = all_jobs(project, experiment)
    if name not in jobs:
        raise unknown("cell", name, jobs)
    tracking = Tracking(project, experiment)
    parent = tracking.parent(jobs.values())
    metric = metric_of(project, experiment)
    with entered(default_executor(1, **devices(jobs[name]))) as executor:
        observed = Observed(executor, tracking, parent, Display(), metric)
        outcome = observed.run(jobs[name], get_run_logger())
    if observed.untracked:
        raise SgmError(observed.untracked[0])
    text = summary_line(outcome, metric)
    return Completed(name="Cached" if outcome.cached else "Completed", message=text)


def metric_of(project: Project, experiment: str) -> str:
    """Return the metric that ranks the cells of an experiment.

    Raises:
        UsageError: selection.metric does not exist for this data.
    """
    wanted = project.config().experiment(experiment).selection.metric
    meta = read_json(project.prepared(experiment) / "dataset.json")
    try:
        return main_metric(meta["kind"], wanted, meta["source"], bool(meta["labels"]))
    except UsageError as error:
        raise UsageError(f"experiments.{experiment}.selection.metric: {error}") from None


@contextmanager
def entered(executor: CellExecutor) -> Iterator[CellExecutor]:
    """Enter an executor if it is a context manager (it then ends its workers on a signal)."""
    if isinstance(executor, AbstractContextManager):
        with executor:
            yield executor
    else:
        yield executor


def summary_line(outcome: Outcome, metric: str) -> str:
    """Return a finished cell as one line: cached or trained, its main metric, its cost."""
    measured = read_json(outcome.evaluation.path / "metrics.json")
    values = {row["split"]: row["value"] for row in measured["rows"] if row["metric"] == metric}
    value = values.get("validation")
    shown = "is not finite" if value is None else f"{value:.4g}"
    seconds = outcome.cell.manifest["seconds"] + outcome.evaluation.manifest["seconds"]
    how = "found in the store" if outcome.cached else f"finished in {seconds:.0f} s"
    return f"{how}, {metric} {shown} on validation"
