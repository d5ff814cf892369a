"""What orchestration costs: seconds of a grid beyond the seconds that its cells work.

    python benchmarks/overhead.py                      embedded Prefect, 8 and 32 cells
    python benchmarks/overhead.py --pool               the same through a work pool of a server

A cell's own work is what its entries in the store say (training and evaluation); with s slots it takes
work / s. What a grid takes beyond that is overhead: start of Prefect and of worker processes, imports,
MLflow, the report. The line through two sizes parts it into seconds once and seconds a cell. A second
run, in which nothing is left to do, is the cost of a night without news.

Wall time on shared cores varies: read ratios, and the CPU seconds beside them.
"""

from __future__ import annotations

import argparse
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
from pathlib import Path
from typing import Any

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
    evaluation: {{samples: 100, curve_samples: 50, nfe_curve: [5], bootstrap: 10, samplers: []}}
    selection: {{min_coverage: 0, min_class_share: 0}}
"""


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description="seconds of a grid beyond its cells' own work")
    parser.add_argument("--cells", type=int, nargs="+", default=[8, 32], help="sizes of the grid")
    parser.add_argument("--slots", type=int, default=2, help="cells at once")
    parser.add_argument("--pool", action="store_true", help="through a Prefect server's work pool")
    given = parser.parse_args()
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
    if len(rows) > 1:
        first, last = rows[0], rows[-1]
        per_cell = (last["over"] - first["over"]) / (last["cells"] - first["cells"])
        once = first["over"] - per_cell * first["cells"]
        print(f"overhead: {once:.1f} s once, {per_cell:.2f} s a cell (wall, {given.slots} slots)")


def _measured(folder: Path, cells: int, slots: int, variables: dict[str, str]) -> dict[str, Any]:
    """Run the grid twice."""
    wall, cpu = _run(folder, variables, "grid", "rolls")
    entries = (folder / ".sgm" / "store").glob("*/*/manifest.json")
    work = sum(json.loads(file.read_text())["seconds"] for file in entries)
    again, again_cpu = _run(folder, variables, "grid", "rolls")
    row = {"cells": cells, "wall": wall, "cpu": cpu, "work": work, "over": wall - work / slots}
    return row | {"again": again, "again_cpu": again_cpu}


def _line(row: dict[str, Any]) -> str:
    return (
        f"{row['cells']:4} cells: {row['wall']:6.1f} s wall, {row['cpu']:6.1f} CPU s; own work "
        f"{row['work']:5.1f} s; overhead {row['over']:6.1f} s, {row['over'] / row['cells']:5.2f} s "
        f"a cell; nothing to do: {row['again']:.1f} s ({row['again_cpu']:.1f} CPU s)"
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


def _run(folder: Path, variables: dict[str, str], *arguments: str) -> tuple[float, float]:
    """Run `sgm ARGUMENTS`; return wall seconds, and CPU seconds of it and its children."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [sys.executable, "-m", "flows", *arguments]
    done = subprocess.run(
        command,
        cwd=folder,
        env=_environment() | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"sgm {' '.join(arguments)} failed: {done.stderr.strip()}")
    wall, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


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
