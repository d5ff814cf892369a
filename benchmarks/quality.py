"""Time to quality on the rolls: five processes, three seeds, two lengths of training.

What mattered, at 1,200 steps (off / local x 1e-3): without `tails` one to three of 10,000 samples end
between the rolls, up to 1.4 away, and each of them weighs more in `off` than all others together: ve 22
to 29 / 14 to 20, edm 10 to 22 / 10 to 15, where with tails 0.02 all processes have 8 to 13 / 2.4 to 4.3. A
share of 0.05 costs a tenth of `off`, noise three times as wide (and not twice) a half and more. All
processes share the network's frame, so that they differ by the first and last level of their grids only.
"""

from __future__ import annotations

from itertools import product
from statistics import mean
from typing import Any

import rolls
import torch
from run import markdown

PROCESSES, SEEDS, STEPS = ("vp", "subvp", "ve", "edm", "cld"), (0, 1, 2), (1200, 2500)
SAMPLER, NFE = "multistep_sde", 50


def measure() -> dict[str, Any]:
    """Return a row per process and seed, and the floor: the validation split against the test split."""
    torch.set_num_threads(1)
    rows = []
    for steps, process, seed in product(STEPS, PROCESSES, SEEDS):
        denoiser, seconds = rolls.trained(process, seed, steps)
        found = rolls.quality(denoiser, SAMPLER, NFE)
        row = {"process": process, "seed": seed, "steps": steps, "train_seconds": seconds}
        rows.append(row | found)
        print(rows[-1], flush=True)
    floor = rolls.distances(rolls.data().split("validation").x)
    return {"rows": rows, "floor": floor, "sampler": SAMPLER}


def tables(result: dict[str, Any]) -> dict[str, str]:
    """`rolls`: a row a process and length of training, means over the seeds and the largest `off`."""
    head = ["process", "steps", "training CPU s", "NFE", "off", "local", "largest off", "local"]
    floor = list(result["floor"].values())
    rows: list[list[object]] = [["*real against real*", "", "", "", *floor, "", ""]]
    for steps, name in dict.fromkeys((r["steps"], r["process"]) for r in result["rows"]):
        own = [r for r in result["rows"] if (r["steps"], r["process"]) == (steps, name)]
        means = [mean(r[f] for r in own) for f in ("train_seconds", "nfe", "off", "local")]
        worst = [max(r[f] for r in own) for f in ("off", "local")]
        rows.append([name, steps, means[0], round(means[1]), *means[2:], *worst])
    return {"rolls": markdown(head, rows)}
