"""The grid of one experiment: every cell, then its report.

    rung -> a task per cell (as many at once as the executor has slots) -> the best pairs -> next rung
         -> the chosen cell under every sampler -> leaderboard and report

A failing cell leaves the others to finish; they are recorded and reported, and then the flow ends
by naming what failed. Results are read from the store, never from Prefect.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.futures import PrefectConcurrentFuture, PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner

from flows.artifacts import leaderboard_artifact
from flows.cell import Observed, entered, metric_of, run_cell
from flows.executors import Stopped, devices
from flows.progress import Display, display
from flows.project import Project
from flows.reporting import write_report
from flows.searching import Searched, all_jobs, compared_samplers, search
from flows.setup import initialise
from flows.stacking import train_stacks
from flows.tracking import Tracking
from flows.turns import TELLING, Turns
from sgm_core.errors import SgmError
from sgm_core.search import plan_in_words, rungs_of
from sgm_core.store.files import read_json

if TYPE_CHECKING:
    from flows.executors import CellExecutor
    from sgm_core.cell import Job, Outcome
    from sgm_core.config import ExperimentConfig


SAMPLERS_RESULT = "samplers.json"


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
    config, jobs = project.config().experiment(experiment), all_jobs(project, experiment)
    metric, rungs = metric_of(project, experiment), rungs_of(config)
    tracking, parent, away = _tracking(project, experiment, list(jobs.values()))
    count = sum(rung.pairs * len(rung.seeds) for rung in rungs)
    log.info("%s: %d cells, ranked by %s on validation", experiment, count, metric)
    first, most = next(iter(jobs.values())), max(rung.pairs * len(rung.seeds) for rung in rungs)
    with (
        display(count) as shown,
        entered(default_executor(most, **devices(first))) as executor,
    ):
        observed = Observed(executor, tracking, parent, shown, metric)
        shown.say(f"{experiment}: {plan_in_words(config)}, {executor.slots} at once")

        def run(due: Mapping[str, Job]) -> dict[str, Outcome]:
            train_stacks(executor, list(due.values()), shown.event, shown.drop)
            _run_all(executor, observed, due)
            return {name: observed.outcomes[name] for name in due if name in observed.outcomes}

        searched = search(project, experiment, run)
        samplers, missed = _compare_samplers(config, searched, executor, shown)
        failures = observed.failures
        table = write_report(project, searched, failures, experiment, samplers, executor)
    leaderboard_artifact(experiment, table)
    untracked = [away] if away else list(observed.untracked)
    if tracking is not None:
        try:
            tracking.grid_result(parent, project.report(experiment), bool(observed.failures))
        except SgmError as error:
            untracked.append(str(error))
    problems = [text for _, text in sorted(observed.failures.items())]
    if not searched.complete:
        problems.append("no cell of the cheap rungs can be chosen, so none was trained in full")
    problems += [missed] if missed else []
    if problems:
        done = f"{len(observed.outcomes)} of {len(searched.all_jobs)} cells of {experiment}"
        text = "; ".join(problems + untracked[:1])  # MLflow's reason is the same for all of them
        raise GridFailed(f"{done} are finished and reported; failed: {text}")
    if untracked:
        raise GridFailed(untracked[0])
    return list(searched.jobs)


def _compare_samplers(
    config: ExperimentConfig, searched: Searched, executor: CellExecutor, shown: Display
) -> tuple[dict[str, Any] | None, str]:
    """Measure the chosen cell under every sampler, as many at once as there are slots; return the
    results as one and which are missing, and why.

    Both are empty if no cell is chosen or no sampler is asked for.
    """
    measured: list[dict[str, Any]] = []
    missing: list[str] = []

    def run(job: Job) -> Outcome | str:
        try:
            return executor.run(job, lambda event: shown.event(job.label, event))
        except Stopped:
            raise
        except SgmError as error:  # the cells are finished; their report must not be lost with it
            return f"{job.label}: {str(error).removeprefix(f'cell {job.spec.name}: ')}"
        finally:
            shown.drop(job.label)

    jobs = compared_samplers(config, searched)
    with ThreadPoolExecutor(executor.slots, "sgm-samplers") as pool:
        for found in (pool.map if executor.slots > 1 else map)(run, jobs):
            if isinstance(found, str):
                missing.append(found)
            else:
                measured.append(read_json(found.evaluation.path / SAMPLERS_RESULT))
    rows = [row for one in measured for row in one["rows"]]
    return ({**measured[0], "rows": rows} if measured else None), "; ".join(missing)


def _run_all(executor: CellExecutor, observed: Observed, jobs: Mapping[str, Job]) -> None:
    """Run a task per cell, as many at once as there are slots, and wait for all, failed or not.

    A task that ends without a word from its cell (Prefect itself failed) is a failure too.
    """
    turns = observed.turns = Turns(executor.slots)
    threads = executor.slots + TELLING
    pool: ThreadPoolTaskRunner[State[Any]] = ThreadPoolTaskRunner(max_workers=threads)
    futures: dict[str, PrefectConcurrentFuture[State[Any]]] = {}
    with pool as runner:
        waiting = dict(jobs)
        while waiting:
            name = turns.take(lambda: observed.costs.longest(waiting))
            task = {"name": name, "observed": observed, "job": waiting.pop(name)}
            futures[name] = runner.submit(run_cell, task, set())
            # A task that ends before its work has begun gives its turn back too.
            futures[name].wrapped_future.add_done_callback(partial(turns.give, name))
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
