"""Time to quality on the rolls: five processes, three seeds, one short training each."""

from __future__ import annotations

from statistics import mean
from typing import Any

import rolls
import torch
from run import markdown

PROCESSES, SEEDS, STEPS = ("vp", "subvp", "ve", "edm", "cld"), (0, 1, 2), 1200
SAMPLER, NFE = "multistep_sde", 50


def measure() -> dict[str, Any]:
    """Return a row per process and seed, and the floor: the validation split against the test split."""
    torch.set_num_threads(1)
    rows = []
    for process in PROCESSES:
        for seed in SEEDS:
            denoiser, seconds = rolls.trained(process, seed, STEPS)
            found = rolls.quality(denoiser, SAMPLER, NFE)
            row = {"process": process, "seed": seed, "steps": STEPS, "train_seconds": seconds}
            rows.append(row | found)
            print(rows[-1], flush=True)
    floor = rolls.distances(rolls.data().split("validation").x)
    return {"rows": rows, "floor": floor, "sampler": SAMPLER}


def tables(result: dict[str, Any]) -> dict[str, str]:
    """`rolls`: a row a process, means over the seeds."""
    head = ["process", "training CPU s", "NFE", "off", "local"]
    names, fields = dict.fromkeys(r["process"] for r in result["rows"]), ("train_seconds", "nfe")
    rows: list[list[object]] = [["*real against real*", "", "", *result["floor"].values()]]
    for name in names:
        own = [r for r in result["rows"] if r["process"] == name]
        rows.append([name, *(mean(r[f] for r in own) for f in (*fields, "off", "local"))])
    return {"rolls": markdown(head, rows)}
