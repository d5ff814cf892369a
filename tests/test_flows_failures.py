"""Failures around a cell: a task that is lost, MLflow away at the end, two commands at once."""

from __future__ import annotations

import importlib
import logging
import sqlite3
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from flows_checkout import PARAMS
from flows_fakes import Pool

from flows import adding, cell, reporting, versions
from flows.cell import Observed
from flows.executors import InProcess, LocalProcesses
from flows.progress import Display
from flows.project import Project, tool_environment
from flows.searching import Searched
from flows.setup import initialise
from sgm_core.config import load_config
from sgm_core.data import add as add_module
from sgm_core.errors import SgmError
from sgm_core.search import Rung, Stage
from sgm_core.store.files import write_json

NOTHING = Searched([Stage(Rung(1, 1, (0,), final=True), {}, {})])
grid: Any = importlib.import_module("flows.grid")  # the flow has the module's name


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.delenv("SGM_HOME", raising=False)
    (tmp_path / "params.yaml").write_text(PARAMS.replace("STEPS", "10"))
    return Project.at(tmp_path)


def test_a_task_that_dies_outside_its_cell_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    class Executor:
        slots = 1

        def run(self, job: Any, emit: Any) -> Any:
            raise SgmError(f"cell {job.spec.name}: broken")

    def logger() -> Any:
        if not observed.failures:  # before the first cell
            raise RuntimeError("no run context")
        return logging.getLogger()

    executor: Any = Executor()
    observed = Observed(executor, None, "", Display(), "fd")
    monkeypatch.setattr(grid, "ThreadPoolTaskRunner", Pool)
    monkeypatch.setattr(cell, "get_run_logger", logger)

    def jobs(*names: str) -> Any:
        specs = (SimpleNamespace(name=name, process={}, net={}) for name in names)
        return {spec.name: SimpleNamespace(spec=spec) for spec in specs}

    grid._run_all(executor, observed, jobs("raises", "state"))
    grid._run_all(executor, observed, jobs("cell"))
    assert observed.failures == {
        "raises": "raises: no run context",
        "state": "state: the server went away",
        "cell": "cell: broken",
    }


@pytest.mark.parametrize("slots", [1, 3])
def test_a_sampler_that_fails_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slots: int
) -> None:
    threads, together = set(), threading.Barrier(slots)

    class Executor:
        def run(self, job: Any, emit: Any) -> Any:
            threads.add(threading.current_thread())
            together.wait(10)  # as many at once as there are slots
            if job.sampler == "heun":
                raise SgmError(f"cell {job.spec.name}: memory ran out")
            folder = tmp_path / job.sampler
            write_json(folder / "samplers.json", {"split": "validation", "rows": [job.sampler]})
            return SimpleNamespace(evaluation=SimpleNamespace(path=folder))

    executor: Any = Executor()
    executor.slots = slots
    spec = SimpleNamespace(name="vp")
    jobs = [
        SimpleNamespace(spec=spec, sampler=name, label=f"{name} of vp")
        for name in ("ddim", "heun", "ode")
    ]
    for job in jobs:
        (tmp_path / job.sampler).mkdir()
    monkeypatch.setattr(grid, "compared_samplers", lambda *_: jobs)
    config: Any = None
    result, missed = grid._compare_samplers(config, NOTHING, executor, Display())
    assert result == {"split": "validation", "rows": ["ddim", "ode"]}
    assert missed == "heun of vp: memory ran out"
    assert (threads == {threading.current_thread()}) == (slots == 1)


