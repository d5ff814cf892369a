"""Deployments as docs/operations.md uses them: a night that sends its cells away, a cell, a publication.

Slow: a real server, a worker of each pool.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from flows_checkout import checkout, environment, evaluated, finished, sgm
from prefect_server import deploy, objects, running, server, until

__all__ = ["server"]  # the fixture
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
ALL = ["subvp-mlp-s0", "ve-mlp-s0", "vp-mlp-s0"]


@pytest.fixture(scope="module")
def project(
    server: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, dict[str, str]]]:
    """A deployed checkout without data, a worker of each pool, and what a client's environment has."""
    folder, client = checkout(tmp_path_factory.mktemp("control") / "project"), dict(server)
    assert sgm(folder, "init", "--server", **server).returncode == 0
    first = deploy(folder, server)
    again = deploy(folder, server)
    assert {n: d["id"] for n, d in again.items()} == {n: d["id"] for n, d in first.items()}
    client["SGM_EXECUTOR"] = "pool"
    with (
        running(["prefect", "worker", "start", "--pool", "control"], Path("/"), client),
        running(["flows", "worker", "--slots", "2"], folder, server),
    ):
        yield folder, client


def asked(folder: Path, server: dict[str, str], *words: str, runs: int = 1) -> list[dict[str, Any]]:
    """`prefect deployment run WORDS`, as often; the runs when all have ended."""
    before = {run["id"] for run in objects(server, "flow_runs")}
    command = [sys.executable, "-m", "prefect", "deployment", "run", *words]
    for _ in range(runs):
        done = subprocess.run(
            command, cwd=folder, env=environment(**server), capture_output=True, text=True, check=False
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
    name = words[0].partition("/")[2]
    deployment = next(d["id"] for d in objects(server, "deployments") if d["name"] == name)

    def mine() -> list[dict[str, Any]]:
        found = [r for r in objects(server, "flow_runs") if r["deployment_id"] == deployment]
        return [r for r in found if r["id"] not in before and not r["auto_scheduled"]]

    ended = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
    until(lambda: {run["state_type"] for run in mine()} <= ended, words[0], 600)
    assert len(mine()) == runs
    return mine()


def in_pool(server: dict[str, str], pool: str) -> list[dict[str, Any]]:
    return [run for run in objects(server, "flow_runs") if run["work_pool_name"] == pool]


def test_a_night_on_the_pool_control_sends_its_cells_to_the_pool_gpu(
    project: tuple[Path, dict[str, str]],
) -> None:
    folder, client = project
    (night,) = asked(folder, client, "lifecycle/nightly")
    assert night["state_type"] == "COMPLETED", night["state"]
    assert night["work_pool_name"] == "control"
    assert evaluated(folder) == ALL
    sent = [run for run in in_pool(client, "gpu") if run["state_type"] == "COMPLETED"]
    assert len(sent) == 4, "three cells and a comparison of samplers"
    assert "is the first champion" in sgm(folder, "history", "rolls", **client).stdout


def test_sgm_run_sends_its_cells_to_the_pool(project: tuple[Path, dict[str, str]]) -> None:
    folder, client = project
    before = len(in_pool(client, "gpu"))
    (folder / "params.yaml").write_text(
        (folder / "params.yaml").read_text().replace("steps: 60", "steps: 70")
    )
    done = sgm(folder, "run", "again", "--no-publish", **client)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(in_pool(client, "gpu")) > before


def test_the_deployment_of_a_cell_finds_it_or_makes_it(
    project: tuple[Path, dict[str, str]],
) -> None:
    folder, client = project
    words = ["cell/cell", "-p", "experiment=again", "-p", "name=vp-mlp-s0"]
    names = [asked(folder, client, *words)[0]["state_name"] for _ in range(2)]
    assert names[1] == "Cached"
    before = finished(folder)
    (run,) = asked(folder, client, "cell/cell", "-p", "experiment=rolls", "-p", "name=ve-mlp-s0")
    assert run["state_type"] == "COMPLETED"
    assert run["work_pool_name"] == "gpu"
    assert len(finished(folder)) == len(before) + 1


def test_of_two_publications_one_waits_for_the_other(
    project: tuple[Path, dict[str, str]],
) -> None:
    folder, client = project
    assert sgm(folder, "run", "rolls", "--no-publish", **client).returncode == 0
    runs = asked(folder, client, "publish/publish", "-p", "experiment=rolls", runs=2)
    assert [run["state_type"] for run in runs] == ["COMPLETED"] * 2, [r["state"] for r in runs]
    first, second = sorted(runs, key=lambda run: str(run["start_time"]))
    ended, began = (
        datetime.fromisoformat(r[k]) for r, k in ((first, "end_time"), (second, "start_time"))
    )
    assert ended <= began
