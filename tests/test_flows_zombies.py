"""A machine that dies with its run: the run is crashed, and the next one goes on. Slow."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from flows_checkout import checkout, finished, sgm
from prefect_server import call, deploy, objects, running, server, state_of, until

__all__ = ["server"]  # the fixture
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
CELLS = Path(".sgm", "store", "cells")
WANTED = {"parameters": {"experiment": "again", "name": "vp-mlp-s0"}}


@pytest.fixture
def training(server: dict[str, str], tmp_path: Path) -> tuple[Path, str]:
    """A project that is deployed, with a cell that takes a while; the id of the deployment `cell`."""
    folder = checkout(tmp_path / "project", steps=12_000)
    for stage in ("prepare", "reference"):
        assert sgm(folder, stage, "again").returncode == 0
    assert sgm(folder, "init", "--server", **server).returncode == 0
    return folder, deploy(folder, server)["cell"]["id"]


def test_a_run_whose_process_died_is_crashed_by_its_worker(
    server: dict[str, str], training: tuple[Path, str]
) -> None:
    folder, cell = training
    run = call(server, f"deployments/{cell}/create_flow_run", WANTED)["id"]
    with running(["flows", "worker", "--slots", "1"], folder, server) as worker:
        until(lambda: any((folder / CELLS).glob("*.work/checkpoint*")), "checkpoint", 120)
        below = psutil.Process(worker.pid).children(recursive=True)
        engines = [p for p in below if any("prefect.engine" in word for word in p.cmdline())]
        assert len(engines) == 1, [p.cmdline() for p in below]
        engines[0].kill()
        died = time.monotonic()
        until(lambda: state_of(server, run)["type"] == "CRASHED", "crash", 60)
        print(f"crashed {time.monotonic() - died:.0f} s after its process died")


@pytest.mark.timeout(1200)
def test_a_run_whose_machine_died_is_crashed_and_the_next_one_goes_on(
    server: dict[str, str], training: tuple[Path, str]
) -> None:
    folder, cell = training
    run = call(server, f"deployments/{cell}/create_flow_run", WANTED)["id"]
    with running(["flows", "worker", "--slots", "1"], folder, server) as worker:
        until(lambda: any((folder / CELLS).glob("*.work/checkpoint*")), "checkpoint", 120)
        everything = [*psutil.Process(worker.pid).children(recursive=True), worker]
        for process in everything:  # as if the power had gone
            with suppress(psutil.NoSuchProcess):
                process.kill()
        worker.wait()
    died = time.monotonic()
    assert state_of(server, run)["type"] == "RUNNING"
    until(lambda: state_of(server, run)["type"] == "CRASHED", "end of the zombie", 150)
    print(f"crashed {time.monotonic() - died:.0f} s after the machine died")
    assert "no sign of life" in state_of(server, run)["message"]

    again = call(server, f"deployments/{cell}/create_flow_run", WANTED)["id"]
    with running(["flows", "worker", "--slots", "1"], folder, server):
        until(lambda: state_of(server, again)["type"] == "COMPLETED", "second run", 600)
    assert len(finished(folder)) == 1
    logs = objects(server, "logs", {"logs": {"flow_run_id": {"any_": [again]}}})
    assert any("resumed at step" in entry["message"] for entry in logs)
