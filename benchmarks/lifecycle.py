"""The whole default `dvc repro` of a fresh clone: wall time beside the work of its cells.

Work is what trains and measures, in CPU seconds by the record of the store's entries: training, and
evaluations (sampling, metrics, likelihoods, pictures). Publication trains and samples, too, and is told
apart: a decision falls on fresh samples, and a champion's bundle has networks tuned, pruned and measured.
The rest of the wall time is data and their noise floors, starts, MLflow, Prefect, reports, and cores that
idle at the end of a rung.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

from run import ROOT, markdown

from sgm_core.job import SCORE


def measure() -> dict[str, Any]:
    """Run it; needs a git checkout, and measures its last commit."""
    with tempfile.TemporaryDirectory(prefix="sgm-lifecycle-") as name:
        folder = Path(name) / "project"
        quiet: dict[str, Any] = {"check": True, "stdout": subprocess.DEVNULL}
        subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], **quiet)
        programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        variables = {**os.environ, "PATH": programs, "PYTHONPATH": str(folder)}
        subprocess.run(["sgm", "init"], cwd=folder, env=variables, **quiet)
        stages = _stages(folder, variables)
        store, published = folder / ".sgm" / "store", _published(folder)
        cells, evaluations, bundles = (
            _manifests(store / kind) for kind in ("cells", "evaluations", "bundles")
        )
    scores = [entry for entry in evaluations if entry["describe"]["task"] == SCORE]
    return {
        "stages": stages,
        "published": published,
        "cores": len(os.sched_getaffinity(0)),
        "cells": len(cells),
        "training": sum(one["cpu_seconds"] for one in cells),
        "evaluation": sum(e["cpu_seconds"] for e in evaluations if e not in scores),
        "publishing": sum(entry["cpu_seconds"] for entry in (*scores, *bundles)),
    }


def tables(result: dict[str, Any]) -> dict[str, str]:
    """`work`: of the cells, and what the grids take beside it, without publication; `whole`: with it,
    data stages and all starts; `stages`."""
    work = (result["training"] + result["evaluation"]) / result["cores"]
    grids = (seconds for name, seconds in result["stages"].items() if name.startswith("grid"))
    wall = sum(grids) - result["published"]
    head = [
        "cells",
        "training, CPU s",
        "evaluation, CPU s",
        "both / cores",
        "wall of the grids, s",
        "ratio",
    ]
    row: list[object] = [result["cells"], result["training"], result["evaluation"], work]
    stages: list[list[object]] = [[name, seconds] for name, seconds in result["stages"].items()]
    stages.append(["publication, of the grids' time", result["published"]])
    whole = sum(result["stages"].values())
    both = work + result["publishing"] / result["cores"]
    heads = ["publishing, CPU s", "all work / cores", "wall of `dvc repro`, s", "ratio"]
    return {
        "whole": markdown(heads, [[result["publishing"], both, whole, whole / both]]),
        "work": markdown(head, [[*row, wall, wall / work]]),
        "stages": markdown(["stage", "wall s"], stages),
    }


def _stages(folder: Path, variables: dict[str, str]) -> dict[str, float]:
    """Run `dvc repro`; return each stage's seconds, from one headline of DVC's to the next."""
    process = subprocess.Popen(
        ["dvc", "repro"], cwd=folder, env=variables, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    begun = {"start": time.monotonic()}
    for line in process.stdout:
        if line.startswith("Running stage"):
            begun[line.split("'")[1]] = time.monotonic()
    if process.wait():
        raise subprocess.CalledProcessError(process.returncode, "dvc repro")
    ends = [*list(begun.values())[1:], time.monotonic()]
    return {name: end - start for (name, start), end in zip(begun.items(), ends, strict=True)}


def _published(folder: Path) -> float:
    """Seconds of the publications, by Prefect's record."""
    database = folder / ".sgm" / "prefect" / "prefect.db"
    with closing(sqlite3.connect(database)) as prefect:
        rows = prefect.execute(
            "select r.start_time, r.end_time from flow_run r join flow f on f.id = r.flow_id "
            "where f.name = 'publish'"
        ).fetchall()
    read = datetime.fromisoformat
    return sum((read(end) - read(start)).total_seconds() for start, end in rows)


def _manifests(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sorted(folder.glob("*/manifest.json"))]
