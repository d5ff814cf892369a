"""Databases of an older release: `sgm init` keeps them whole at any moment, and nothing is lost; the same
on PostgreSQL, with the commands of docs/operations.md."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from flows_checkout import checkout, environment, sgm
from postgres import postgres

from flows.database import _revision

MLFLOW = "c8d9e0f1a2b3"  # of early 2026, before runs belonged to workspaces
PREFECT = "3c841a1800a1"  # of May 2025
PREFECT_POSTGRESQL = "1c9bb7f78263"  # the same
OLDER = """\
import sys
import sqlalchemy
from alembic import command
from mlflow.store.db.utils import _get_alembic_config
from mlflow.store.tracking.dbmodels.initial_models import Base
Base.metadata.create_all(sqlalchemy.create_engine(sys.argv[1]))
command.upgrade(_get_alembic_config(sys.argv[1]), sys.argv[2])
"""
RUN = """\
INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage)
    VALUES (7, 'rolls', 'mlflow-artifacts:/7', 'active');
INSERT INTO runs (run_uuid, name, user_id, source_type, status, start_time, lifecycle_stage, experiment_id,
        artifact_uri)
    VALUES ('0123456789abcdef0123456789abcdef', 'vp-mlp-s0', 'me', 'LOCAL', 'FINISHED', 1, 'active', 7,
        'x:/7');
INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan)
    VALUES ('loss', 0.25, 1, '0123456789abcdef0123456789abcdef', 3, FALSE);
"""
FLOW = "INSERT INTO flow (id, name) VALUES ('11111111-1111-1111-1111-111111111111', 'of-old')"


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """MLflow's and Prefect's database as older releases left them, with a run and a flow."""
    folder = tmp_path_factory.mktemp("older")
    mlflow, prefect = folder / "mlflow.db", folder / "prefect.db"
    make_older(f"sqlite:///{mlflow}", f"sqlite+aiosqlite:///{prefect}", PREFECT, folder)
    for file, rows in ((mlflow, RUN), (prefect, FLOW)):
        with closing(sqlite3.connect(file)) as connection, connection:
            connection.executescript(rows)
    return mlflow, prefect


def make_older(mlflow: str, prefect: str, revision: str, folder: Path, **variables: str) -> None:
    """Empty tables as older releases had them, at these addresses."""
    env = environment(PREFECT_HOME=str(folder), **variables)
    subprocess.run([sys.executable, "-c", OLDER, mlflow, MLFLOW], check=True, cwd=folder, env=env)
    command = ["-m", "prefect", "server", "database", "upgrade", "-y", "-r", revision]
    subprocess.run(
        [sys.executable, *command], check=True, cwd=folder, stdout=subprocess.DEVNULL,
        env=env | {"PREFECT_API_DATABASE_CONNECTION_URL": prefect},
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, older: tuple[Path, Path]) -> Path:
    """A project of that release."""
    project = checkout(tmp_path / "project", git=False)
    for source, place in zip(older, databases(project), strict=True):
        place.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(place)) as other:
            one.backup(other)
    return project


def databases(folder: Path) -> tuple[Path, Path]:
    return folder / ".sgm" / "mlflow.db", folder / ".sgm" / "prefect" / "prefect.db"


def release(file: Path) -> str:
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return _revision(connection)


def check_migrated(folder: Path) -> None:
    """Both have new tables, and what they held."""
    mlflow, prefect = databases(folder)
    assert release(mlflow) != MLFLOW and release(prefect) != PREFECT
    check_run(f"sqlite:///{mlflow}")
    with closing(sqlite3.connect(prefect)) as connection:
        assert connection.execute("SELECT name FROM flow").fetchall() == [("of-old",)]
    assert not list((folder / ".sgm").rglob("*.new*"))


def check_run(address: str) -> None:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(address)
    (run,) = client.search_runs(["7"])
    assert run.info.run_name == "vp-mlp-s0" and run.info.status == "FINISHED"
    assert [m.value for m in client.get_metric_history(run.info.run_id, "loss")] == [0.25]


@pytest.mark.slow
def test_databases_of_an_older_release_are_migrated(folder: Path) -> None:
    done = sgm(folder, "init")
    assert done.returncode == 0, done.stderr
    check_migrated(folder)
    before = [os.stat(file).st_ino for file in databases(folder)]
    (folder / ".sgm" / "init.json").unlink()
    assert sgm(folder, "init").returncode == 0
    after = [os.stat(file).st_ino for file in databases(folder)]
    assert after == before, "one that is up to date stays the file that a server has open"


@pytest.mark.slow
@pytest.mark.parametrize("whole_group", [False, True], ids=["parent", "group"])
@pytest.mark.parametrize("seconds", [0.3, 1.5])
def test_killed_in_the_middle_of_a_migration(
    folder: Path, seconds: float, whole_group: bool
) -> None:
    """Without its parent a migration goes on, and is waited for; the database is the old one."""
    process = subprocess.Popen(
        [sys.executable, "-m", "flows", "init"],
        cwd=folder, env=environment(), stdout=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not list((folder / ".sgm").rglob("*.new")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    time.sleep(seconds)
    assert process.poll() is None, "it is in the middle"
    (os.killpg if whole_group else os.kill)(process.pid, signal.SIGKILL)
    process.wait()
    assert [release(file) for file in databases(folder)] == [MLFLOW, PREFECT]
    done = sgm(folder, "init")
    assert done.returncode == 0, done.stderr
    check_migrated(folder)


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    folder = checkout(tmp_path / "project", git=False)
    mlflow, _ = databases(folder)
    mlflow.parent.mkdir()
    mlflow.write_bytes(b"not a database" * 1000)
    done = sgm(folder, "init")
    assert done.returncode == 1
    assert "mlflow.db cannot be read (file is not a database); put a backup" in done.stderr
    assert "Traceback" not in done.stderr
    assert mlflow.read_bytes().startswith(b"not a database")


@pytest.mark.slow
def test_on_postgresql(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with postgres("secret") as cluster:
        cluster.create("mlflow", "prefect")
        mlflow, prefect = cluster.url("mlflow"), cluster.url("prefect", "postgresql+asyncpg")
        make_older(mlflow, prefect, PREFECT_POSTGRESQL, tmp_path, PGPASSWORD="secret")
        for database, rows in (("mlflow", RUN), ("prefect", f"{FLOW};")):
            cluster.restore(database, rows)
        monkeypatch.setenv("PGPASSWORD", "secret")
        monkeypatch.setenv("PREFECT_SERVER_DATABASE_CONNECTION_URL", prefect)
        monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
        for command in (
            ["prefect", "server", "database", "upgrade", "-y"],
            ["mlflow", "db", "upgrade", mlflow],
        ):
            subprocess.run([sys.executable, "-m", *command], check=True, cwd=tmp_path)
        check_run(mlflow)
        assert cluster.run("psql", "-tAc", "SELECT name FROM flow", "prefect") == "of-old\n"
        made = cluster.run("psql", "-tAc", "SELECT version_num FROM alembic_version", "prefect")
        assert made.strip() != PREFECT_POSTGRESQL
