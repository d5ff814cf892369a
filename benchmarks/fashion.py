"""Fashion-MNIST at equal CPU seconds: the recommended recipe beside a common one.

The common recipe is what issue-trackers and tutorials end at on a CPU: a U-Net of 1.3 M parameters on
2 x 2 pixels as channels, EDM's preconditioning and noise levels, Adam at a constant rate of 1e-3 and an
average of decay 0.999, without classes. Both have the same trainer, data, layout and sampler. The common
one is tried in float32, as it is found, and in the recommended one's bfloat16 where the processor has it.
Compared are 2,000 samples with the test split, by the Frechet distance in the features of a small
network that is trained on the train split.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pictures
import torch
from run import markdown

from sgm_core.evaluate import features
from sgm_core.evaluate.frechet import frechet, moments
from sgm_core.heap import keep_memory
from sgm_core.train.loop import has_bf16

NET = {"kind": "unet", "channels": 48, "blocks": 1, "group": 16, "patch": 2}
RECIPES = {
    "common": pictures.Recipe(
        net={**NET, "multipliers": (1, 2)},
        training={"batch": 128, "lr": 1e-3, "schedule": "constant", "ema": 0.999,
                  "label_dropout": 1.0},
    ),
    "recommended": pictures.Recipe(
        net={**NET, "multipliers": (1, 1)},
        training={"batch": 64, "lr": 4e-3, "ema": 0.995, "p_mean": -0.8, "p_std": 1.1},
    ),
}  # fmt: skip
SECONDS, SAMPLES, NFE, FEATURE_STEPS = 360, 2000, 25, 600


def measure(seconds: float = SECONDS, samples: int = SAMPLES) -> dict[str, Any]:
    """Return a row per case, and the distance between train and test split."""
    torch.set_num_threads(1)
    keep_memory()
    data = pictures.data("fashion_mnist", validation=0.1, test=0.143)
    embed = _features(data)
    real = moments(embed(np.asarray(data.split("test").x)))
    rows = []
    fastest = "bf16" if has_bf16(pictures.CPU) else "float32"
    cases = [("common", fastest), ("recommended", fastest), ("common", "float32")]
    for name, precision in dict.fromkeys(cases):
        recipe = RECIPES[name]
        own = pictures.Recipe(
            recipe.net, {**recipe.training, "precision": precision}, recipe.process
        )
        steps = pictures.steps_for(data, own, seconds)
        one = pictures.trained(data, own, 0, steps)
        x, _, spent = pictures.drawn(data, one.denoiser, samples, NFE, 0.01)
        row = {"recipe": name, "precision": precision, "parameters": one.parameters}
        row |= {"steps": steps, "train_seconds": one.cpu_seconds, "sample_seconds": spent}
        rows.append(row | {"frechet": frechet(moments(embed(x)), real)})
    some = np.asarray(data.split("train").x[:samples])
    return {"rows": rows, "floor": frechet(moments(embed(some)), real), "nfe": NFE}


def tables(result: dict[str, Any]) -> dict[str, str]:
    """`frechet`: a row a recipe and precision."""
    fields = ("recipe", "precision", "parameters", "steps", "train_seconds", "frechet")
    rows: list[list[object]] = [["*real against real*", "", "", "", "", result["floor"]]]
    rows += [[row[f] for f in fields] for row in result["rows"]]
    head = ["recipe", "precision", "parameters", "steps", "training CPU s", "Frechet distance"]
    return {"frechet": markdown(head, rows)}


def _features(data: Any) -> Any:
    """The dataset's own feature network, trained for fewer steps than in an evaluation."""
    split, span = data.split("train"), tuple(data.meta["range"])
    labels, classes = np.asarray(split.labels), len(data.meta["labels"])
    net = features.train_network(split.x, labels, classes, span, lambda _: None, FEATURE_STEPS)
    return lambda x: features.embed(net, x, span)
