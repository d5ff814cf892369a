"""Where everything of a project lies, and the environment in which the tools run.

The project is the folder with params.yaml. What is computed once and must survive (cells, the
MLflow database, Prefect's home) lies in one state folder, `.sgm/`, outside of DVC's outputs: DVC
deletes the outputs of a stage before it runs it, the state folder loses nothing when a run dies.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from sgm_core.config import Config, load_config
from sgm_core.errors import SgmError, UsageError

PARAMS = "params.yaml"
SQLITE = "sqlite:///"


@dataclass(frozen=True)
class Project:
    """The paths of one project.

    Attributes:
        root: the folder with params.yaml.
        state: the state folder (environment variable SGM_HOME, else `.sgm` in the root).
    """

    root: Path
    state: Path

    @classmethod
    def find(cls, start: Path | None = None) -> Project:
        """Return the project of the working folder: the nearest parent with a params.yaml."""
        here = (start or Path.cwd()).resolve()
        for folder in (here, *here.parents):
            if (folder / PARAMS).is_file():
                return cls.at(folder)
        raise UsageError(f"no {PARAMS} in {here} or above it; run from the project's folder")

    @classmethod
    def at(cls, root: Path) -> Project:
        """Return the project whose root is known."""
        root = root.resolve()
        home = os.environ.get("SGM_HOME")
        return cls(root, Path(home).expanduser().resolve() if home else _outer(root) / ".sgm")

    def config(self) -> Config:
        """Read and validate params.yaml."""
        return load_config(self.root / PARAMS)

    def prepared(self, name: str) -> Path:
        """Return the folder of the prepared data of an experiment (or of a bare dataset)."""
        return self.root / "data" / "prepared" / name

    def reference(self, name: str) -> Path:
        """Return the folder of its reference statistics."""
        return self.root / "data" / "reference" / name

    def report(self, experiment: str) -> Path:
        """Return the folder of an experiment's report."""
        return self.root / "reports" / experiment

    @property
    def store(self) -> Path:
        """The folder of the cell store."""
        return self.state / "store"

    @property
    def tracking_uri(self) -> str:
        """MLflow's tracking URI: MLFLOW_TRACKING_URI, else the project's own SQLite file.

        A relative SQLite file lies in the project's folder, whatever the working folder is.
        """
        uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{self.state / 'mlflow.db'}"
        file = uri.removeprefix(SQLITE)
        if file == uri or not file or file.startswith(":"):  # a server, or a database in memory
            return uri
        return f"{SQLITE}{_outer(self.root) / file}"

    @property
    def artifacts(self) -> Path:
        """The folder of MLflow's artifacts (when the tracking database is the project's own)."""
        return self.state / "mlartifacts"

    @contextmanager
    def lock(self, name: str, waiting: str = "") -> Iterator[IO[str]]:
        """Hold an exclusive lock of the project; it dies with the process, and with every one that
        was given the open file which is yielded.

        Args:
            name: what is locked.
            waiting: a line that is printed once if somebody else holds it.
        """
        folder = make_folder(self.state / "locks")
        with open(folder / f"{name}.lock", "a", encoding="utf-8") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if waiting:
                    print(waiting, flush=True)
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield handle


def make_folder(path: Path) -> Path:
    """Create a folder.

    Raises:
        SgmError: it cannot be created or written; one sentence names it.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise SgmError(f"{path} cannot be created: {reason}; choose another SGM_HOME") from None
    if not os.access(path, os.W_OK):
        raise SgmError(f"{path} is not writable; change its permissions or set SGM_HOME")
    return path


def tool_environment(project: Project) -> None:
    """Set the environment of Prefect and MLflow; call it before either is imported.

    What the user has set stays. Analytics are off, and only failures of Prefect itself reach the
    console: runs have their logs in Prefect, and the console shows progress.
    """
    defaults = {
        "DO_NOT_TRACK": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        # MLflow's own seven retries are minutes of silence while a server is away.
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
        "GIT_PYTHON_REFRESH": "quiet",
        "PREFECT_HOME": str(project.state / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
        "PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY": "false",
    }
    for key, value in defaults.items():
        os.environ.setdefault(key, value)
    os.environ["MLFLOW_TRACKING_URI"] = project.tracking_uri


def mlflow_is_away(error: BaseException) -> bool:
    """Return whether this failure of MLflow means that its server cannot be reached."""
    return "Max retries exceeded" in str(error) or "Connection" in type(error).__name__


def shown(uri: str) -> str:
    """An address as it may be shown: without the name and password that may stand in it."""
    return re.sub("//[^/@]*@", "//", uri)


def mlflow_failed(uri: str, error: Exception) -> str:
    """Say in one sentence that MLflow failed and why."""
    uri, reason = shown(uri), " ".join(str(error).split())
    if mlflow_is_away(error):
        return (
            f"MLflow at {uri} failed: it cannot be reached ({reason[:120]}); start it or correct "
            "MLFLOW_TRACKING_URI"
        )
    return f"MLflow at {uri} failed: {reason[:300]}"


def _outer(root: Path) -> Path:
    """Return the checkout that owns the state: `dvc exp run --temp` works in a copy inside it."""
    parts = root.parts
    for i in range(len(parts) - 2):
        if parts[i : i + 3] == (".dvc", "tmp", "exps"):
            return Path(*parts[:i])
    return root
