"""The grid of one experiment: every cell, then its report.

    jobs -> a task per cell (as many at once as the executor has slots) -> leaderboard and report

A failing cell leaves the others to finish; they are recorded and reported, and then the flow ends
by naming what failed. Results are read from the store, never from Prefect.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner

from flows.artifacts import leaderboard_artifact
from flows.cell import Observed, devices, entered, jobs_in, metric_of, run_cell
from flows.progress import display
from flows.project import Project
from flows.reporting import write_report
from flows.setup import initialise
from flows.tracking import Tracking
from sgm_core.errors import SgmError

if TYPE_CHECKING:
    from flows.executors import CellExecutor
    from sgm_core.cell import Job


class GridFailed(SgmError):
    """Cells failed, or could not be logged; whatever could finish is finished and reported."""


@flow(
    name="grid", flow_run_name="grid {experiment}", persist_result=False, validate_parameters=False
)
def grid(experiment: str, root: str = ".") -> list[str]:
    """Run every cell of an experiment and write its report; return the names of its cells.

    Args:
        experiment: name of the experiment.
        root: the project's folder.

    Raises:
        GridFailed: at least one cell failed; the message names all of them.
        SgmError: the data stages have not run, or the report could not be written.
    """
    from flows.executors import default_executor

    project, log = Project.find(Path(root)), get_run_logger()
    initialise(project, prefect=False)
    jobs = jobs_in(project, experiment)
    metric = metric_of(project, experiment)
    tracking, parent, away = _tracking(project, experiment, list(jobs.values()))
    log.info("%s: %d cells, ranked by %s on validation", experiment, len(jobs), metric)
    first = next(iter(jobs.values()))
    with (
        display(len(jobs)) as shown,
        entered(default_executor(len(jobs), **devices(first))) as executor,
    ):
        observed = Observed(executor, tracking, parent, shown, metric)
        shown.say(f"{experiment}: {len(jobs)} cells, {executor.slots} at once")
        _run_all(executor, observed, jobs)
    table = write_report(project, experiment, jobs, observed.outcomes, observed.failures)
    leaderboard_artifact(experiment, table)
    untracked = [away] if away else list(observed.untracked)
    if tracking is not None:
        try:
            tracking.grid_result(parent, project.report(experiment), bool(observed.failures))
        except SgmError as error:
            untracked.append(str(error))
    problems = [text for _, text in sorted(observed.failures.items())]
    if problems:
        done = f"{len(observed.outcomes)} of {len(jobs)} cells of {experiment} are finished"
        text = "; ".join(problems + untracked[:1])  # MLflow's reason is the same for all of them
        raise GridFailed(f"{done} and reported; failed: {text}")
    if untracked:
        raise GridFailed(untracked[0])
    return list(jobs)


def _run_all(executor: CellExecutor, observed: Observed, jobs: dict[str, Job]) -> None:
    """Submit a task per cell to a bounded pool and wait for all of them, failed or not.

    A task that ends without a word from its cell (Prefect itself failed) is a failure too.
    """
    pool: ThreadPoolTaskRunner[State[Any]] = ThreadPoolTaskRunner(max_workers=executor.slots)
    with pool as runner:
        futures = {
            name: runner.submit(run_cell, {"name": name, "observed": observed, "job": job}, set())
            for name, job in jobs.items()
        }
        for name, future in futures.items():
            reason = _ended(future)
            if name not in observed.outcomes and name not in observed.failures:
                observed.lost(name, reason)


def _ended(future: PrefectFuture[Any]) -> str:
    """Wait for a task, and say how it ended."""
    try:
        future.wait()
        return future.state.message or f"its task ended as {future.state.name}"
    except Exception as error:
        return str(error) or type(error).__name__


def _tracking(
    project: Project, experiment: str, jobs: list[Job]
) -> tuple[Tracking | None, str, str]:
    """Open MLflow; while it is away the cells are computed all the same, and the error is kept."""
    try:
        tracking = Tracking(project, experiment)
        return tracking, tracking.parent(jobs), ""
    except SgmError as error:
        return None, "", str(error)
