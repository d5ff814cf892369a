"""Deployments on a Prefect server: they load, a schedule starts one, a worker runs it. Slow."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flows_checkout import checkout, environment, evaluated, sgm

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A Prefect server on a free port; the environment that points to it."""
    home = tmp_path_factory.mktemp("prefect")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    variables = {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
    }
    command = [sys.executable, "-m", "prefect", "server", "start"]
    with (home / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            env=environment(**variables),
            stdout=log,
            stderr=log,
        )
    try:
        _until(lambda: _get(f"{variables['PREFECT_API_URL']}/health"), "server")
        yield variables
    finally:
        process.terminate()
        process.wait(30)


def test_a_scheduled_run_of_the_lifecycle(server: dict[str, str], tmp_path: Path) -> None:
    folder = checkout(tmp_path / "project")
    made = sgm(folder, "init", "--server", **server)
    assert made.returncode == 0, made.stderr
    assert "work pools: control, gpu" in made.stdout
    assert "all there" in sgm(folder, "init", "--server", **server).stdout

    # The same deployment on a short interval instead of once a night.
    yaml = folder / "prefect.yaml"
    nightly = '      - cron: "0 2 * * *"\n        timezone: UTC\n        active: true\n'
    assert nightly in yaml.read_text()
    yaml.write_text(yaml.read_text().replace(nightly, "      - interval: 20\n"))
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    done = subprocess.run(
        command, cwd=folder, env=environment(**server), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    deployed = {entry["name"]: entry for entry in _filter(server, "deployments")}
    assert set(deployed) == {"nightly", "cell", "publish"}
    assert deployed["nightly"]["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"

    worker = subprocess.Popen(
        [sys.executable, "-m", "prefect", "worker", "start", "--pool", "control"],
        env=environment(**server),
        cwd="/",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _until(lambda: _completed(server, deployed["nightly"]["id"]), "scheduled run", 240)
    finally:
        worker.terminate()
        worker.wait(30)
    assert evaluated(folder) == ["subvp-mlp-s0", "ve-mlp-s0", "vp-mlp-s0"]
    names = {run["name"]: run["state_name"] for run in _filter(server, "task_runs")}
    for cell in ("vp-mlp-s0", "ve-mlp-s0", "subvp-mlp-s0"):
        assert names[cell] in ("Completed", "Cached")
    kinds = {entry["key"]: entry["type"] for entry in _filter(server, "artifacts")}
    assert kinds["leaderboard-rolls"] == "table"
    assert kinds["cell-rolls-vp-mlp-s0"] == "markdown"


def _completed(server: dict[str, str], deployment: str) -> bool:
    runs = [r for r in _filter(server, "flow_runs") if r["deployment_id"] == deployment]
    bad = [r["state"] for r in runs if r["state_type"] in ("FAILED", "CRASHED")]
    assert not bad, bad
    return any(run["state_type"] == "COMPLETED" for run in runs)


def _filter(server: dict[str, str], what: str) -> list[dict[str, Any]]:
    request = urllib.request.Request(
        f"{server['PREFECT_API_URL']}/{what}/filter",
        data=json.dumps({"limit": 200}).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return list(json.load(answer))


def _get(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _until(condition: Any, what: str, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not in {seconds} s"
        time.sleep(0.5)
