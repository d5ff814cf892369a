"""The whole lifecycle of experiments as one flow: data -> reference -> grid -> publish.

The same stages that `dvc repro` runs, for a schedule or for people without DVC. Each stage
decides for itself, from digests, whether anything is left to do.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from flows import stages
from flows.grid import GridFailed, grid
from flows.project import Project
from flows.publish import publish
from flows.settled import inputs_of, settle, settled
from flows.setup import initialise
from sgm_core.errors import SgmError


@flow(name="lifecycle", persist_result=False, validate_parameters=False)
def lifecycle(
    experiments: list[str] | None = None,
    root: str = ".",
    allow_failures: bool = False,
    publishing: bool = True,
    data: bool = True,
    most_late_hours: float = 12.0,
) -> list[str] | State[Any]:
    """Run experiments from raw data to the registry; return what was decided on each.

    One experiment that fails leaves the others to finish.

    Args:
        experiments: their names (None: the active ones of params.yaml).
        root: the project's folder.
        allow_failures: publish the best finished cell although another one failed.
        publishing: whether to publish at all.
        data: whether to run the data stages first (DVC has done so already).
        most_late_hours: a scheduled run that starts later than this is skipped: after a long outage
            one run is wanted and not one for every night.

    Raises:
        SgmError: at least one experiment failed; the message tells which and why.
    """
    log = get_run_logger()
    late = lateness()
    if late > timedelta(hours=most_late_hours):
        text = f"{late.total_seconds() / 3600:.1f} h late; skipped above {most_late_hours:g} h"
        log.warning("%s", text)
        return Completed(name="Skipped", message=text)
    project = Project.find(Path(root))
    initialise(project, prefect=False)
    config = project.config()
    names = list(experiments or config.active)
    for name in names:
        config.experiment(name)
    decisions, problems = [], []
    for name in names:
        try:
            decisions += _one(project, name, data, allow_failures, publishing)
        except SgmError as error:
            problems.append(error)
            log.error("%s", error)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise SgmError("; ".join(str(problem) for problem in problems))
    return decisions


def lateness() -> timedelta:
    """Return how long after its scheduled time the present flow run started."""
    due = flow_run.scheduled_start_time
    return timedelta(0) if due is None else datetime.now(UTC) - due


def _one(
    project: Project, name: str, data: bool, allow_failures: bool, publishing: bool
) -> list[str]:
    done = settled(project, name, publishing, data)
    if done is not None:
        get_run_logger().info("%s", done)
        print(done, flush=True)
        return [done.decision] if publishing else []
    root, inputs = str(project.root), inputs_of(project, name)
    if data:
        prepare_data(name, root)
        prepare_reference(name, root)
    decisions = _grid_and_publish(project, name, allow_failures, publishing)
    with suppress(SgmError, OSError):  # without the stamp the next run only takes longer
        settle(project, name, inputs, decisions[0] if decisions else "", data)
    return decisions


def _grid_and_publish(
    project: Project, name: str, allow_failures: bool, publishing: bool
) -> list[str]:
    """Run the grid and publish its best cell; after a failure publish only if that is allowed."""
    root, failed = str(project.root), None
    try:
        grid(name, root)
    except GridFailed as error:
        if not (allow_failures and publishing):
            raise
        failed = error
    decisions = [publish(name, root, allow_failures)] if publishing else []
    for text in decisions:
        print(text, flush=True)
    if failed is not None:
        raise failed
    return decisions


@task(name="prepare", task_run_name="prepare-{name}", cache_policy=NO_CACHE, persist_result=False)
def prepare_data(name: str, root: str) -> bool:
    """Prepare the data of an experiment; False if it was up to date."""
    return stages.prepare(Project.find(Path(root)), name)


@task(
    name="reference", task_run_name="reference-{name}", cache_policy=NO_CACHE, persist_result=False
)
def prepare_reference(name: str, root: str) -> bool:
    """Prepare its reference statistics; False if they were up to date."""
    return stages.reference(Project.find(Path(root)), name)
