"""The flow `cells`: a chunk of jobs on an agent of a work pool (see `flows.pool`)."""

from __future__ import annotations

import json
from typing import Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.states import Completed, Crashed, Failed

from flows.executors import LocalProcesses, Stopped
from flows.progress import logged
from flows.project import Project
from flows.pulling import pull_data
from sgm_core.device import gpus
from sgm_core.errors import SgmError
from sgm_core.job import Job


@flow(name="cells", flow_run_name="{label}", persist_result=False, validate_parameters=False)
def cells(jobs: list[str], label: str) -> State[Any]:
    """Compute jobs one after the other; results go into the store that they name.

    One that fails leaves the others to finish; the message of the state tells why, by cell.

    Args:
        jobs: as `Job.to_json` writes them.
        label: how the run is called.
    """
    log, failures = get_run_logger(), {}
    emit, project = logged(log), Project.find()
    # A cell gets all GPUs of this worker: there may be several (`training.devices`).
    with LocalProcesses(1, [",".join(gpus())]) as executor:
        for text in jobs:
            job = Job.from_json(text)
            name = job.spec.name
            try:
                pull_data(project, job.dataset.name, log.info, job.spec.data_digest)
                outcome = executor.run(job, emit)
                log.info("%s: %s", name, "found in the store" if outcome.cached else "finished")
            except Stopped as error:
                return Crashed(message=str(error))  # another agent goes on with it
            except SgmError as error:
                failures[name] = str(error).removeprefix(f"cell {name}: ")
                log.error("%s", error)
    if failures:
        return Failed(message=json.dumps(failures))
    return Completed(message=f"{len(jobs)} cells")