def test_failed_cells_are_named_although_mlflow_is_away(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise SgmError("MLflow at http://there failed")

    def run_all(_: object, observed: Observed, jobs: dict[str, Any]) -> None:
        observed.failures.update({name: f"{name}: broken" for name in jobs if name == "vp"})
        observed.outcomes.update({name: jobs[name] for name in jobs if name != "vp"})

    jobs, written = dict[str, Any](), list[Any]()
    for name in ("vp", "ve"):
        spec = SimpleNamespace(name=name, training={"device": "cpu", "threads": 1})
        jobs[name] = SimpleNamespace(spec=spec)

    def searched(_: object, __: str, run: Any) -> Searched:
        return Searched([Stage(Rung(1, 1, (0,), final=True), jobs, run(jobs))])

    tracking = SimpleNamespace(grid_result=away)
    for name, value in {
        "get_run_logger": logging.getLogger,
        "initialise": lambda *_, **__: None,
        "all_jobs": lambda *_: jobs,
        "search": searched,
        "_compare_samplers": lambda *_: (None, ""),
        "metric_of": lambda *_: "fd",
        "_tracking": lambda *_: (tracking, "parent", ""),
        "_run_all": run_all,
        "write_report": lambda *given: written.append(given[-1]),
        "leaderboard_artifact": lambda *_: None,
    }.items():
        monkeypatch.setattr(grid, name, value)
    with pytest.raises(grid.GridFailed) as failed:
        grid.grid.fn("rolls", str(project.root))
    text = "1 of 2 cells of rolls are finished and reported; failed: vp: broken; MLflow at "
    assert str(failed.value) == f"{text}http://there failed"
    (executor,) = written
    assert isinstance(executor, LocalProcesses), "who draws the report's pictures"
    del jobs["vp"]
    with pytest.raises(grid.GridFailed, match="^MLflow at http://there failed$"):
        grid.grid.fn("rolls", str(project.root))


def at_once(*works: Any) -> None:
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_two_grids_write_their_report_one_after_the_other(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, most = [], []

    def write(*_: object) -> Any:
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.1)
        inside.pop()
        return SimpleNamespace(frame=None)

    monkeypatch.setattr("sgm_core.report.write.write_reports", write)
    at_once(*[lambda: reporting.write_report(project, NOTHING, {}, "rolls", None, InProcess())] * 3)
    assert most == [1, 1, 1]


def test_datasets_that_are_added_at_once_are_all_added(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = add_module._check_text

    def slow(text: str) -> None:
        time.sleep(0.2)  # params.yaml has been read and is not written yet
        check(text)

    monkeypatch.setattr(add_module, "_check_text", slow)
    options = {"experiment": False, "activate": False}
    rng, works = np.random.default_rng(0), []
    for name in ("one", "two", "three"):
        np.save(file := project.root / f"{name}.npy", rng.normal(size=(40, 2)))
        arguments = project, name, file, options, False
        works.append(lambda arguments=arguments: adding.add(*arguments))
    at_once(*works)
    assert {"one", "two", "three"} <= set(load_config(project.root / "params.yaml").datasets)


def test_a_relative_database_lies_in_the_project(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///rel.db")
    monkeypatch.chdir("/")
    file = project.root / "rel.db"
    assert project.tracking_uri == f"sqlite:///{file}"
    initialise(project, prefect=False)
    with sqlite3.connect(file) as connection:
        tables = {row[0] for row in connection.execute("select name from sqlite_master")}
    assert {"runs", "experiments"} <= tables
    for uri in (f"sqlite:///{file}", "sqlite:///:memory:", "http://there:5000", "sqlite://"):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        assert project.tracking_uri == uri


def test_mlflow_itself_sees_the_absolute_database(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///rel.db")
    tool_environment(project)
    assert os.environ["MLFLOW_TRACKING_URI"] == f"sqlite:///{project.root / 'rel.db'}"


def test_a_damaged_database_of_mlflow_is_one_sentence(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project.root}/damaged.db")
    initialise(project, prefect=False)
    (project.root / "damaged.db").write_bytes(b"no database" * 1000)
    versions.open_ahead(project)  # it only saves time
    with pytest.raises(SgmError, match=r"^MLflow at sqlite:.* failed: .*file is not a database"):
        versions.Registry(project)
