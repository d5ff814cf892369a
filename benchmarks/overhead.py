"""What orchestration costs: seconds of a grid beyond the CPU seconds that its cells work.

    python benchmarks/overhead.py                      embedded Prefect, 8, 64 and 256 cells
    python benchmarks/overhead.py --pool               the same through a work pool of a server

A cell's own work are the CPU seconds that training and evaluation took, by the record of its entries in
the store: of the same run, so that a processor that slows down slows both. CPU seconds of the command and
all its processes beyond that are overhead; and so is wall time beyond work / slots: start of Prefect and of
worker processes, imports, MLflow, the report. The line through the smallest and the largest size parts it
into seconds once and seconds a cell. Then nothing is left to do: the same command again.

Publication is no orchestration, but work on a product (the bundle: half precision, ONNX, int8, pruned,
each measured), the same for any number of cells: it is measured apart, once, at the smallest size. After
it the body of a nightly run, in which nothing is left to do.

Wall time on shared cores varies threefold; CPU seconds (of all processes that the command starts, and of
the workers of a pool) vary less, by half from hour to hour and twofold between machines. So the CPU seconds
that the libraries' bare imports take, each in a process of its own, are told beside them: what the first
cell costs is mostly that.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent
PARAMS = """\
active: [rolls]
datasets: {{points: {{kind: swiss_roll, n: 1000}}}}
experiments:
  rolls:
    dataset: points
    seeds: {seeds}
    processes: {{vp: {{}}}}
    nets: {{mlp: {{kind: mlp, width: 16, depth: 1}}}}
    training: {{steps: 100, batch: 32}}
    sampling: {{steps: 5}}
    evaluation: {{samples: 100, curve_samples: 50, nfe_curve: [], bootstrap: 10, samplers: [],
                 likelihood_items: 0}}
    selection: {{min_coverage: 0, min_class_share: 0}}
"""


# What a command, its workers (torch) and Prefect's server cannot do without.
LIBRARIES = ("prefect", "mlflow", "torch", "prefect.server.api.server")
FOUND = "sgm_core.cell"
NIGHT = """\
from flows.project import Project
from flows.embedded import Embedded
from flows.setup import initialise
project = Project.find()
initialise(project)
server = Embedded(project)
from flows.lifecycle import lifecycle
from prefect.client.orchestration import get_client
from prefect.client.schemas.sorting import FlowRunSort
with server.ready():
    lifecycle(None, str(project.root))
with get_client(sync_client=True) as client:
    (run,) = client.read_flow_runs(limit=1, sort=FlowRunSort.START_TIME_DESC)
    print((run.end_time - run.start_time).total_seconds())
