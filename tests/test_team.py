"""A team's servers: PostgreSQL below Prefect and MLflow, accounts, a bucket for the cells. Slow.

One grid runs on the work pool while PostgreSQL is restarted; then what it left is looked at: complete,
without a secret, and whole again from a backup on other servers.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flows_checkout import checkout, environment, evaluated, finished, sgm
from prefect_server import running
from s3_server import file_system, new_bucket, serving
from team import DATABASES, Team, answers, canary, commit, leaks, team, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
CELLS = Path(".sgm", "store", "cells")


@dataclass
class Grown:
    """What the grid left, and the dumps of the databases."""

    team: Team
    folder: Path
    variables: dict[str, str]
    output: str
    bucket: str
    artifacts: dict[str, Any]
    dumps: dict[str, str]


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grown]:
    """A grid that was run with a restart of PostgreSQL in its middle."""
    root = tmp_path_factory.mktemp("team")
    with serving(secret=canary()) as s3, ExitStack() as stack:
        bucket = new_bucket(s3)
        artifacts = {"artifacts": f"s3://{bucket}/mlflow", "s3": s3}
        servers = stack.enter_context(team(**artifacts))
        store = {"SGM_STORE": f"s3://{bucket}/cells", **s3}
        variables = {**servers.variables, **store}
        servers.secrets.append(s3["AWS_SECRET_ACCESS_KEY"])
        folder = checkout(root / "project", steps=1500)
        commit(folder)
        for command in (["prepare", "rolls"], ["reference", "rolls"], ["init", "--server"]):
            done = sgm(folder, *command, **variables)
            assert done.returncode == 0, done.stdout + done.stderr
        deploy = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
        env = environment(**variables)
        subprocess.run(deploy, cwd=folder, env=env, check=True, capture_output=True)
        with running(["flows", "worker", "--slots", "2"], folder, variables):
            grid = subprocess.Popen(
                [sys.executable, "-m", "flows", "grid", "rolls"],
                cwd=folder, env={**env, "SGM_EXECUTOR": "pool"}, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
            until(lambda: any((folder / CELLS).glob("*.work/checkpoint*")), "checkpoint")
            servers.postgres.restart()
            output, _ = grid.communicate(timeout=2400)
        assert grid.returncode == 0, output
        dumps = {name: servers.postgres.dump(name) for name in DATABASES}
        yield Grown(servers, folder, variables, output, bucket, artifacts, dumps)


def test_a_restart_of_postgresql_costs_nothing(grown: Grown) -> None:
    """Every cell once, every run of MLflow finished with every point of its curve once."""
    assert evaluated(grown.folder) == ["subvp-mlp-s0", "ve-mlp-s0", "vp-mlp-s0"]
    of_cells = {"flows": {"name": {"any_": ["cells"]}}, "limit": 200}
    states = Counter(run["state_type"] for run in grown.team.call("flow_runs/filter", of_cells))
    assert states["COMPLETED"] >= 2 and set(states) <= {"COMPLETED", "CRASHED"}, states
    answer = subprocess.run(
        [sys.executable, "-c", CURVES],
        env=grown.team.environment(), check=True, capture_output=True, text=True,
    )  # fmt: skip
    curves = dict(line.split(" ", 1) for line in answer.stdout.splitlines())
    assert sorted(curves) == ["grid", "subvp-mlp-s0", "ve-mlp-s0", "vp-mlp-s0"]
    points = range(1500 // 200, 1501, 1500 // 200)
    for name in sorted(curves)[1:]:
        status, *steps = curves[name].split()
        assert status == "FINISHED"
        assert Counter(map(int, steps)) == Counter({*points, 1500})


CURVES = """
from mlflow import MlflowClient
client = MlflowClient()
found = client.get_experiment_by_name("rolls")
for run in client.search_runs([found.experiment_id]):
    steps = [str(metric.step) for metric in client.get_metric_history(run.info.run_id, "loss")]
    print(run.info.run_name, run.info.status, *steps)
"""


def test_no_secret_is_in_what_was_left(grown: Grown, tmp_path: Path) -> None:
    """Logs, artifacts, tags, databases, reports, models, the bucket: only the environment has them."""
    for name, text in grown.dumps.items():
        (tmp_path / f"{name}.sql").write_text(text)
    (tmp_path / "grid.log").write_text(grown.output)
    file_system(grown.variables).get(grown.bucket, str(tmp_path / "bucket"), recursive=True)
    assert any((tmp_path / "bucket").rglob("record.json"))
    assert "sgm.cell_key" in grown.dumps["mlflow"] and "vp-mlp-s0" in grown.dumps["prefect"]
    assert any((tmp_path / "bucket" / "mlflow").rglob("model.safetensors"))
    assert len(grown.team.secrets) == 4
    assert leaks(grown.team.secrets, tmp_path, grown.folder, grown.team.logs) == []
    (tmp_path / "planted").write_text(f"x{grown.team.secrets[-1]}")
    assert leaks(grown.team.secrets, tmp_path) == [str(tmp_path / "planted")]


def test_who_has_no_account_or_another_name_for_the_host_is_refused(grown: Grown) -> None:
    tracking = f"{grown.team.mlflow}/api/2.0/mlflow/experiments/search?max_results=1"
    assert answers(tracking, 401)
    assert answers(tracking, 403, host="evil.example")
    assert answers(f"{grown.team.prefect}/flows/count", 401)
    secret = grown.team.variables["MLFLOW_TRACKING_PASSWORD"]
    done = sgm(
        grown.folder, "history", "rolls", **{**grown.variables, "MLFLOW_TRACKING_PASSWORD": "no"}
    )
    assert done.returncode == 1 and "MLflow at" in done.stderr and secret not in done.stderr


def upgrade(servers: Team) -> None:
    """What an upgrade types, on databases that are up to date already: nothing is lost by it."""
    at = servers.postgres
    variables = {
        "PGPASSWORD": at.password,
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": at.url("prefect", "postgresql+asyncpg"),
    }
    for command in (
        ["prefect", "server", "database", "upgrade", "-y"],
        ["mlflow", "db", "upgrade", at.url("mlflow")],
    ):
        done = subprocess.run(
            [sys.executable, "-m", *command],
            env=environment(**variables), capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_backup_is_the_same_project_on_other_servers(grown: Grown, tmp_path: Path) -> None:
    """Both databases from their dumps, cells from the bucket, data from the old disk's DVC cache."""
    before = sgm(grown.folder, "history", "rolls", **grown.variables).stdout
    assert "is the first champion" in before
    with team(restored=grown.dumps, like=grown.team, **grown.artifacts) as other:
        upgrade(other)
        folder = tmp_path / "project"
        clone = ["git", "clone", "--quiet", str(grown.folder), str(folder)]
        subprocess.run(clone, check=True)
        variables = {**grown.variables, **other.variables}
        for command in (["prepare", "rolls"], ["reference", "rolls"]):
            assert sgm(folder, *command, **variables).returncode == 0
        assert sgm(folder, "history", "rolls", **variables).stdout == before
        done = sgm(folder, "grid", "rolls", **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        assert evaluated(folder) == ["subvp-mlp-s0", "ve-mlp-s0", "vp-mlp-s0"]
        assert finished(folder).keys() == finished(grown.folder).keys()
        assert "finished in" not in done.stdout, "every cell came from the bucket"
        assert other.call("flow_runs/count", {}) >= grown.team.call("flow_runs/count", {})
