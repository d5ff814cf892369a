"""The flow `cells`: a chunk of jobs on an agent of a work pool (see `flows.pool`)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Completed, Crashed, Failed

from flows.agreement import refusal
from flows.executors import LocalProcesses, Stopped
from flows.progress import logged
from flows.project import Project
from flows.pulling import pull_data
from flows.stacking import train_stacks
from sgm_core.device import gpus
from sgm_core.errors import SgmError, UsageError
from sgm_core.job import Job


@flow(name="cells", flow_run_name="{label}", persist_result=False, validate_parameters=False)
def cells(
    jobs: list[str], label: str, expected: list[dict[str, str]], asked: dict[str, str]
) -> State[Any]:
    """Compute jobs one after the other; results go into the store that they name.

    One that fails leaves the others to finish; the message of the state tells why, by `Job.label`.

    Args:
        jobs: as `Job.to_json` writes them.
        label: how the run is called.
        expected: for each job its label as `name`, its `key` (`flows.agreement`) and the digest of its
            `reference`.
        asked: `flows.agreement.origin` of the grid.
    """
    log, failures = get_run_logger(), {}
    emit, project = logged(log), Project.find()
    keys = {wanted["name"]: wanted["key"] for wanted in expected}
    # A cell gets all GPUs of this worker: there may be several (`training.devices`).
    with LocalProcesses(1, [",".join(gpus())]) as executor:
        agreed: dict[str, Job] = {}
        for text, wanted in zip(jobs, expected, strict=True):
            try:
                agreed[wanted["name"]] = _agreed(text, wanted, asked, project, log.info)
            except SgmError as error:
                failures[wanted["name"]] = str(error)
                log.error("%s", error)
        try:
            train_stacks(executor, list(agreed.values()), lambda _, event: emit(event))
            for name, job in agreed.items():
                try:
                    # The checkout may have changed since the chunk began.
                    if reason := refusal(job, keys[name], asked):
                        raise SgmError(reason)
                    outcome = executor.run(job, emit)
                    log.info("%s: %s", name, "found in the store" if outcome.cached else "finished")
                except Stopped:
                    raise
                except SgmError as error:
                    failures[name] = str(error).removeprefix(f"cell {job.spec.name}: ")
                    log.error("%s", error)
        except Stopped as error:
            return Crashed(message=str(error))  # another agent goes on with it
    if failures:
        return Failed(message=json.dumps(failures))
    return Completed(message=f"{len(jobs)} cells")


def _agreed(
    text: str,
    wanted: dict[str, str],
    asked: dict[str, str],
    project: Project,
    log: Callable[[str], None],
) -> Job:
    """Read a job, get its data, and make sure that it is here what it is for the grid.

    Raises:
        SgmError: the data cannot be got, or it would be another cell here.
    """
    try:
        job = Job.from_json(text)
    except UsageError:  # another commit writes other jobs
        raise SgmError(refusal(None, "", asked)) from None
    pull_data(project, job.dataset.name, log, job.spec.data_digest, wanted["reference"])
    if reason := refusal(job, wanted["key"], asked):
        raise SgmError(reason)
    return job
