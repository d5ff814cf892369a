"""Requests a second and their latency, for many clients of one studio, with and without batching.

    python benchmarks/serving.py                    1, 8 and 64 clients; a U-Net for digits, an MLP
    python benchmarks/serving.py --json out.json    the numbers, for a chart

Every client asks for one sample at a time, as fast as it is answered (a closed loop), without frames,
each with seeds of its own. "same": all with the model's settings; "mixed": clients take turns among
four samplers and step numbers, whose runs meet at the network only. Without batching the server draws
one request after the other. CPU seconds are the server's own, per request; clients are threads of this
process and take a share of the same cores, so that on a small machine the throughput of 64 clients is
somewhat better than it says here.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from sgm_core import ScoreModel  # noqa: E402
from sgm_core.export.bundle import write_bundle_manifest  # noqa: E402
from sgm_core.export.graph import network_graph  # noqa: E402

UNET = {"kind": "unet", "channels": 16, "multipliers": [1, 2], "blocks": 2}
MLP = {"kind": "mlp", "width": 128, "depth": 3, "fourier": 64}
MODELS: dict[str, dict[str, Any]] = {
    "unet": {"img_size": 8, "num_channels": 1, "net": UNET, "labels": [str(i) for i in range(10)]},
    "mlp": {"shape": (2,), "net": MLP},
}
MIXED: list[dict[str, Any]] = [
    {},
    {"sampler": "ddim", "steps": 20},
    {"sampler": "multistep", "steps": 30},
    {"sampler": "heun", "steps": 15},
]
# A studio that draws one request after the other: one run at a time, of one request.
ALONE = """
import sys
from pathlib import Path
from studio.access import Access
from studio.serve import bind, serve
from studio.source import FolderSource
from studio.studio import Studio, Tuning
rows, runs, threads = map(int, sys.argv[2:5])
tuning = Tuning(threads=threads, runs=runs, rows=rows)
serve(Studio(FolderSource(Path(sys.argv[1])), Access.of("127.0.0.1", [], ""), tuning=tuning),
      bind("127.0.0.1", 0))
"""


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description="throughput and latency of sgm studio")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of the network")
    parser.add_argument("--runs", type=int, default=3, help="runs at once")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    print("model batching settings clients  requests/s   p50 ms   p95 ms  server CPU ms/request")
    with tempfile.TemporaryDirectory(prefix="sgm-serving-") as name:
        _bundles(Path(name), given.models)
        for batching in (False, True):
            size = (64, given.runs) if batching else (1, 1)
            with _server(Path(name), *size, given.threads) as (port, pid):
                for model in given.models:
                    for mixed in (False, True):
                        for clients in given.clients:
                            row = _measured(port, pid, model, clients, mixed, given.seconds)
                            row |= {"model": model, "batching": batching, "mixed": mixed}
                            rows.append(row)
                            print(_line(row), flush=True)
    for model in given.models:
        _gain(rows, model)
    if given.json:
        given.json.write_text(json.dumps({"cores": os.cpu_count(), "rows": rows}, indent=1))


def _measured(
    port: int, pid: int, model: str, clients: int, mixed: bool, seconds: float
) -> dict[str, Any]:
    """Let clients ask for a while; requests that end in it count."""
    taken: list[list[tuple[float, float]]] = [[] for _ in range(clients)]
    stop = threading.Event()

    def ask(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        extra = MIXED[number % len(MIXED)] if mixed else {}
        for turn in range(1_000_000):
            if stop.is_set():
                return
            body = {"model": model, "frames": False, "seed": number * 10_000 + turn, **extra}
            start = time.perf_counter()
            connection.request(
                "POST", "/api/generate", json.dumps(body), {"content-type": "application/json"}
            )
            answer = connection.getresponse().read()
            if b"event: done" not in answer:
                sys.exit(f"a request failed: {answer[:300]!r}")
            end = time.perf_counter()
            taken[number].append((end, end - start))

    threads = [threading.Thread(target=ask, args=(i,), daemon=True) for i in range(clients)]
    for thread in threads:
        thread.start()
    time.sleep(min(3.0, seconds / 3))  # until runs have their size
    start, cpu = time.perf_counter(), _cpu(pid)
    time.sleep(seconds)
    end, used = time.perf_counter(), _cpu(pid) - cpu
    stop.set()
    for thread in threads:
        thread.join()
    inside = [d for times in taken for at, d in times if start <= at <= end]
    p50, p95 = np.percentile(inside, [50, 95]) * 1e3
    rate = len(inside) / (end - start)
    each = used / len(inside) * 1e3
    return {"clients": clients, "rate": rate, "p50": p50, "p95": p95, "cpu": each}


def _line(row: dict[str, Any]) -> str:
    batching, settings = ("yes" if row["batching"] else "no"), "mixed" if row["mixed"] else "same"
    return (
        f"{row['model']:5} {batching:8} {settings:8} {row['clients']:7} {row['rate']:11.1f} "
        f"{row['p50']:8.0f} {row['p95']:8.0f} {row['cpu']:22.1f}"
    )


def _gain(rows: list[dict[str, Any]], model: str) -> None:
    """Print what many clients get in all, against one client that nobody shares the server with."""
    for mixed in (False, True):
        mine = [r for r in rows if r["model"] == model and r["mixed"] == mixed]
        alone = [r["rate"] for r in mine if not r["batching"] and r["clients"] == 1]
        most = [
            r for r in mine if r["batching"] and r["clients"] == max(x["clients"] for x in mine)
        ]
        if alone and most:
            what = "mixed" if mixed else "the same"
            gain = most[0]["rate"] / alone[0]
            print(
                f"{model}, {what} settings: {most[0]['clients']} clients get {gain:.1f} x the "
                "throughput of one at a time"
            )


def _bundles(folder: Path, names: list[str]) -> None:
    """Write bundles of networks with random weights: time does not depend on them."""
    for name in names:
        model = ScoreModel(**MODELS[name])
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for weights in model.net.parameters():
                weights.add_(0.02 * torch.randn(weights.shape, generator=generator))
        place = folder / name
        model.save(place)
        (place / "model.onnx").write_bytes(network_graph(model).SerializeToString())
        there = {variant: {"status": "published", "metrics": {}} for variant in ("fp32", "onnx")}
        about: dict[str, Any] = {"quality": None, "notes": []}
        write_bundle_manifest(place, name, 1, "0" * 64, there, about)


@contextmanager
def _server(folder: Path, rows: int, runs: int, threads: int) -> Iterator[tuple[int, int]]:
    """A studio on a free port; yields the port and the process's number."""
    command = [sys.executable, "-c", ALONE, str(folder), str(rows), str(runs), str(threads)]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(threads)}
    server = subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        if not line.startswith("http://"):
            sys.exit(f"the server did not start: {line}")
        yield int(line.split()[0].rpartition(":")[2]), server.pid
    finally:
        server.terminate()
        server.wait(30)


def _cpu(pid: int) -> float:
    """Return the CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
