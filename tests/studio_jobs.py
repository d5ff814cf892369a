"""Jobs for the studio's engine in Node (studio_engine.mjs), and the arrays they travel with."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
STATIC = ROOT / "studio" / "static"


def packed(array: Any) -> dict[str, Any]:
    data = np.ascontiguousarray(array, dtype="<f4")
    return {"shape": list(data.shape), "f32": base64.b64encode(data.tobytes()).decode()}


def floats(value: dict[str, Any], shape: tuple[int, ...]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(value["f32"]), dtype="<f4").reshape(shape)


def run_jobs(
    jobs: list[dict[str, Any]], folder: Path, seconds: float = 250
) -> list[dict[str, Any]]:
    """Run all jobs in one Node process within `seconds`; results in their order."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed: the studio's engine is not tested")
    (folder / "jobs.json").write_text(json.dumps(jobs))
    script = Path(__file__).parent / "studio_engine.mjs"
    command = [node, str(script), str(STATIC), "jobs.json", "results.json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, done.stderr[-2000:]
    results: list[dict[str, Any]] = json.loads((folder / "results.json").read_text())
    return results
