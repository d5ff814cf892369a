"""`sgm init`: the state folder and both databases, migrated before anything uses them in parallel.

Several processes that open a fresh MLflow database at once break it for good; one `mlflow db
upgrade` beforehand, under a lock, avoids that. A database is made, or migrated, as a copy beside its
place, so that a kill at any moment leaves a whole one or none (flows.database). Safe to repeat and to
run in parallel: a stamp with the versions of both tools says that nothing is left to do.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack, closing
from importlib.metadata import version
from pathlib import Path
from typing import IO

from flows.database import Draft
from flows.project import SQLITE, Project, make_folder, tool_environment
from sgm_core.errors import SgmError
from sgm_core.store.files import read_json, write_json

# With one of these set, Prefect's database is somebody else's to migrate.
OTHER_DATABASE = (
    "PREFECT_API_URL",
    "PREFECT_API_DATABASE_CONNECTION_URL",
    "PREFECT_SERVER_DATABASE_CONNECTION_URL",
)


def initialise(project: Project, prefect: bool = True) -> bool:
    """Create the state folder and migrate the databases; return whether anything was done.

    Raises:
        SgmError: a folder cannot be written, or a migration failed.
    """
    tool_environment(project)
    for folder in (project.state, project.store, project.artifacts, project.state / "prefect"):
        make_folder(folder)
    wanted = _wanted(project, prefect)
    with project.lock("init", waiting="waiting for another sgm init ...") as lock:
        stamp = project.state / "init.json"
        done = read_json(stamp) if stamp.is_file() else {}
        todo = {
            key: value
            for key, value in wanted.items()
            if done.get(key) != value or not _database(project, key).exists()
        }
        if not todo:
            return False
        with ExitStack() as running:  # one that fails does not keep the other from its end
            for name in sorted(todo):
                running.callback(_Migration(name, _database(project, name), lock).finish)
        write_json(stamp, {**done, **todo})
    return True


def _wanted(project: Project, prefect: bool) -> dict[str, str]:
    wanted = {}
    if project.tracking_uri.startswith("sqlite:"):
        wanted["mlflow"] = f"{version('mlflow')} {project.tracking_uri}"
    if prefect and not any(os.environ.get(name) for name in OTHER_DATABASE):
        wanted["prefect"] = f"{version('prefect')} {os.environ['PREFECT_HOME']}"
    return wanted


def _database(project: Project, name: str) -> Path:
    """Return the file of a database; deleting it is a way to start afresh."""
    if name == "mlflow":
        return Path(project.tracking_uri.removeprefix(SQLITE))
    return Path(os.environ["PREFECT_HOME"]) / "prefect.db"


class _Migration:
    """A database on its way to the installed version of its tool.

    Args:
        name: mlflow or prefect.
        file: the database.
        lock: an open lock that the migration holds too: if this process is killed, its orphan goes
            on, and the next one waits for it.

    Raises:
        SgmError: the database cannot be read.
    """

    def __init__(self, name: str, file: Path, lock: IO[str]) -> None:
        self.name, self.draft = name, Draft(file)
        url = f"{SQLITE}{self.draft.place}"
        commands: dict[str, list[str]] = {
            "mlflow": ["-m", "mlflow", "db", "upgrade", url],
            "prefect": ["-m", "prefect", "server", "database", "upgrade", "-y"],
        }
        engine = {
            "PREFECT_API_DATABASE_CONNECTION_URL": url.replace("sqlite", "sqlite+aiosqlite", 1)
        }
        self._process = subprocess.Popen(
            [sys.executable, *commands[name]],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd="/",
            env=dict(os.environ) | (engine if name == "prefect" else {}),
            pass_fds=[lock.fileno()],
        )

    def finish(self) -> None:
        """Wait for it, and put the database in its place.

        Raises:
            SgmError: the migration failed, or somebody uses the older database, which is as it was.
        """
        with closing(self.draft):
            output, _ = self._process.communicate()
            if self._process.returncode:
                last = (output.strip().splitlines() or ["no output"])[-1]
                raise SgmError(f"the database of {self.name} could not be migrated: {last}")
            self.draft.install()
