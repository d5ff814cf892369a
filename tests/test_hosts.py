"""Three hosts: servers on one, agents on two; one agent's cable is pulled in the middle of a cell. Slow.

No disk is shared: each host has its own checkout at the same path. Data comes by `dvc pull` from a
bucket, cells and checkpoints go through SGM_STORE.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from flows_checkout import ROOT, checkout, environment, evaluated
from hosts import Host, hosts
from s3_server import file_system, new_bucket
from team import answers, canary, commit, free_port, team, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]
NAMES = ["subvp-mlp-s0", "ve-mlp-s0", "vp-mlp-s0"]
LEASE = 20


def test_an_agent_that_is_cut_off_loses_its_cell_to_the_other(tmp_path: Path) -> None:
    with ExitStack() as stack:
        _, (server, *agents) = stack.enter_context(hosts(3))
        servers = stack.enter_context(team(server.address, server.prefix))
        s3 = _bucket_server(stack, server)
        bucket = new_bucket(s3)
        store = {"SGM_STORE": f"s3://{bucket}/store", "SGM_STORE_LEASE": str(LEASE), **s3}
        variables = {**servers.variables, **store}
        at = tmp_path / "project"
        at.mkdir()
        disks = [_disk(tmp_path / host.name, bucket) for host in (server, *agents)]
        run = _runner(server, disks[0], at, variables)
        for command in (["prepare", "rolls"], ["reference", "rolls"], ["init", "--server"]):
            run("flows", *command)
        # Their digests go to everybody with git, the data itself with DVC.
        run("dvc", "commit", "--force", "--quiet", "prepare@rolls", "reference@rolls")
        run("dvc", "push", "--quiet", "data/prepared/rolls", "data/reference/rolls")
        run("prefect", "--no-prompt", "deploy", "--all")
        for disk in disks[1:]:
            (disk / "dvc.lock").write_bytes((disks[0] / "dvc.lock").read_bytes())
            commit(disk)
            assert not (disk / "data" / "prepared").exists()
        logs = [tmp_path / f"{host.name}.log" for host in agents]
        workers = [
            _start(stack, host, disk, at, variables, ["worker", "--slots", "1"], log)
            for host, disk, log in zip(agents, disks[1:], logs, strict=True)
        ]
        grid_log = tmp_path / "grid.log"
        more = {**variables, "SGM_EXECUTOR": "pool"}
        grid = _start(stack, server, disks[0], at, more, ["grid", "rolls"], grid_log)

        def shared() -> list[str]:
            """Cells in the making whose checkpoints are in the bucket."""
            records = _records(s3, bucket)
            return [key for key, r in records.items() if r["state"] == "building" and r["work"]]

        until(lambda: shared() or grid.poll() is not None, "a checkpoint in the bucket", 900)
        assert grid.poll() is None, grid_log.read_text()
        (key, *_) = shared()
        victim = next(i for i, disk in enumerate(disks[1:]) if _works(disk, key))
        agents[victim].cut()
        began = time.monotonic()
        assert grid.wait(900) == 0, grid_log.read_text()
        print(f"the grid ended {time.monotonic() - began:.0f} s after an agent was cut off")
        assert evaluated(disks[0]) == NAMES
        records = _records(s3, bucket)
        assert all(record["state"] == "done" for record in records.values())
        assert records[key]["token"] >= 2, "somebody else took it over"
        winner = records[key]["manifest"]

        # The orphan comes back: what it has made of that cell is refused, or it gave up before.
        agents[victim].plug()
        time.sleep(2 * LEASE)
        assert _records(s3, bucket)[key]["manifest"] == winner
        assert not (disks[1 + victim] / ".sgm" / "store" / "cells" / key).exists() or (
            disks[1 + victim] / ".sgm" / "store" / "cells" / key / "manifest.json"
        ).read_text().count(winner["created"])
        for worker in workers:
            assert worker.poll() is None, "agents go on"
        points = json.loads((disks[0] / ".sgm/store/cells" / key / "history.json").read_text())
        steps = [point["step"] for point in points]
        assert steps == sorted(set(steps)) and steps[-1] == 20_000, "trained once"


def _disk(folder: Path, bucket: str) -> Path:
    """A host's checkout, whose DVC remote is a bucket."""
    checkout(folder, steps=20_000)
    config = folder / ".dvc" / "config"
    config.write_text(config.read_text() + f"\n['remote \"team\"']\n    url = s3://{bucket}/dvc\n")
    config.write_text(config.read_text().replace("[core]", "[core]\n    remote = team", 1))
    commit(folder)
    return folder


def _works(disk: Path, key: str) -> bool:
    return any((disk / ".sgm" / "store" / "cells" / f"{key}.work").glob("checkpoint*"))


def _records(s3: dict[str, str], bucket: str) -> dict[str, dict]:  # type: ignore[type-arg]
    """The records of the cells in the bucket, by key."""
    files = file_system(s3)
    names = [n for n in files.find(f"{bucket}/store/cells") if n.endswith("/record.json")]
    return {name.split("/")[-2]: json.loads(files.cat_file(name)) for name in names}


def _bucket_server(stack: ExitStack, host: Host) -> dict[str, str]:
    port = free_port()
    process = subprocess.Popen(
        [*host.prefix, sys.executable, str(ROOT / "tests" / "s3_server.py"), host.address, str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    stack.callback(process.wait)
    stack.callback(process.kill)
    url = f"http://{host.address}:{port}"
    until(lambda: answers(f"{url}/moto-api/"), "the bucket's server")
    secret = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": canary()}
    return {"AWS_ENDPOINT_URL": url, "AWS_DEFAULT_REGION": "us-east-1", **secret}


def _runner(host: Host, disk: Path, at: Path, variables: dict[str, str]) -> Callable[..., None]:
    def run(module: str, *arguments: str) -> None:
        done = subprocess.run(
            [*host.with_disk(disk, at), sys.executable, "-m", module, *arguments],
            env=environment(**variables), capture_output=True, text=True, check=False, timeout=900,
        )  # fmt: skip
        assert done.returncode == 0, f"{module} {arguments}: {done.stdout}{done.stderr}"

    return run


def _start(
    stack: ExitStack, host: Host, disk: Path, at: Path, variables: dict[str, str],
    arguments: list[str], log: Path,
) -> subprocess.Popen[bytes]:  # fmt: skip
    """A command of ours that runs in the background on a host."""
    out = stack.enter_context(log.open("w"))
    process = subprocess.Popen(
        [*host.with_disk(disk, at), sys.executable, "-m", "flows", *arguments],
        env=environment(**variables), stdout=out, stderr=out,
    )  # fmt: skip
    stack.callback(process.wait)
    stack.callback(process.terminate)
    return process
