"""`sgm init`: the state folder and both databases, migrated before anything uses them in parallel.

Several processes that open a fresh MLflow database at once break it for good; one `mlflow db
upgrade` beforehand, under a lock, avoids that. A database is made beside its place, an older one
migrated as a copy beside it, and moved there when it is whole: a migration is no transaction, so that
a kill in the middle of one would leave neither release a database. Safe to repeat and to run in
parallel: a stamp with the versions of both tools says that nothing is left to do.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import IO

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
        running = [_Migration(name, _database(project, name), lock) for name in sorted(todo)]
        for migration in running:
            migration.finish()
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
    """

    def __init__(self, name: str, file: Path, lock: IO[str]) -> None:
        self.name, self.file = name, file
        self.place = file.with_name(f"{file.name}.new")
        _remove(self.place)  # of one that was killed
        self._older = sqlite3.connect(file) if file.exists() else None
        self._seen, self._release = (0, "") if self._older is None else self._copy(self._older)
        url = f"{SQLITE}{self.place}"
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
            SgmError: the migration failed, or somebody wrote to the older database meanwhile; it is
                what it was.
        """
        output, _ = self._process.communicate()
        if self._process.returncode:
            last = (output.strip().splitlines() or ["no output"])[-1]
            raise SgmError(f"the database of {self.name} could not be migrated: {last}")
        with closing(sqlite3.connect(self.place)) as made:
            release, _ = _release(made), _fold(made)
        if self._older is not None:
            with closing(self._older):
                if release == self._release:  # a server may have it open: the file stays
                    return _remove(self.place)
                # A log that is left would be taken for the new file's.
                if not _fold(self._older) or _commits(self._older) != self._seen:
                    _remove(self.place)
                    raise SgmError(
                        f"{self.file} is in use and cannot be migrated to this version of "
                        f"{self.name}; end what is running in this project, then run again"
                    )
        self.place.replace(self.file)
        return _remove(self.place)

    def _copy(self, older: sqlite3.Connection) -> tuple[int, str]:
        """Copy the older database; return how often it was written to, and its release."""
        try:
            seen = _commits(older)
            with closing(sqlite3.connect(self.place)) as copy:
                older.backup(copy)
            return seen, _release(older)
        except sqlite3.Error as error:
            raise SgmError(
                f"{self.file} cannot be read ({error}); put a backup in its place, or move it away "
                "to begin with an empty one"
            ) from None


def _release(connection: sqlite3.Connection) -> str:
    """Return the revision of its tables; "" if it has none."""
    try:
        found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.OperationalError:
        return ""
    return str(found[0]) if found else ""


def _commits(connection: sqlite3.Connection) -> int:
    """Return a number that changes when another connection writes."""
    return int(connection.execute("PRAGMA data_version").fetchone()[0])


def _fold(connection: sqlite3.Connection) -> bool:
    """Move everything into the one file; return whether that was possible."""
    return not connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]


def _remove(database: Path) -> None:
    for end in ("", "-wal", "-shm", "-journal"):
        database.with_name(database.name + end).unlink(missing_ok=True)
