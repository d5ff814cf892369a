"""The whole lifecycle of experiments as one flow: data -> reference -> grid -> publish.

The same stages that `dvc repro` runs, for a schedule or for people without DVC. Each stage
decides for itself, from digests, whether anything is left to do.
"""

from __future__ import annotations

from pathlib import Path

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE

from flows import stages
from flows.grid import GridFailed, grid
from flows.project import Project
from flows.publish import publish
from flows.setup import initialise
from sgm_core.errors import SgmError


@flow(name="lifecycle", persist_result=False, validate_parameters=False)
def lifecycle(
    experiments: list[str] | None = None,
    root: str = ".",
    allow_failures: bool = False,
    publishing: bool = True,
    data: bool = True,
) -> list[str]:
    """Run experiments from raw data to the registry; return what was decided on each.

    One experiment that fails leaves the others to finish.

    Args:
        experiments: their names (None: the active ones of params.yaml).
        root: the project's folder.
        allow_failures: publish the best finished cell although another one failed.
        publishing: whether to publish at all.
        data: whether to run the data stages first (DVC has done so already).

    Raises:
        SgmError: at least one experiment failed; the message tells which and why.
    """
    project, log = Project.find(Path(root)), get_run_logger()
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


def _one(
    project: Project, name: str, data: bool, allow_failures: bool, publishing: bool
) -> list[str]:
    root = str(project.root)
    if data:
        prepare_data(name, root)
        prepare_reference(name, root)
    return _grid_and_publish(project, name, allow_failures, publishing)


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
