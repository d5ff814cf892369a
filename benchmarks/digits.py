"""Class-conditional digits: how many samples show their class, after some CPU seconds of training."""

from __future__ import annotations

from statistics import mean
from typing import Any

import pictures
import torch
from run import markdown

from sgm_core.heap import keep_memory

RECIPE = pictures.Recipe(
    net={"kind": "unet", "channels": 32, "multipliers": (1, 1), "blocks": 1, "group": 16},
    training={"batch": 64, "lr": 4e-3, "ema": 0.99, "p_mean": -0.6, "p_std": 1.0,
              "label_dropout": 0.05, "precision": "bf16"},
)  # fmt: skip
SECONDS, SEEDS, SAMPLES, NFE = (30, 90), (0, 1, 2), 1000, 25


def measure() -> dict[str, Any]:
    """Return a row per budget and seed, and what the judge says of real digits."""
    torch.set_num_threads(1)
    keep_memory()
    data = pictures.data("digits", validation=0.15, test=0.15)
    rows = []
    for seconds in SECONDS:
        steps = pictures.steps_for(data, RECIPE, 0.95 * seconds)
        for seed in SEEDS:
            one = pictures.trained(data, RECIPE, seed, steps)
            x, classes, spent = pictures.drawn(data, one.denoiser, SAMPLES, NFE, 0.01)
            right = pictures.agreement(data, x, classes)
            row = {"budget": seconds, "seed": seed, "steps": steps, "agreement": right}
            rows.append(row | {"train_seconds": one.cpu_seconds, "sample_seconds": spent})
            print(rows[-1], flush=True)
    real = data.split("test")
    return {"rows": rows, "real": pictures.agreement(data, real.x, real.labels), "nfe": NFE}


def tables(result: dict[str, Any]) -> dict[str, str]:
    """`agreement`: a row a budget, means over the seeds, and the least of them."""
    rows: list[list[object]] = [["*real digits*", "", f"{100 * result['real']:.1f}", ""]]
    for budget in dict.fromkeys(row["budget"] for row in result["rows"]):
        own = [row for row in result["rows"] if row["budget"] == budget]
        shares = [100 * row["agreement"] for row in own]
        seconds = mean(row["train_seconds"] for row in own)
        rows.append([own[0]["steps"], seconds, f"{mean(shares):.1f}", f"{min(shares):.1f}"])
    head = ["steps", "training CPU s", "class agreement %", "least of the seeds"]
    return {"agreement": markdown(head, rows)}
