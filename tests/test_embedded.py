"""The embedded Prefect server ends with its process, even after kill -9, and keeps its database whole."""

from __future__ import annotations

import fcntl
import sqlite3
import subprocess
import sys
from pathlib import Path

import psutil
from flows_checkout import environment
from test_executors import gone, until

from sgm_core.code import ROOT

# Started by a thread that has ended: its server must not end with that.
PARENT = """
import sys, threading, time
from pathlib import Path
from flows.embedded import Embedded
from flows.project import Project, tool_environment
project, made = Project.at(Path(sys.argv[1])), []
tool_environment(project)
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
