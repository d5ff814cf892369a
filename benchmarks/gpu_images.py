"""Fashion-MNIST on a GPU: how long a class-conditional U-Net takes to samples at the floor.

Trained as a cell is (`train_cell`), for each of three seeds; compared are as many samples as the test split
has pictures with that split, by the Frechet distance in the features of a small network that is trained on
the train split. The floor is the distance of as many pictures of the train split. `named` is the share of
samples, and of test pictures, in which that network sees the class that was asked for.
"""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gpu
import numpy as np
import pictures
import torch
from PIL import Image
from run import PICTURES, markdown

from sgm_core.config.training import TrainingConfig
from sgm_core.evaluate import features
from sgm_core.evaluate.frechet import frechet, moments
from sgm_core.model import ScoreModel
from sgm_core.report.images import tile
from sgm_core.train.run import train_cell

NET = {
    "kind": "unet",
    "channels": 64,
    "multipliers": (1, 2, 2),
    "blocks": 2,
    "attention": (2,),
    "group": 16,
    "patch": 2,
}
TRAINING = {
    "steps": 10_000, "batch": 256, "lr": 2e-3, "warmup": 200, "ema": 0.999, "p_mean": -0.8, "p_std": 1.1,
    "label_dropout": 0.1, "precision": "bf16", "compile": True,
}  # fmt: skip
SEEDS, NFE, SHOWN = 3, 49, 10


def measure(
    seeds: int = SEEDS,
    most: int = 10**6,
    device: str = "cuda",
    features_steps: int = 1500,
    **changed: Any,
) -> dict[str, Any]:
    """Return a row a seed, the floor, and what the network sees in real pictures, or {"skipped": sentence}.

    On a CPU (device="cpu", most=20, steps=2, ...) it tries the code, and means nothing.
    """
    if device == "cuda" and not torch.cuda.is_available():
        return {"skipped": gpu.MISSING}
    data = pictures.data("fashion_mnist", validation=0.1, test=0.143)
    span, train = tuple(data.meta["range"]), data.split("train")
    real, classes = data.split("test"), len(data.meta["labels"])
    net = features.train_network(
        train.x, np.asarray(train.labels), classes, span, lambda _: None, features_steps
    )

    def embedded(x: Any) -> Any:
        return moments(features.embed(net, np.asarray(x), span))

    def named(x: Any, labels: Any) -> float:
        z = torch.from_numpy(features.embed(net, np.asarray(x), span)).float()
        told = net.head(torch.nn.functional.silu(z)).argmax(1).numpy()
        return float((told == np.asarray(labels)).mean())

    of_test, n, rows = embedded(real.x), min(most, len(real.x)), []
    for seed in range(seeds):
        row, model = _trained(data, seed, {**TRAINING, **changed, "device": device})
        labels, began = np.arange(n) % classes, time.perf_counter()
        x = model.generate(n, label=labels, steps=NFE, sigma_min=0.01, seed=seed)
        row |= {"images_per_s": n / (time.perf_counter() - began)}
        row |= {"frechet": frechet(embedded(x), of_test), "named": named(x, labels)}
        rows.append(row)
        print(row, flush=True)
        if not seed:
            PICTURES.mkdir(parents=True, exist_ok=True)
            shown = np.concatenate([x[labels == c][:SHOWN] for c in range(classes)])
            Image.fromarray(tile(shown, data.meta, SHOWN, classes)).save(
                PICTURES / "gpu_images-samples.png"
            )
    some = np.random.default_rng(0).permutation(len(train.x))[:n]
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else "CPU, a trial of the code",
        "rows": rows,
        "floor": frechet(embedded(np.asarray(train.x)[np.sort(some)]), of_test),
        "named": named(real.x, real.labels),
        "samples": n,
        "nfe": NFE,
    }


def tables(result: dict[str, Any]) -> dict[str, str]:
    """`frechet`: a row a seed."""
    fields = ("steps", "train_seconds", "steps_per_s", "images_per_s", "frechet", "named")
    rows: list[list[object]] = [
        ["*test against train split*", "", "", "", "", result["floor"], result["named"]]
    ]
    rows += [[f"seed {i}", *(row[f] for f in fields)] for i, row in enumerate(result["rows"])]
    head = [
        "steps",
        "training s",
        "steps a second",
        "samples a second",
        "Frechet distance",
        "class seen",
    ]
    return {"frechet": markdown([f"**{result['device']}**", *head], rows)}


def _trained(data: Any, seed: int, training: dict[str, Any]) -> tuple[dict[str, Any], ScoreModel]:
    fields = TrainingConfig(**training).model_dump(mode="json")
    every = fields.pop("checkpoint_every")
    spec = {"process": {"kind": "vp"}, "net": NET, "training": fields, "seed": seed}
    with TemporaryDirectory() as name:
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        done = train_cell({**spec, "checkpoint_every": every}, data.folder, Path(name), _tell)
        model = ScoreModel.load(name, device=str(training["device"]))
    done["steps_per_s"] = done["steps"] / done["train_seconds"]
    peak = torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else 0.0
    return {**done, "peak_mb": peak}, model


def _tell(event: dict[str, Any]) -> None:
    if event.get("event") == "progress" and event["step"] % 10 == 0:
        print(f"step {event['step']}, loss {event['loss']:.4f}, {event['steps_per_s']:.0f}/s")


if __name__ == "__main__":
    outcome = measure()
    print(outcome.get("skipped") or tables(outcome)["frechet"])
