"""Whether anything is left to do for an experiment: found out without torch, Prefect or a look at a cell.

After a run that ended well a stamp in the state folder holds

    inputs   the experiment, its data, the versions of files of code: all that the keys are made from
    files    size, times and inode of every file of every result and of the data
    report   the content of the report: DVC puts copies of it in its place
    index    the run of the grid in MLflow, the aliases of the registered model, the database's state

If all of them hold, the same run would find every cell in the store, write the same report and decide
the same. A file whose size, time of change and inode are those under which its SHA-256 was verified
is counted as it is; one that is *used* (evaluated, sampled, reported, published) is hashed again by
the store before its first byte is believed, as ever. Any doubt means: not settled, and the long way is
gone, where everything is verified.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.bundling import TOOLS
from flows.events import INTENT
from flows.project import SQLITE, Project
from flows.registry import model_name
from flows.searching import all_jobs, compared_samplers, search
from flows.stages import READERS, dataset_of, raw_state, weights_of
from sgm_core.cell import CELLS, EVALUATIONS, lookup
from sgm_core.code import ROOT, outside
from sgm_core.config.custom import is_custom
from sgm_core.device import device_class, torch_release
from sgm_core.errors import SgmError
from sgm_core.store import Store
from sgm_core.store.files import canonical_json, read_json, sha256_bytes, sha256_file, write_json

if TYPE_CHECKING:
    from flows.tracking import Tracking
    from sgm_core.cell import Job, Outcome

FORMAT = 2


@dataclass(frozen=True)
class Settled:
    """An experiment with nothing left to do.

    Attributes:
        cells: how many of its cells are finished.
        decision: what was decided when its best cell was last published; "" if it never was.
    """

    name: str
    cells: int
    decision: str

    def __str__(self) -> str:
        text = f"{self.name}: nothing to do, {self.cells} cells are finished and reported"
        return f"{text}; {self.decision}" if self.decision else text


def settled(project: Project, name: str, publishing: bool, data: bool) -> Settled | None:
    """Return that nothing is left to do, or None: something is, or might be.

    Args:
        publishing: whether the best cell is to be published, too.
        data: whether the data is to be prepared, too.
    """
    with suppress(SgmError, OSError, KeyError, TypeError, ValueError):
        stamp = read_json(_stamp(project, name))
        if (stamp["format"], stamp["data"] or not data) != (FORMAT, True):
            return None
        if publishing and not stamp["decision"]:
            return None
        if stamp["inputs"] != inputs_of(project, name):
            return None
        if any(_state(Path(place)) != state for place, state in stamp["files"].items()):
            return None
        if stamp["report"] == _content(project.report(name)) and _indexed(project, name, stamp):
            return Settled(name, stamp["cells"], stamp["decision"])
    return None


def inputs_of(project: Project, name: str) -> str:
    """Return a hash of everything that decides what a run of this experiment would do."""
    config = project.config()
    experiment, dataset = config.experiment(name), config.dataset(dataset_of(config, name))
    weights = weights_of(project, config, name)
    kinds = [p.kind for p in experiment.processes.values()] + list(experiment.evaluation.under)
    own = outside(kind.partition(":")[0] for kind in kinds if is_custom(kind))
    code = [file for folder in ("sgm_core", "flows") for file in (ROOT / folder).rglob("*.py")]
    values = {
        "experiment": repr(experiment),
        "kinds": [*kinds, *(net.kind for net in experiment.nets.values()), dataset.kind],
        "dataset": dataset.model_dump(mode="json"),
        "raw": raw_state(project.root, dataset),
        "weights": None if weights is None else _state(weights),
        "code": {str(file): _state(file) for file in (*code, *own.values())},
        "versions": {package: version(package) for package in (*READERS, "scipy", *TOOLS)},
        "torch": torch_release(),
        "device": device_class(experiment.training.device),
        "mlflow": project.tracking_uri,
    }
    return sha256_bytes(canonical_json(values))


def settle(project: Project, name: str, inputs: str, decision: str, data: bool) -> None:
    """Note that a run which began with these inputs ended well, once every result is verified.

    Args:
        decision: what was decided on the best cell; "" if it was not published.
        data: whether the data was prepared, or found up to date.
    """
    files = {str(p): _state(p) for p in (project.prepared(name), project.reference(name))}

    def find(jobs: Mapping[str, Job]) -> dict[str, Outcome]:
        found = {key: _verified(project, job, files) for key, job in jobs.items()}
        return {key: outcome for key, outcome in found.items() if outcome is not None}

    searched = search(project, name, find)
    samplers = compared_samplers(project.config().experiment(name), searched)
    compared = all(_verified(project, job, files) is not None for job in samplers)
    if searched.missing or not searched.complete or not compared:
        return
    from flows.tracking import Tracking

    database, tracking = _database(project), Tracking(project, name)
    index = _index(tracking, tracking.parent(all_jobs(project, name).values()))
    if index["status"] != "FINISHED" or inputs != inputs_of(project, name):
        return
    count = sum(len(stage.done) for stage in searched.stages)
    stamp = {"format": FORMAT, "inputs": inputs, "files": files, "index": index, "cells": count}
    stamp |= {"decision": decision, "data": data, "database": database}
    stamp["report"] = _content(project.report(name))
    write_json(_stamp(project, name), stamp)


def _verified(project: Project, job: Job, files: dict[str, str]) -> Outcome | None:
    """Look a job up, hashing every byte; before that, note the state of its files."""
    store, cell = Store(project.store), job.spec.key
    keys = {CELLS: cell, EVALUATIONS: job.evaluation_spec(cell).key}
    files |= {str(place): _state(place) for place in (store.path(k, v) for k, v in keys.items())}
    return lookup(job)


def _indexed(project: Project, name: str, stamp: dict[str, Any]) -> bool:
    """Whether MLflow still says what it said; it is not even asked if its file is the same."""
    database = _database(project)
    if database and database == stamp["database"]:
        return True
    from flows.tracking import Tracking

    same = bool(stamp["index"] == _index(Tracking(project, name), stamp["index"]["run"]))
    if same:
        write_json(_stamp(project, name), {**stamp, "database": database})
    return same


def _database(project: Project) -> str:
    """Return the state of MLflow's own SQLite file; "" if it is a server's to keep."""
    file = project.tracking_uri.removeprefix(SQLITE)
    logs = [Path(f"{file}{end}") for end in ("", "-wal", "-journal")]
    return " ".join(_state(log) for log in logs if log.is_file())


def _index(tracking: Tracking, run: str) -> dict[str, Any]:
    """Return what MLflow says: is the run of the grid closed, and who is the champion?"""
    from mlflow.exceptions import MlflowException

    client = tracking.client
    with tracking.errors():
        status = client.get_run(run).info.status
        try:
            model = client.get_registered_model(model_name(tracking.name))
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return {"run": run, "status": status, "aliases": {}}
    aliases = {alias: int(number) for alias, number in sorted(model.aliases.items())}
    if INTENT in model.tags:
        aliases[INTENT] = 0  # a change of champion that nobody has finished
    return {"run": run, "status": status, "aliases": aliases}


def _state(place: Path) -> str:
    """Hash names, sizes, times and inodes of a file, or of all files below a folder."""
    digest = hashlib.sha256()
    for file in sorted(_files(str(place))):
        text = f"{file} is absent"
        with suppress(FileNotFoundError):
            s = os.stat(file)
            text = f"{file} {s.st_size} {s.st_mtime_ns} {s.st_ctime_ns} {s.st_ino}"
        digest.update(f"{text}\n".encode())
    return digest.hexdigest()


def _content(folder: Path) -> str:
    """Hash names and bytes of all files below a folder, but for DVC's own .gitignore."""
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.name != ".gitignore":
            digest.update(f"{file.relative_to(folder)} {sha256_file(file)}\n".encode())
    return digest.hexdigest()


def _files(place: str) -> Iterator[str]:
    if not os.path.isdir(place):
        yield place
        return
    with os.scandir(place) as entries:
        for entry in entries:
            yield from _files(entry.path)


def _stamp(project: Project, name: str) -> Path:
    return project.state / "stamps" / f"settled-{name}.json"
