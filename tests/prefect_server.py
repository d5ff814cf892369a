"""A Prefect server for tests, and ways to talk to it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from flows_checkout import environment


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
        until(lambda: get(f"{variables['PREFECT_API_URL']}/health"), "server")
        yield variables
    finally:
        process.terminate()
        process.wait(30)


def deploy(folder: Path, server: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Deploy what prefect.yaml tells; return the deployments by name."""
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    done = subprocess.run(
        command, cwd=folder, env=environment(**server), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {entry["name"]: entry for entry in objects(server, "deployments")}


@contextmanager
def running(
    arguments: list[str], folder: Path, server: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """A module of this environment that runs in the background."""
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        env=environment(**server),
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        family: list[psutil.Process] = []
        with suppress(psutil.NoSuchProcess):  # it may have ended
            own = psutil.Process(process.pid)
            family = [own, *own.children(recursive=True)]
        process.terminate()
        try:
            process.wait(60)
        except (
            subprocess.TimeoutExpired
        ):  # Prefect's worker waits for runs that nobody needs any more
            for member in family:
                with suppress(psutil.NoSuchProcess):
                    member.kill()
            process.wait()


def state_of(server: dict[str, str], run: str) -> dict[str, Any]:
    return dict(answer(f"{server['PREFECT_API_URL']}/flow_runs/{run}")["state"])


def objects(
    server: dict[str, str], what: str, query: dict[str, Any] | None = None
) -> list[dict[str, Any]]:
    return list(call(server, f"{what}/filter", {"limit": 200, **(query or {})}))


def call(server: dict[str, str], path: str, body: dict[str, Any]) -> Any:
    return answer(f"{server['PREFECT_API_URL']}/{path}", body)


def answer(
    url: str, body: dict[str, Any] | None = None, method: str | None = None, **headers: str
) -> Any:
    """What the server answers; while it says that its database is locked, it is asked again.

    Its own client does the same.
    """
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        url, data=data, headers={"content-type": "application/json", **headers}, method=method
    )
    for attempt in range(10):
        try:
            with urllib.request.urlopen(request, timeout=30) as got:
                return json.loads(got.read() or "null")
        except urllib.error.HTTPError as refused:
            if refused.code != 503 or attempt == 9:
                raise
            time.sleep(1)
    raise AssertionError("unreachable")


def get(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as got:
            return bool(got.status == 200)
    except OSError:
        return False


def until(condition: Any, what: str, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not in {seconds} s"
        time.sleep(0.5)
