"""Time to quality on the rolls: five processes, three seeds, one short training each."""

from __future__ import annotations

from typing import Any

import rolls
import torch

PROCESSES, SEEDS, STEPS = ("vp", "subvp", "ve", "edm", "cld"), (0, 1, 2), 1200
SAMPLER, NFE = "multistep_sde", 50


def run() -> dict[str, Any]:
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


if __name__ == "__main__":
    import json

    print(json.dumps(run(), indent=1))
