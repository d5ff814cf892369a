r"""Likelihood of held-out items: `nll` of points, `bits_per_dim` of images (both lower is better).

Measured by the model itself (sgm_core.likelihood) and not from its samples: nats per point, of a
density over the data's own units; for images bits per number, -log2 p / d of the uniformly
dequantised picture, a value v filling [v - 1/2, v + 1/2]. Both are of the data smoothed by sigma_eps,
the smallest noise level of sampling. Labels are left out, also where the model knows them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sgm_core.at_once import in_order
from sgm_core.data.dataset import Dataset
from sgm_core.errors import SgmError
from sgm_core.evaluate.measure import Measure, Scored, empty_row, reason, row
from sgm_core.evaluate.uncertainty import Bootstrap
from sgm_core.likelihood import LogProb, bits_per_dim

Array = NDArray[Any]

# Local tolerance of the solver. Measured on trained networks, the mean is then off by 0.001 nats on
# the swiss rolls and by 0.005 bits on digits, where the intervals are twenty times as wide.
TOLERANCES = {"points": 1e-4, "images": 1e-3}
DEQUANTISATION = "uniform: v + U(-1/2, 1/2)"


def dequantise(x: Array, seed: int) -> Array:
    """Return whole numbers x (n, *shape) plus U(-1/2, 1/2); item i uses the stream seed + i."""
    rows = [np.random.default_rng(seed + i).random(x.shape[1:]) - 0.5 for i in range(len(x))]
    return np.asarray(x.astype(np.float64) + np.stack(rows))


def nll(log_prob: Array, shape: tuple[int, ...]) -> Array:
    """Return -log p, nats per item, of log densities over the data's units (n,)."""
    return -log_prob


def image_bits(log_prob: Array, shape: tuple[int, ...]) -> Array:
    """Return bits per number of log densities of dequantised images with steps of 1 (n,)."""
    return bits_per_dim(torch.from_numpy(log_prob), int(np.prod(shape))).numpy()


MEASURES: dict[str, Callable[[Array, tuple[int, ...]], Array]] = {
    "nll": nll,
    "bits_per_dim": image_bits,
}


def metric_of(kind: str) -> str:
    """Return the name of the metric for "points" or "images"."""
    return "bits_per_dim" if kind == "images" else "nll"


def log_probs(
    model: Any, x: Array, *, batch: int, seed: int, **options: Any
) -> tuple[Array, LogProb]:
    """Return log p of items in the data's range (n,), and the record of the costliest batch.

    Args:
        model: a `ScoreModel`.
        x: (n, *shape), images already dequantised.
        batch: items at once.
        seed: item i draws its probes from seed + i.
        options: of `ScoreModel.log_prob`.
    """

    def some(first: int) -> LogProb:
        result: LogProb = model.log_prob(x[first : first + batch], seeds=seed + first, **options)
        return result

    each = in_order if torch.device(model.device).type == "cpu" else map
    parts = list(each(some, range(0, len(x), batch)))
    values = np.concatenate([np.asarray(part.value, dtype=np.float64) for part in parts])
    return values, max(parts, key=lambda part: part.nfe)


def likelihood_scores(
    model: Any,
    data: Dataset,
    items: int,
    settings: dict[str, Any],
    batch: int,
    boot: Bootstrap,
    device: str,
    splits: Iterable[str] = ("validation", "test"),
) -> Iterator[Scored]:
    """Yield the rows of metrics.json: the metric of the held-out splits.

    Args:
        model: a `ScoreModel`.
        items: how many items of each split, the first ones.
        settings: sampling settings; `sigma_min` is sigma_eps.
        batch: items at once.
        boot: resamples the items; its seed is that of dequantisation and probes.
        device: "cpu" or "cuda", for the record.
        splits: which ones.
    """
    name, images = metric_of(data.kind), data.kind == "images"
    for split in splits:
        x = np.asarray(data.split(split).x[:items])
        details: dict[str, Any] = {"device": device, "seed": boot.seed, "labels": "left out"}
        if not data.labels:
            details.pop("labels")
        details["dequantisation"] = DEQUANTISATION if images else "none"
        details["reference"] = {"split": split, "dataset_digest": data.digest}
        try:
            values, record = log_probs(
                model,
                dequantise(x, boot.seed) if images else x,
                batch=batch,
                seed=boot.seed,
                sigma_min=settings["sigma_min"],
                rtol=TOLERANCES[data.kind],
                atol=TOLERANCES[data.kind],
            )
        except SgmError as error:
            details["reason"] = reason(error)
            yield Scored(empty_row(name, split, len(x), len(x), details))
            continue
        details |= {key: v for key, v in asdict(record).items() if key not in ("value", "draws")}
        per_item = MEASURES[name](values, data.shape)
        if lost := int((~np.isfinite(per_item)).sum()):
            details["reason"] = f"{lost} of {len(x)} items have no finite likelihood"
            yield Scored(empty_row(name, split, len(x), len(x), details))
            continue
        replicates = boot.mean("real", per_item, boot.size(len(x)))
        measure = Measure(
            float(per_item.mean()), len(x), len(x), replicates, (-np.inf, np.inf), details
        )
        yield Scored(row(name, split, measure, None), replicates)
