"""A grid on a work pool: real server, real workers; chunks, crashes, an interrupted parent. Slow."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from flows_checkout import checkout, environment, evaluated, finished, sgm
from prefect_server import call, deploy, objects, running, server, until

__all__ = ["server"]  # the fixture
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
CELLS = Path(".sgm", "store", "cells")
WORKER = ["flows", "worker", "--slots", "2"]


def project(
    folder: Path,
    server: dict[str, str],
    steps: int = 60,
    experiments: Sequence[str] = ("rolls",),
    samplers: str = "ddim",
) -> Path:
    """A deployed checkout whose data is prepared."""
    checkout(folder, steps=steps)
    params = folder / "params.yaml"
    params.write_text(params.read_text().replace("samplers: [ddim]", f"samplers: [{samplers}]"))
    for stage in ("prepare", "reference"):
        for experiment in experiments:
            assert sgm(folder, stage, experiment).returncode == 0
    assert sgm(folder, "init", "--server", **server).returncode == 0
    deploy(folder, server)
    return folder


def on_pool(server: dict[str, str]) -> dict[str, str]:
    return {**server, "SGM_EXECUTOR": "pool"}


def runs(server: dict[str, str], since: set[str] = frozenset()) -> list[dict[str, Any]]:  # type: ignore[assignment]
    """Runs of the flow `cells`, without those that were there before."""
    flow = call(server, "flows/filter", {"flows": {"name": {"any_": ["cells"]}}})
    known = {f["id"] for f in flow}
    return [
        r for r in objects(server, "flow_runs") if r["flow_id"] in known and r["id"] not in since
    ]


def test_a_grid_is_computed_by_the_workers_once(server: dict[str, str], tmp_path: Path) -> None:
    folder = project(tmp_path / "project", server, samplers="ddim, heun")
    with running(WORKER, folder, server):
        done = sgm(folder, "grid", "rolls", **on_pool(server))
        assert done.returncode == 0, done.stdout + done.stderr
        assert evaluated(folder) == ["subvp-mlp-s0", "ve-mlp-s0", "vp-mlp-s0"]
        states = Counter(run["state_type"] for run in runs(server))
        assert set(states) == {"COMPLETED"}
        # Two workers, three cells and two samplers: nobody waits for a chunk.
        count = sum(states.values())
        assert count == 5
        results = (folder / ".sgm" / "store" / "evaluations").glob("*/samplers.json")
        rows = [row for file in results for row in json.loads(file.read_text())["rows"]]
        assert {row["sampler"] for row in rows} == {"ddim", "heun"}
        before = finished(folder)
        done = sgm(folder, "grid", "rolls", **on_pool(server))
        assert done.returncode == 0, done.stderr
    assert finished(folder) == before
    assert len(runs(server)) == count, "a finished cell asks nobody"
    assert "is finished in" not in done.stdout


def test_a_crashed_run_is_asked_for_again_and_its_cell_goes_on(
    server: dict[str, str], tmp_path: Path
) -> None:
    folder = project(tmp_path / "project", server, steps=6000)
    known = {run["id"] for run in runs(server)}
    with running(WORKER, folder, server) as worker:
        grid = subprocess.Popen(
            [sys.executable, "-m", "flows", "grid", "rolls"],
            cwd=folder, env=environment(**on_pool(server)), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        until(lambda: _engines(folder, worker), "checkpoint", 240)
        _engines(folder, worker)[0].kill()
        out, _ = grid.communicate(timeout=900)
    assert grid.returncode == 0, out
    assert "its run crashed" in out and "asking again" in out
    assert len(finished(folder)) == 3
    mine = runs(server, known)
    assert Counter(run["state_type"] for run in mine) == {"CRASHED": 1, "COMPLETED": 4}
    of_these = {"logs": {"flow_run_id": {"any_": [run["id"] for run in mine]}}}
    logs = objects(server, "logs", {**of_these, "sort": "TIMESTAMP_DESC"})
    assert any("resumed at step" in entry["message"] for entry in logs)


def test_an_interrupted_grid_cancels_its_runs(server: dict[str, str], tmp_path: Path) -> None:
    folder = project(tmp_path / "project", server, steps=40_000)
    known = {run["id"] for run in runs(server)}
    with running(WORKER, folder, server):
        grid = subprocess.Popen(
            [sys.executable, "-m", "flows", "grid", "rolls"],
            cwd=folder, env=environment(**on_pool(server)), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        until(lambda: any((folder / CELLS).glob("*.work/checkpoint*")), "checkpoint", 240)
        grid.send_signal(signal.SIGTERM)
        out, _ = grid.communicate(timeout=60)
        assert grid.returncode not in (0, None), out
        until(
            lambda: {r["state_type"] for r in runs(server, known)} <= {"CANCELLED", "CRASHED"},
            "cancellation", 90,
        )  # fmt: skip
        until(lambda: not any(_training(folder)), "end of the training", 30)


def test_without_a_worker_it_says_so_and_a_parent_that_comes_back_takes_its_runs_over(
    server: dict[str, str], tmp_path: Path
) -> None:
    folder = project(tmp_path / "project", server)
    known = {run["id"] for run in runs(server)}
    log = folder / "grid.log"

    def start() -> subprocess.Popen[bytes]:
        with log.open("w") as out:
            return subprocess.Popen(
                [sys.executable, "-m", "flows", "grid", "rolls"],
                cwd=folder, env=environment(**on_pool(server)), stdout=out, stderr=out,
            )  # fmt: skip

    first = start()
    # Workers of an earlier test are online for the server for up to two minutes, and get a run each.
    until(lambda: len(runs(server, known)) == 3, "runs", 240)
    first.kill()
    first.wait()
    second = start()
    until(lambda: "no worker of the pool gpu is online" in log.read_text(), "remark", 180)
    with running(WORKER, folder, server):
        assert second.wait(900) == 0, log.read_text()
    assert len(runs(server, known)) == 4, "its three runs were taken over; one compares samplers"


def test_an_agent_with_other_code_refuses_and_the_grid_says_so(
    server: dict[str, str], tmp_path: Path
) -> None:
    folder, log = project(tmp_path / "project", server, 60, ["again"]), tmp_path / "grid.log"
    known = {run["id"] for run in runs(server)}
    with log.open("w") as out:
        grid = subprocess.Popen(
            [sys.executable, "-m", "flows", "grid", "again", "--no-publish"],
            cwd=folder, env=environment(**on_pool(server)), stdout=out, stderr=out,
        )  # fmt: skip
    until(lambda: runs(server, known), "run", 240)
    loop = folder / "sgm_core" / "train" / "loop.py"
    loop.write_text(loop.read_text() + "OTHER = 1\n")  # what another commit would be
    with running(WORKER, folder, server):
        assert grid.wait(900) == 1, log.read_text()
    assert "vp-mlp-s0: the agent on " in log.read_text()
    assert "would compute another cell: it has code without a commit" in log.read_text()
    assert not finished(folder)


def _engines(folder: Path, worker: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Processes of runs below a worker, as far as their cell has a checkpoint."""
    found = []
    for engine in psutil.Process(worker.pid).children(recursive=True):
        with suppress(psutil.Error):
            if not any("prefect.engine" in word for word in engine.cmdline()):
                continue
            names = {f.path for p in engine.children(recursive=True) for f in p.open_files()}
            locks = [Path(name) for name in names if name.endswith(".lock")]
            if any(any(lock.with_suffix(".work").glob("checkpoint*")) for lock in locks):
                found.append(engine)
    return found


def _training(folder: Path) -> list[psutil.Process]:
    """Worker processes of cells of this project."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        line = process.info["cmdline"] or []
        if "sgm_core.worker" in line and str(folder) in str(process.info["cwd"]):
            found.append(process)
    return found
