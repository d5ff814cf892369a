"""`sgm init` killed at any moment: the next command finds no database or a whole one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from flows_checkout import checkout, environment, sgm

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.mark.parametrize("whole_group", [False, True], ids=["parent", "group"])
@pytest.mark.parametrize("seconds", [0.5, 1.5, 3.0])
def test_killed_while_the_databases_are_made(
    tmp_path: Path, seconds: float, whole_group: bool
) -> None:
    """Without its parent a migration goes on, and is waited for; killed with it, it is made anew."""
    folder = checkout(tmp_path / "project", git=False)
    process = subprocess.Popen(
        [sys.executable, "-m", "flows", "init"],
        cwd=folder,
        env=environment(),
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    database = folder / ".sgm" / "mlflow.db.new"
    deadline = time.monotonic() + 120
    while not database.exists():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    time.sleep(seconds)
    (os.killpg if whole_group else os.kill)(process.pid, signal.SIGKILL)
    process.wait()
    # The first command that opens MLflow, whichever it is.
    done = sgm(folder, "history", "rolls")
    assert done.returncode == 2
    assert "sgm-rolls has no version yet; run: sgm publish rolls" in done.stderr
    assert "INFO" not in done.stderr
    assert sgm(folder, "init").returncode == 0
    assert sgm(folder, "init").stdout.strip().endswith("up to date")
    assert not list((folder / ".sgm").rglob("*.new*"))
