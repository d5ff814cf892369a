"""A small checkout of the project in a temporary folder, and ways to run its commands."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from sgm_core.job import EVALUATE

ROOT = Path(__file__).resolve().parent.parent

PARAMS = """\
active: [rolls]
datasets:
  points: {kind: swiss_roll, n: 1000, noise: 0.2, seed: 0, validation: 0.2, test: 0.2}
experiments:
  rolls:
    dataset: points
    processes: {vp: {}, ve: {sigma_min: 0.002}, subvp: {}}
    nets:
      mlp: {kind: mlp, width: 16, depth: 1}
    training: {steps: STEPS, batch: 32, checkpoint_every: 50}
    sampling: {steps: 6}
    evaluation: {samples: 100, curve_samples: 50, nfe_curve: [5], bootstrap: 10, samplers: [ddim]}
    selection: {min_coverage: 0, min_class_share: 0}
    publish: {bundle: false}
  again:
    dataset: points
    processes: {vp: {}}
    nets:
      mlp: {kind: mlp, width: 16, depth: 1}
    training: {steps: STEPS, batch: 32, checkpoint_every: 50}
    sampling: {steps: 6}
    evaluation: {samples: 100, curve_samples: 50, nfe_curve: [5], bootstrap: 10, samplers: [ddim]}
    selection: {min_coverage: 0, min_class_share: 0}
    publish: {bundle: false}
"""


def checkout(folder: Path, steps: int = 60, git: bool = True) -> Path:
    """Copy the packages and DVC's files into `folder`, with a tiny params.yaml."""
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("sgm_core", "flows", "custom"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    for name in ("dvc.yaml", "prefect.yaml", ".dvcignore", ".dvc/config", ".dvc/.gitignore"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    (folder / "data" / "raw").mkdir(parents=True)
    (folder / "params.yaml").write_text(PARAMS.replace("STEPS", str(steps)))
    if git:
        subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    return folder


def environment(**more: str) -> dict[str, str]:
    """The environment of a fresh user: nothing of ours or of Prefect's is set."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("PREFECT_", "MLFLOW_", "SGM_", "PYTHONPATH"))
    }
    path = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", "")])
    return {**kept, "PATH": path, "DO_NOT_TRACK": "true", "OMP_NUM_THREADS": "1", **more}


def sgm(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run `sgm ARGUMENTS` in the checkout."""
    return _run(folder, [sys.executable, "-m", "flows", *arguments], **more)


def dvc(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run `dvc ARGUMENTS` in the checkout."""
    return _run(folder, [sys.executable, "-m", "dvc", *arguments], **more)


def _run(folder: Path, command: list[str], **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=folder,
        env=environment(**more),
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )


def kill_grid(folder: Path, after: int = 1) -> dict[str, int]:
    """Run the grid of `rolls` and kill it (kill -9) with finished cells and an unfinished one.

    Args:
        folder: the checkout.
        after: how many cells are to be finished.

    Returns:
        The finished cells, as `finished` does.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "flows", "grid", "rolls"],
        cwd=folder,
        env=environment(SGM_EXECUTOR="local:1"),
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    work = folder / ".sgm" / "store" / "cells"
    wait(
        lambda: len(evaluated(folder)) >= after and any(work.glob("*.work/*")),
        process,
    )
    servers = [
        c
        for c in psutil.Process(process.pid).children()
        if "prefect.server.api.server:create_app" in c.cmdline()
    ]
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert len(servers) == 1
    assert not psutil.wait_procs(servers, timeout=30)[1], "its server ends by itself"
    assert list(work.glob("*.work/*")), "it was killed too late"
    return finished(folder)


def wait(condition: Callable[[], object], process: subprocess.Popen[Any]) -> None:
    """Wait for a condition while a process runs."""
    deadline = time.monotonic() + 200
    while not condition():
        assert process.poll() is None, "the grid ended too early"
        assert time.monotonic() < deadline
        time.sleep(0.05)


def finished(folder: Path) -> dict[str, int]:
    """Finished cells of the store: key -> time of the manifest."""
    manifests = (folder / ".sgm" / "store" / "cells").glob("*/manifest.json")
    return {m.parent.name: m.stat().st_mtime_ns for m in manifests if m.parent.name.isalnum()}


def evaluated(folder: Path) -> list[str]:
    """Names of the cells with a finished evaluation, sorted."""
    entries = (folder / ".sgm" / "store" / "evaluations").glob("*/manifest.json")
    documents = [json.loads(m.read_text())["describe"] for m in entries if m.parent.name.isalnum()]
    return sorted(d["name"] for d in documents if d["task"] == EVALUATE)
