"""The embedded Prefect server ends with its process, even after kill -9, and keeps its database whole."""

from __future__ import annotations

import fcntl
import sqlite3
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from flows_checkout import environment
from test_executors import gone, until

from flows.embedded import Embedded
from flows.project import Project
from flows.setup import OTHER_DATABASE
from sgm_core.code import ROOT

# Started by a thread that has ended: its server must not end with that.
PARENT = """
import sys, threading, time
from pathlib import Path
from flows.embedded import Embedded
from flows.project import Project, tool_environment
from flows.setup import initialise
project, made = Project.at(Path(sys.argv[1])), []
tool_environment(project)
initialise(project)
starter = threading.Thread(target=lambda: made.append(Embedded(project)))
starter.start()
starter.join()
made[0]._wait()
print(made[0]._server.pid, flush=True)
time.sleep(600)
"""


def free(home: Path) -> bool:
    with open(home / "embedded.lock") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def test_the_server_ends_after_kill_9_of_its_parent(tmp_path: Path) -> None:
    # Tests before this one may have named a home of Prefect in this process.
    variables = environment(SGM_HOME=str(tmp_path), PREFECT_API_URL="", PYTHONPATH=str(ROOT))
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)], cwd=tmp_path, env=variables,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert parent.stdout is not None
    server, home = psutil.Process(int(parent.stdout.readline())), tmp_path / "prefect"
    assert server.is_running()
    server.suspend()
    parent.kill()
    parent.wait()
    assert not free(home), "nobody else takes the home while the server lives"
    server.resume()
    until(lambda: gone(server.pid), 30)
    until(lambda: free(home), 5)
    with sqlite3.connect(home / "prefect.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("SELECT count(*) FROM flow_run").fetchone() == (0,)


@pytest.mark.parametrize(
    ("taken", "variables", "trusted"),
    [
        (False, {}, True),
        (True, {}, False),  # another home, whose database the server makes itself
        (
            False,
            {"PREFECT_API_DATABASE_CONNECTION_URL": "postgresql+asyncpg://host/prefect"},
            False,
        ),
    ],
)
def test_only_the_database_that_the_project_has_migrated_is_not_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    taken: bool, variables: dict[str, str], trusted: bool,
) -> None:  # fmt: skip
    for name in OTHER_DATABASE:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    started: list[dict[str, str]] = []
    monkeypatch.setattr(Embedded, "_start", lambda self: started.append(self._variables))
    monkeypatch.setenv("SGM_HOME", str(tmp_path))
    (tmp_path / "prefect").mkdir()
    with open(tmp_path / "prefect" / "embedded.lock", "a") as other:
        if taken:
            fcntl.flock(other, fcntl.LOCK_EX)
        Embedded(Project.at(tmp_path))
    (given,) = started
    assert (given.get("PREFECT_API_DATABASE_MIGRATE_ON_START") == "0") == trusted
