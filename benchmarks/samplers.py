"""Quality per network evaluation: samplers on one trained CLD cell, three seeds."""

from __future__ import annotations

from statistics import mean
from typing import Any

import rolls
import torch
from run import markdown

SEEDS, STEPS = (0, 1, 2), 2500
# As published: Euler-Maruyama at 500 and SSCS at 150 evaluations, quadratic in time. Also with a grid
# that ends earlier.
FINE, COARSE = 0.002, 0.004
CASES = [
    ("euler_maruyama", 500, "quadratic", FINE),
    ("sscs", 150, "quadratic", FINE),
    ("sscs", 150, "quadratic", COARSE),
    *(("multistep_sde", n, "log", COARSE) for n in (15, 20, 25, 30, 50)),
    *(("multistep_sde", n, "log", FINE) for n in (20, 30, 50)),
    ("multistep", 30, "log", COARSE),
    ("sscs", 30, "log", COARSE),
]


def measure() -> dict[str, Any]:
    """Return a row per sampler, grid and number of evaluations: means over the seeds."""
    torch.set_num_threads(1)
    cells = [rolls.trained("cld", seed, STEPS)[0] for seed in SEEDS]
    rows = []
    for sampler, steps, grid, low in CASES:
        found = [rolls.quality(cell, sampler, steps, grid=grid, sigma_min=low) for cell in cells]
        means = {key: mean(one[key] for one in found) for key in found[0]}
        rows.append({"sampler": sampler, "grid": grid, "sigma_min": low} | means)
        print(rows[-1], flush=True)
    return {"rows": rows, "seeds": len(SEEDS), "steps": STEPS}


def tables(result: dict[str, Any]) -> dict[str, str]:
    """`cld`: a row a sampler, grid and number of evaluations."""
    fields = ("sampler", "grid", "sigma_min", "nfe", "off", "local", "cpu_seconds")
    rows = [[row[f] for f in fields] for row in result["rows"]]
    return {"cld": markdown(["sampler", "grid", "sigma_min", "NFE", "off", "local", "CPU s"], rows)}
