"""Quality per network evaluation: samplers on one trained CLD cell, three seeds."""

from __future__ import annotations

from statistics import mean
from typing import Any

import rolls
import torch
from run import markdown

SEEDS, STEPS = (0, 1, 2), 2500
# As published: Euler-Maruyama at 500 and SSCS at 150 evaluations, quadratic in time.
CASES = [
    ("euler_maruyama", 500, "quadratic"),
    ("sscs", 150, "quadratic"),
    *(("multistep_sde", n, "log") for n in (15, 20, 25, 30, 40, 50)),
    *(("multistep", n, "log") for n in (15, 30)),
    *(("sscs", n, "log") for n in (30, 50)),
]


def measure() -> dict[str, Any]:
    """Return a row per sampler, grid and number of evaluations: means over the seeds."""
    torch.set_num_threads(1)
    cells = [rolls.trained("cld", seed, STEPS)[0] for seed in SEEDS]
    rows = []
    for sampler, steps, grid in CASES:
        found = [rolls.quality(cell, sampler, steps, grid=grid) for cell in cells]
        means = {key: mean(one[key] for one in found) for key in found[0]}
        rows.append({"sampler": sampler, "grid": grid} | means)
        print(rows[-1], flush=True)
    return {"rows": rows, "seeds": len(SEEDS), "steps": STEPS}


def tables(result: dict[str, Any]) -> dict[str, str]:
    """`cld`: a row a sampler, grid and number of evaluations."""
    fields = ("sampler", "grid", "nfe", "off", "local", "cpu_seconds")
    rows = [[row[f] for f in fields] for row in result["rows"]]
    return {"cld": markdown(["sampler", "grid", "NFE", "off", "local", "CPU s"], rows)}
