"""Servers that go away and come back, and triggers that come together: real ones, so `make chaos` only."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from flows_checkout import checkout, environment, evaluated, finished, sgm
from nine import FULL, figures, waited
from postgres import postgres
from prefect_server import call, deploy, get, objects, running, until

from sgm_core.store.files import write_json

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(not FULL, reason="make chaos"),
]
AWAY = 60.0  # seconds


@contextmanager
def mlflow_server(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """An MLflow server on a folder's database."""
    uri, place = f"sqlite:///{folder}/mlflow.db", (folder / "artifacts").as_uri()
    command = ["mlflow", "server", "--backend-store-uri", uri, "--artifacts-destination", place]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", *command], env=environment(), start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until(lambda: get(f"http://127.0.0.1:{port}/health"), "MLflow", 180)
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_mlflow_away_for_a_minute_loses_and_doubles_no_point(
    tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows import tracking as module
    from flows.project import Project
    from flows.tracking import CellRun, Tracking

    (tmp_path / "mlflow.db").write_bytes(database.read_bytes())
    port, steps = free_port(), 1000
    monkeypatch.setenv("SGM_HOME", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setattr(module, "FLUSH_SECONDS", 0.5)
    monkeypatch.setattr(module, "PAUSE_SECONDS", 5.0)
    # Of the end only the points: there is no cell whose files could be attached.
    monkeypatch.setattr(CellRun, "_result", lambda run, outcome, number: run._flush(number))
    spec = SimpleNamespace(
        name="vp-mlp-s0", key="0" * 64, process={"kind": "vp"}, net={}, training={}, seed=0
    )
    job: Any = SimpleNamespace(spec=spec)

    def point(step: int) -> dict[str, Any]:
        return {"step": step, "loss": 1 / step, "grad_norm": 2.0, "lr": 0.1}

    def stream(run: CellRun, first: int, last: int, seconds: float) -> None:
        """Points of a training that goes on for some seconds."""
        for step in range(first, last):
            progress = {"event": "progress", "phase": "train", "step": step}
            run.event({**progress, "history": [point(step)]})
            time.sleep(seconds / (last - first))

    write_json(tmp_path / "cell" / "history.json", [point(s) for s in range(1, steps)])
    cell = SimpleNamespace(path=tmp_path / "cell", key="0" * 64)
    outcome: Any = SimpleNamespace(cell=cell, evaluation=SimpleNamespace(key="1" * 64))
    with mlflow_server(tmp_path, port):
        tracking = Tracking(Project.at(tmp_path), "toy")
        run = CellRun(tracking, "", job).__enter__()
        stream(run, 1, 300, 10)
    stream(run, 300, 700, AWAY)
    with mlflow_server(tmp_path, port):
        stream(run, 700, steps, 10)
        before = len(tracking.client.get_metric_history(str(run.run_id), "loss"))
        run.finish(outcome)
        run.__exit__()
        found = tracking.client.get_metric_history(str(run.run_id), "loss")
    counts = Counter(metric.step for metric in found)
    figures(
        f"MLflow away for {AWAY:.0f} s",
        points=steps - 1,
        missing=steps - 1 - len(counts),
        doubled=sum(n > 1 for n in counts.values()),
        there_before_the_end=before,
    )
    assert counts == dict.fromkeys(range(1, steps), 1)
    assert before > 700, "it went on by itself"


@contextmanager
def prefect_server(home: Path, port: int, **more: str) -> Iterator[None]:
    """A Prefect server that can be killed and started again on its database."""
    variables = {"PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false", **more}
    command = ["prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(
        [sys.executable, "-m", *command], env=environment(**variables), start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until(lambda: get(f"http://127.0.0.1:{port}/api/health"), "server", 240)
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def prepared(folder: Path, server: dict[str, str], steps: int) -> Path:
    checkout(folder, steps=steps)
    for stage in ("prepare", "reference"):
        assert sgm(folder, stage, "rolls").returncode == 0
    assert sgm(folder, "init", "--server", **server).returncode == 0
    deploy(folder, server)
    return folder


def test_prefects_server_is_killed_and_comes_back_in_the_middle(tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "grid.log"
    variables = {
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
    }
    with ExitStack() as stack:
        with prefect_server(tmp_path / "prefect", port):
            folder = prepared(tmp_path / "project", variables, steps=6000)
            stack.enter_context(running(["flows", "worker", "--slots", "2"], folder, variables))
            with log.open("w") as out:
                grid = subprocess.Popen(
                    [sys.executable, "-m", "flows", "grid", "rolls", "--no-publish"], cwd=folder,
                    env=environment(**variables, SGM_EXECUTOR="pool"), stdout=out, stderr=out,
                )  # fmt: skip
            stack.callback(grid.wait)
            stack.callback(grid.kill)
            cells = folder / ".sgm" / "store" / "cells"
            until(lambda: any(cells.glob("*.work/checkpoint*")), "checkpoint", 600)
        time.sleep(20)
        with prefect_server(tmp_path / "prefect", port):
            code = grid.wait(600)
            figures(
                "Prefect's server killed and away for 20 s",
                exit_code=code,
                finished=len(finished(folder)),
                evaluated=len(evaluated(folder)),
            )
            assert code == 0, log.read_text()[-3000:]
            assert len(finished(folder)) == 3


@pytest.fixture
def server(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A Prefect server on PostgreSQL, and what points to it: on SQLite a burst of triggers meets "database
    is locked" now and then, and some get no answer."""
    port, home = free_port(), tmp_path / "prefect"
    with postgres("secret") as cluster:
        cluster.create("prefect")
        url = cluster.url("prefect", "postgresql+asyncpg")
        database = {"PREFECT_SERVER_DATABASE_CONNECTION_URL": url, "PGPASSWORD": "secret"}
        with prefect_server(home, port, **database):
            yield {
                "PREFECT_HOME": str(home),
                "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
                "PREFECT_WORKER_QUERY_SECONDS": "1",
            }


def test_ten_triggers_at_once_run_once(server: dict[str, str], tmp_path: Path) -> None:
    folder = prepared(tmp_path / "project", server, steps=20_000)
    nightly = deploy(folder, server)["nightly"]["id"]
    wanted = {"parameters": {"experiments": ["again"]}, "state": {"type": "SCHEDULED"}}
    control = ["prefect", "worker", "start", "--pool", "control", "--limit", "10"]
    with running(control, folder, server) as worker, ExitStack() as stack:
        stack.callback(_end, worker)
        threads = [
            threading.Thread(
                target=call, args=(server, f"deployments/{nightly}/create_flow_run", wanted)
            )
            for _ in range(10)
        ]
        started = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        def states() -> Counter[str]:
            runs = [r for r in objects(server, "flow_runs") if r["deployment_id"] == nightly]
            return Counter(r["state_type"] for r in runs if not r["auto_scheduled"])

        done = waited(lambda: states()["CANCELLED"] == 9, 90)
        seconds, seen = time.monotonic() - started, states()
        figures("ten triggers at once", **dict(seen), seconds=f"{seconds:.0f}")
        assert done
        assert seconds <= 60
        assert sum(seen.values()) == 10
        assert seen["RUNNING"] + seen["PENDING"] == 1


def _end(worker: subprocess.Popen[bytes]) -> None:
    """Kill what a worker has started: its runs would outlive it."""
    for process in psutil.Process(worker.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            process.kill()
