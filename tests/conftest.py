"""One thread for the whole suite: small networks are fastest so, and results do not depend on cores."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("DO_NOT_TRACK", "true")


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database, made once: its migrations take seconds."""
    from mlflow import MlflowClient

    file = tmp_path_factory.mktemp("empty") / "mlflow.db"
    MlflowClient(f"sqlite:///{file}").search_registered_models()
    return file


@pytest.fixture(scope="session")
def migrated(database: Path) -> Callable[[Path], None]:
    """Gives the project of a folder such a database, and `sgm init` has nothing left to do."""
    from flows import setup
    from flows.project import Project
    from sgm_core.store.files import write_json

    def give(root: Path) -> None:
        project = Project.at(root)
        project.state.mkdir(exist_ok=True)
        (project.state / "mlflow.db").write_bytes(database.read_bytes())
        write_json(project.state / "init.json", setup._wanted(project, prefect=False))

    return give
