"""The cell, the unit of work: one (dataset, process, network, seed), trained once and evaluated.

A result is looked up by its key (sgm_core.spec) and nothing else: whoever asks (a stage, a
scheduled run, the command line, a test), the same question finds the same entry, and a changed
answer cannot hide behind an old name.

torch is imported only if something has to be computed, so that a grid in which nothing changed
costs the hashing of its files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from sgm_core.code import closure_hash, module_hashes
from sgm_core.config.net import NETS
from sgm_core.device import device_class
from sgm_core.errors import SgmError
from sgm_core.job import Job, jobs_of
from sgm_core.renew import absent, uncollected
from sgm_core.spec import CellSpec, EvaluationSpec, cells_of, digest_of, identity_key
from sgm_core.store import Entry
from sgm_core.store.shared import store_at

__all__ = [
    "CELLS",
    "EVALUATIONS",
    "CellSpec",
    "Emit",
    "EvaluationSpec",
    "Job",
    "Outcome",
    "cells_of",
    "check_code",
    "device_class",
    "ensure_cell",
    "jobs_of",
    "lookup",
]

CELLS, EVALUATIONS = "cells", "evaluations"
# What evaluations and reports import on their way, and those of points besides.
LIBRARIES = ("sgm_core.model", "sgm_core.report.figures", "sgm_core.report.drawing")
POINTS = ("pandas", "pyarrow.dataset", "pyarrow.parquet")
# What POT imports if it is there, for solvers that nothing here asks for: 0.3 s and 40 MiB.
UNUSED = ("sklearn", "networkx")

Emit = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Outcome:
    """A finished cell: its verified entries, and whether both were there already."""

    spec: CellSpec
    cell: Entry
    evaluation: Entry
    cached: bool


def lookup(job: Job, emit: Emit | None = None) -> Outcome | None:
    """Return a finished, verified cell with its evaluation, or None. Computes nothing."""
    store, log = store_at(job.store), log_of(emit)
    cell = store.find(CELLS, job.spec.key, log)
    if cell is None:
        return None
    evaluation = store.find(EVALUATIONS, job.evaluation_spec(cell.key).key, log)
    return None if evaluation is None else Outcome(job.spec, cell, evaluation, cached=True)


def ensure_cell(job: Job, emit: Emit) -> Outcome:
    """Return a finished, verified cell, training and evaluating it if there is none.

    Single-flight: of many callers with the same key one works and the others wait; an interrupted
    one is resumed from its checkpoint. `emit` receives progress and messages.

    Raises:
        SgmError: one sentence; what was finished stays.
    """
    store, log, built = store_at(job.store), log_of(emit), []

    def tell(event: dict[str, Any]) -> None:
        store.check()
        emit(event)

    def train(work: Path) -> dict[str, Any]:
        from sgm_core.train.run import train_cell

        built.append(CELLS)
        check_plan(job, identity)
        summary: dict[str, Any] = train_cell(plan_of(job), job.dataset, work, tell)
        return summary

    def evaluate(work: Path) -> dict[str, Any]:
        module, _, function = job.task.partition(":")
        measure, settings = getattr(import_module(module), function), (job.sampling, job.evaluation)
        built.append(EVALUATIONS)
        check_code(spec.modules, measured["code"])
        summary: dict[str, Any] = measure(
            cell.path, job.dataset, job.reference, *settings, work, tell
        )
        return summary

    remember(job)
    identity = job.spec.identity()
    with _named(job.spec.name):
        cell = store.ensure(CELLS, identity_key(identity), train, described(job, identity), log)
        spec = job.evaluation_spec(cell.key)
        measured = spec.identity()
        evaluation = store.ensure(
            EVALUATIONS, identity_key(measured), evaluate, described(job, measured), log
        )
    return Outcome(job.spec, cell, evaluation, cached=not built)


def described(job: Job, identity: Mapping[str, Any]) -> dict[str, Any]:
    """What an entry says that it is: its labels and its identity."""
    return {"experiment": job.spec.experiment, "name": job.spec.name, **identity}


def plan_of(job: Job) -> dict[str, Any]:
    """What the trainer is told of a job."""
    return {**job.spec.as_dict(), "checkpoint_every": job.checkpoint_every}


# Module -> its hash when this process was about to import it.
_loaded: dict[str, str] = {}


def remember(job: Job) -> None:
    """Note the code of a job before anything of it is imported: an edit from here on is refused, not
    stored under the new key."""
    edited(_hashes(job))


def edited(hashes: Mapping[str, str]) -> bool:
    """Note the code of modules that is about to be imported; return whether some is here already and has
    been edited since."""
    return {name: _loaded.setdefault(name, digest) for name, digest in hashes.items()} != hashes


def outdated(job: Job) -> bool:
    """Return whether code that this job needs was edited after this process had imported it."""
    return any(_loaded.get(name, digest) != digest for name, digest in _hashes(job).items())


def load(job: Job) -> None:
    """Import what a job needs, before it is asked for; an edit from here on makes it `outdated`."""
    remember(job)
    with suppress(SgmError):  # a file cannot be read: what imports it will say so
        for name in LIBRARIES:
            edited(module_hashes([name]))
    points = NETS[job.spec.net["kind"]].data_rank == 1
    names = (*job.spec.modules, *job.evaluation_spec("").modules, *LIBRARIES)
    with uncollected():
        _imported(*names, *(POINTS if points else ()))
        if points:  # a process of the user's own may ask POT for any solver
            with absent(*(UNUSED if job.modules is None else ())):
                _imported("ot")


def _imported(*names: str) -> None:
    for name in names:
        with suppress(Exception):  # the job itself will say it
            import_module(name)


def check_plan(job: Job, identity: Mapping[str, Any]) -> None:
    """Refuse to train with other code or other data than the identity of a job stands for."""
    check_code(job.spec.modules, identity["code"])
    if digest_of(job.dataset / "dataset.json", "dataset") != job.spec.data_digest:
        raise SgmError(f"{job.dataset} has changed since this cell was planned; run again")


def check_code(modules: list[str], planned: str) -> None:
    """Refuse to compute under a key that stands for other code than this process has loaded."""
    now = module_hashes(modules)
    if planned != closure_hash(modules) or any(
        _loaded.setdefault(m, h) != h for m, h in now.items()
    ):
        raise SgmError("sgm_core was edited while this process was running; start it again")


def _hashes(job: Job) -> dict[str, str]:
    return module_hashes([*job.spec.modules, *job.evaluation_spec("").modules])


def log_of(emit: Emit | None) -> Callable[[str], None] | None:
    """The messages of a store as events."""
    return emit and (lambda text: emit({"event": "message", "text": text}))


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Say which cell failed, in front of why; the error keeps its class and exit code."""
    try:
        yield
    except SgmError as error:
        if error.args and name not in str(error):
            error.args = (f"cell {name}: {error}", *error.args[1:])
        raise
