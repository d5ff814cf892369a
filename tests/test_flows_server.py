"""Deployments on a Prefect server: they load, a schedule starts one, a worker runs it. Slow."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flows_checkout import checkout, evaluated, sgm
from prefect_server import call, deploy, objects, running, server, state_of, until

__all__ = ["server"]  # the fixture
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def test_a_scheduled_run_of_the_lifecycle(server: dict[str, str], tmp_path: Path) -> None:
    folder = checkout(tmp_path / "project")
    made = sgm(folder, "init", "--server", **server)
    assert made.returncode == 0, made.stderr
    assert "Prefect server: work pool control, work pool gpu, automation" in made.stdout
    assert "Prefect server: all there" in sgm(folder, "init", "--server", **server).stdout

    # The same deployment on a short interval instead of once a night.
    yaml = folder / "prefect.yaml"
    nightly = '      - cron: "0 2 * * *"\n        timezone: UTC\n        active: true\n'
    assert nightly in yaml.read_text()
    yaml.write_text(yaml.read_text().replace(nightly, "      - interval: 20\n"))
    deployed = deploy(folder, server)
    assert set(deployed) == {"nightly", "cell", "cells", "publish"}
    assert deployed["nightly"]["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"

    with running(["prefect", "worker", "start", "--pool", "control"], Path("/"), server):
        until(lambda: _completed(server, deployed["nightly"]["id"]), "scheduled run", 240)
    assert evaluated(folder) == ["subvp-mlp-s0", "ve-mlp-s0", "vp-mlp-s0"]
    names = {run["name"]: run["state_name"] for run in objects(server, "task_runs")}
    for cell in ("vp-mlp-s0", "ve-mlp-s0", "subvp-mlp-s0"):
        assert names[cell] in ("Completed", "Cached")
    kinds = {entry["key"]: entry["type"] for entry in objects(server, "artifacts")}
    assert kinds["leaderboard-rolls"] == "table"
    assert kinds["cell-rolls-vp-mlp-s0"] == "markdown"


def test_a_run_that_is_half_a_day_late_is_skipped(server: dict[str, str], tmp_path: Path) -> None:
    folder = checkout(tmp_path / "project")
    assert sgm(folder, "init", "--server", **server).returncode == 0
    nightly = deploy(folder, server)["nightly"]["id"]
    due = datetime.now(UTC) - timedelta(hours=13)
    details = {"scheduled_time": due.isoformat()}
    state = {"type": "SCHEDULED", "name": "Scheduled", "state_details": details}
    run = call(server, f"deployments/{nightly}/create_flow_run", {"state": state})["id"]
    with running(["prefect", "worker", "start", "--pool", "control"], Path("/"), server):
        until(lambda: state_of(server, run)["type"] == "COMPLETED", "late run", 120)
    assert state_of(server, run)["name"] == "Skipped"
    assert "13.0 h late; skipped above 12 h" in state_of(server, run)["message"]
    assert not (folder / "data" / "prepared").exists()


def _completed(server: dict[str, str], deployment: str) -> bool:
    runs = [r for r in objects(server, "flow_runs") if r["deployment_id"] == deployment]
    bad = [r["state"] for r in runs if r["state_type"] in ("FAILED", "CRASHED")]
    assert not bad, bad
    return any(run["state_type"] == "COMPLETED" for run in runs)