"""


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description="seconds of a grid beyond its cells' own work")
    parser.add_argument(
        "--cells", type=int, nargs="+", default=[8, 64, 256], help="sizes of the grid"
    )
    parser.add_argument("--slots", type=int, default=2, help="cells at once")
    parser.add_argument("--pool", action="store_true", help="through a Prefect server's work pool")
    given = parser.parse_args()
    print(_imports(), flush=True)
    rows = []
    with tempfile.TemporaryDirectory(prefix="sgm-overhead-") as name:
        for cells in given.cells:
            folder = _project(Path(name) / f"project-{cells}", cells)
            if given.pool:
                with _server(Path(name) / f"prefect-{cells}", folder, given.slots) as variables:
                    rows.append(_measured(folder, cells, given.slots, variables))
            else:
                variables = {"SGM_EXECUTOR": f"local:{given.slots}"}
                rows.append(_measured(folder, cells, given.slots, variables))
            print(_line(rows[-1]), flush=True)
            if len(rows) == 1 and not given.pool:
                print(_published(folder, variables), flush=True)
    if len(rows) > 1:
        first, last = rows[0], rows[-1]
        for name, unit in (("over", "CPU s"), ("late", "s wall")):
            per_cell = (last[name] - first[name]) / (last["cells"] - first["cells"])
            once = first[name] - per_cell * first["cells"]
            print(f"overhead: {once:.1f} {unit} once, {per_cell:.2f} {unit} a cell")
        held = ", ".join(f"{row['first'].memory / 2**20:.0f} ({row['cells']})" for row in rows)
        print(f"parent's memory at most, MiB (cells): {held}")


def _imports() -> str:
    """CPU seconds of importing each library, and what it takes to find a finished cell; the second time."""
    told = {}
    for name in (*LIBRARIES, FOUND):
        for _ in range(2):
            before = _cpu()
            subprocess.run([sys.executable, "-c", f"import {name}"], env=_environment(), check=True)
            told[name] = _cpu() - before
    found = told.pop(FOUND)
    each = ", ".join(f"{name} {seconds:.1f}" for name, seconds in told.items())
    return (
        f"bare imports: {sum(told.values()):.1f} CPU s ({each}); "
        f"to find a finished cell: {found:.2f} CPU s"
    )


def _published(folder: Path, variables: dict[str, str]) -> str:
    """Publish the best cell, then have a night with nothing to do."""
    spent = _run(folder, variables, "run", "rolls")
    night = float(_python(folder, NIGHT).split()[0])
    return (
        f"     publication with its bundle: {spent.cpu:.0f} CPU s, {spent.wall:.0f} s wall; then the "
        f"body of a night: {night:.1f} s"
    )


def _measured(folder: Path, cells: int, slots: int, variables: dict[str, str]) -> dict[str, Any]:
    """Run the grid twice; the second time nothing is left to do."""
    first = _run(folder, variables, "grid", "rolls", "--no-publish")
    own = sum(
        json.loads(file.read_text())["cpu_seconds"]
        for file in (folder / ".sgm" / "store").glob("*/*/manifest.json")
    )
    again = _run(folder, variables, "grid", "rolls", "--no-publish")
    over, late = first.cpu - own, first.wall - own / slots
    return {"cells": cells, "own": own, "first": first, "again": again, "over": over, "late": late}


def _line(row: dict[str, Any]) -> str:
    cells, first, again = row["cells"], row["first"], row["again"]
    return (
        f"{cells:4} cells of {row['own'] / cells:.2f} CPU s: {first.cpu:.0f} CPU s, {first.wall:.0f} s "
        f"wall; beyond their work {row['over']:.1f} CPU s ({row['over'] / cells:.2f} a cell), "
        f"{row['late']:.1f} s wall ({row['late'] / cells:.2f} a cell); parent at most "
        f"{first.memory / 2**20:.0f} MiB; nothing to do: {again.cpu:.1f} CPU s, {again.wall:.1f} s wall"
    )


def _project(folder: Path, cells: int) -> Path:
    for name in ("sgm_core", "flows"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "prefect.yaml", folder)
    (folder / "data" / "raw").mkdir(parents=True)
    (folder / "params.yaml").write_text(PARAMS.format(seeds=list(range(cells))))
    _run(folder, {}, "init")
    for stage in ("prepare", "reference"):
        _run(folder, {}, stage, "rolls")
    return folder


@dataclass(frozen=True)
class Spent:
    """Wall seconds, CPU seconds of a command with its children, and the most memory it held itself."""

    wall: float
    cpu: float
    memory: int


def _run(folder: Path, variables: dict[str, str], *arguments: str) -> Spent:
    """Run `sgm ARGUMENTS`; the CPU seconds of a pool's workers count too."""
    before, start, memory = _cpu(), time.monotonic(), 0
    command, log = [sys.executable, "-m", "flows", *arguments], folder / "overhead.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            command, cwd=folder, env=_environment() | variables, stdout=out, stderr=out
        )
        status = Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            with contextlib.suppress(OSError, IndexError):  # it may end in between
                line = status.read_text().partition("VmHWM:")[2].split()
                memory = int(line[0]) * 1024
            time.sleep(0.05)
    if process.returncode:
        sys.exit(f"sgm {' '.join(arguments)} failed: {log.read_text()[-2000:]}")
    return Spent(time.monotonic() - start, _cpu() - before, memory)


def _cpu() -> float:
    """CPU seconds of all children that have ended, and of those that live, with theirs."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = spent.ru_utime + spent.ru_stime
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            times = child.cpu_times()
            seconds += times.user + times.system + times.children_user + times.children_system
    return seconds


def _python(folder: Path, code: str, *arguments: str) -> str:
    """Run some code in the project; return what it printed last."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder, env=_environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    return done.stdout.strip().splitlines()[-1]


def _environment() -> dict[str, str]:
    kept = {
        k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_", "SGM_"))
    }
    return kept | {"DO_NOT_TRACK": "true", "OMP_NUM_THREADS": "1"}


@contextmanager
def _server(home: Path, folder: Path, slots: int) -> Iterator[dict[str, str]]:
    """A Prefect server with the project deployed and a worker per slot."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    variables = {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": url,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
    }
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    options: dict[str, Any] = {"env": _environment() | variables, "cwd": folder, **quiet}
    serve = ["prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen([sys.executable, "-m", *serve], **options)
    worker = None
    try:
        deadline = time.monotonic() + 120
        while not _healthy(url):
            if time.monotonic() > deadline:
                sys.exit("the Prefect server did not start")
            time.sleep(0.5)
        _run(folder, variables, "init", "--server")
        deploy = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
        subprocess.run(deploy, check=True, **options)
        work = [sys.executable, "-m", "flows", "worker", "--slots", str(slots)]
        worker = subprocess.Popen(work, **options)
        time.sleep(15)  # until the workers are online
        yield variables | {"SGM_EXECUTOR": "pool"}
    finally:
        for process in filter(None, (worker, server)):
            process.terminate()
            process.wait(60)


def _healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


if __name__ == "__main__":
    main()
