"""The servers of a team: PostgreSQL, Prefect and MLflow on it, both with accounts; S3 (moto).

All secrets are canaries: words that must turn up nowhere but in the environment.
"""

from __future__ import annotations

import base64
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flows_checkout import ROOT, environment
from postgres import Postgres, postgres
from prefect_server import answer

DATABASES = ("prefect", "mlflow", "mlflow_auth")


def canary() -> str:
    """A secret that is found wherever it leaks to."""
    return f"canary{secrets.token_hex(12)}"


@dataclass
class Team:
    """Running servers.

    Attributes:
        variables: the environment of everybody who uses them.
        logs: folder of what the servers print, and of MLflow's artifacts where no bucket is given.
    """

    postgres: Postgres
    prefect: str
    mlflow: str
    variables: dict[str, str]
    logs: Path
    secrets: list[str] = field(default_factory=list)

    def call(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """Prefect's API."""
        user = base64.b64encode(self.variables["PREFECT_API_AUTH_STRING"].encode()).decode()
        return answer(f"{self.prefect}/{path}", body, authorization=f"Basic {user}")

    def environment(self, **more: str) -> dict[str, str]:
        return environment(**self.variables, **more)


@contextmanager
def team(
    host: str = "127.0.0.1",
    prefix: tuple[str, ...] = (),
    restored: dict[str, str] | None = None,
    like: Team | None = None,
    artifacts: str = "",
    s3: dict[str, str] | None = None,
) -> Iterator[Team]:
    """Start the servers.

    Args:
        host: the address they listen on.
        prefix: what their commands are put behind (`ip netns exec NAME`).
        restored: dumps of all databases to begin with.
        like: a team whose secrets and artifacts are used again.
        artifacts: where MLflow puts them ("": below `logs`).
        s3: the environment of the bucket that they are in.
    """
    with ExitStack() as stack:
        logs = like.logs if like else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        given = like.variables if like else {}
        password = canary()
        account = given.get("PREFECT_API_AUTH_STRING") or f"admin:{canary()}"
        admin = given.get("MLFLOW_TRACKING_PASSWORD") or canary()
        cluster = stack.enter_context(postgres(password, host, prefix))
        cluster.create(*DATABASES)
        for database, text in (restored or {}).items():
            cluster.restore(database, text)
        ports = {name: free_port() for name in ("prefect", "mlflow")}
        prefect, mlflow = (f"http://{host}:{port}" for port in ports.values())
        common = {"PGPASSWORD": password, "PREFECT_HOME": str(logs / "prefect")}
        accounts = logs / "accounts.ini"
        settings = (ROOT / "deploy" / "mlflow-auth.ini").read_text()
        accounts.write_text(
            settings.replace("sgm@postgres:5432", f"sgm@{cluster.host}:{cluster.port}")
        )
        start = _Start(stack, logs, prefix)
        start(
            "prefect-server",
            ["prefect", "server", "start", "--host", host, "--port", str(ports["prefect"])],
            **common,
            PREFECT_SERVER_ANALYTICS_ENABLED="false",
            PREFECT_SERVER_API_AUTH_STRING=account,
            PREFECT_SERVER_DATABASE_CONNECTION_URL=cluster.url("prefect", "postgresql+asyncpg"),
        )
        start(
            "mlflow-server",
            [
                "mlflow", "server", "--host", host, "--port", str(ports["mlflow"]),
                "--workers", "1", "--app-name", "basic-auth",
                "--backend-store-uri", cluster.url("mlflow"),
                "--artifacts-destination", artifacts or str(logs / "artifacts"),
                "--allowed-hosts", f"{host}:{ports['mlflow']}",
            ],
            **common,
            MLFLOW_AUTH_CONFIG_PATH=str(accounts),
            MLFLOW_AUTH_ADMIN_USERNAME="admin",
            MLFLOW_AUTH_ADMIN_PASSWORD=admin,
            MLFLOW_FLASK_SERVER_SECRET_KEY=canary(),
            **(s3 or {}),
        )  # fmt: skip
        until(lambda: answers(f"{prefect}/api/health"), "Prefect's server")
        until(lambda: answers(f"{mlflow}/health"), "MLflow's server")
        variables = {
            "PREFECT_API_URL": f"{prefect}/api",
            "PREFECT_API_AUTH_STRING": account,
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "MLFLOW_TRACKING_URI": mlflow,
            "MLFLOW_TRACKING_USERNAME": "admin",
            "MLFLOW_TRACKING_PASSWORD": admin,
        }
        hidden = [password, account.partition(":")[2], admin]
        yield Team(cluster, f"{prefect}/api", mlflow, variables, logs, hidden)


class _Start:
    """Starts servers whose output goes to files."""

    def __init__(self, stack: ExitStack, logs: Path, prefix: tuple[str, ...]) -> None:
        self.stack, self.logs, self.prefix = stack, logs, prefix

    def __call__(self, name: str, arguments: list[str], **variables: str) -> None:
        log = self.stack.enter_context((self.logs / f"{name}.log").open("a"))
        process = subprocess.Popen(
            [*self.prefix, sys.executable, "-m", *arguments],
            env=environment(**variables), cwd=self.logs, stdout=log, stderr=log,
        )  # fmt: skip
        self.stack.callback(self._end, process)

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def answers(url: str, status: int = 200, **headers: str) -> bool:
    """Whether a URL answers with a status."""
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=5
        ) as answer:
            return int(answer.status) == status
    except urllib.error.HTTPError as error:
        return error.code == status
    except OSError:
        return False


def until(condition: Callable[[], Any], what: str, seconds: float = 600) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not in {seconds} s"
        time.sleep(0.3)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def leaks(words: list[str], *folders: Path) -> list[str]:
    """Files below the folders that contain a word, plain or in base64 as HTTP sends it."""
    wanted = [word.encode() for word in words]
    wanted += [base64.b64encode(f"admin:{word}".encode()).rstrip(b"=") for word in words]
    found = []
    for folder in folders:
        for name in [name for name in folder.rglob("*") if name.is_file()]:
            data = name.read_bytes()
            if any(word in data for word in wanted):
                found.append(str(name))
    return found


def commit(folder: Path) -> None:
    """Everything of a checkout in one git commit."""
    who = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
    for command in (["add", "-A"], [*who, "commit", "-qm", "start"]):
        subprocess.run(["git", *command], cwd=folder, check=True, env=dict(os.environ))
