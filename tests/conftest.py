"""One thread for the whole suite: small networks are fastest so, and results do not depend on cores."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sgm_core.renew import uncollected

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("DO_NOT_TRACK", "true")
# With `-n 2 --dist loadfile --no-loadscope-reorder` the files that take longest are begun first, so that
# no process is left with one of them while the other has nothing to do.
LONGEST = (
    "test_sample.py", "test_verify.py", "test_studio_page.py", "test_likelihood.py",
    "test_nursery.py", "test_train.py",
)  # fmt: skip


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What tests import stays: no search for garbage goes through it."""
    with uncollected():
        return (yield)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest; the others stay as they are."""
    ranks = {name: rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path.name, len(ranks)))


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
