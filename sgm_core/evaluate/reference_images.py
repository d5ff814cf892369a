"""The reference of images: extractor, features and statistics of the splits, noise floors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgm_core.data.dataset import Dataset
from sgm_core.evaluate import features, images, inception
from sgm_core.evaluate.classes import PREDICT_LIMIT, Judge
from sgm_core.evaluate.extractor import WEIGHTS, open_extractor
from sgm_core.evaluate.floors import DRAWS, floor_rows, share_floor
from sgm_core.evaluate.frechet import moments
from sgm_core.evaluate.images import Images
from sgm_core.evaluate.manifold import CLOSENESS_LIMIT, closeness
from sgm_core.evaluate.nearness import memorised
from sgm_core.evaluate.pixels import thumbnails
from sgm_core.store.files import os_errors, sha256_file

Array = NDArray[Any]
HELD_OUT = ("validation", "test")
STATISTICS = "statistics.safetensors"
# Features of at most this many pictures per split (a seeded choice) are kept.
FEATURE_LIMIT = 50_000
THUMB_LIMIT = max(PREDICT_LIMIT, CLOSENESS_LIMIT)
BLOCK = 1000


def image_reference(
    data: Dataset, out: Path, log: Callable[[str], None], weights: Path | None
) -> dict[str, Any]:
    """Write extractor and statistics of a dataset into `out`; return floors and extractor's facts.

    Args:
        weights: see `make_reference`.
    """
    low, high = data.meta["range"]
    span = (float(low), float(high))
    train = data.split("train")
    classes = len(data.labels) if train.labels is not None else 0
    with os_errors(out):
        extractor = _extractor(data, out, log, span, weights)
    embed = open_extractor(out, extractor)
    log("features, closeness and floors")
    small = thumbnails(train.x, span)
    judge = Judge(small, train.labels) if classes and train.labels is not None else None
    stored: dict[str, Array] = {}
    clouds: dict[str, Images] = {}
    for name in ("train", *HELD_OUT):
        split = data.split(name)
        rows = np.random.default_rng(0).permutation(len(split))[:FEATURE_LIMIT]
        embedded = in_blocks(split.x, rows, lambda x: embed(x, span))
        entry = {"features": embedded, "index": rows.astype(np.int64)}
        if len(rows) > 1:
            mean, covariance = moments(embedded)
            entry |= {"mean": mean, "covariance": covariance}
        if split.labels is not None:
            entry["labels"] = np.asarray(split.labels)[rows]
        if name in HELD_OUT:
            thumbs = in_blocks(split.x, rows[:THUMB_LIMIT], lambda x: thumbnails(x, span))
            if len(small) > 1:
                entry["closeness"] = closeness(thumbs[:CLOSENESS_LIMIT], small)[0]
            if judge is not None:
                entry["predicted"] = judge.predict(thumbs)
        clouds[name] = _cloud(entry)
        stored |= {f"{name}.{key}": np.ascontiguousarray(value) for key, value in entry.items()}
    with os_errors(out):
        _save(stored, out / STATISTICS)
    accuracy = _accuracy(out, extractor, clouds)
    return {"floors": _image_floors(clouds), "extractor": extractor | {"accuracy": accuracy}}


def image_splits(folder: Path) -> dict[str, Images]:
    """Read the held-out splits of a reference."""
    from safetensors.numpy import load_file

    arrays = load_file(str(folder / STATISTICS))
    splits = {}
    for name in HELD_OUT:
        prefix = f"{name}."
        entry = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
        splits[name] = _cloud(entry)
    return splits


def in_blocks(x: Array, rows: Array, turn: Callable[[Array], Array]) -> Array:
    """Return turn(x[rows]) without ever holding more than 1,000 pictures."""
    first = turn(x[rows[:BLOCK]])
    out = np.empty((len(rows), *first.shape[1:]), dtype=first.dtype)
    out[:BLOCK] = first
    for i in range(BLOCK, len(rows), BLOCK):
        out[i : i + BLOCK] = turn(x[rows[i : i + BLOCK]])
    return out


def _extractor(
    data: Dataset,
    out: Path,
    log: Callable[[str], None],
    span: tuple[float, float],
    weights: Path | None,
) -> dict[str, Any]:
    """Train the dataset's own network, or take over the weights of Inception-v3."""
    train = data.split("train")
    if weights is not None:
        inception.take_weights(weights, out / WEIGHTS)
        facts: dict[str, Any] = {"name": inception.NAME, "dim": inception.DIM}
        facts |= {"task": "ImageNet classifier", "classes": 0, "resize": inception.RESIZE}
    else:
        classes = len(data.labels) if train.labels is not None else 0
        net = features.train_network(train.x, train.labels, classes, span, log)
        features.save_network(net, out / WEIGHTS)
        facts = {"name": features.NAME, "dim": features.DIM, "resize": features.RESIZE}
        facts |= {"task": "classifier" if net.head is not None else "denoising autoencoder"}
        facts |= {"classes": classes if net.head is not None else 0}
    facts |= {"shape": list(data.shape), "range": list(data.meta["range"])}
    return facts | {"sha256": sha256_file(out / WEIGHTS)}


def _accuracy(
    out: Path, extractor: dict[str, Any], clouds: dict[str, Images]
) -> dict[str, float] | None:
    """Return by split how many pictures the extractor's own class head names right."""
    if not extractor["classes"]:
        return None
    net = features.load_network(out / WEIGHTS, tuple(extractor["shape"]), extractor["classes"])
    found = {}
    for name, cloud in clouds.items():
        assert cloud.labels is not None
        found[name] = features.accuracy(net, cloud.features.astype(np.float32), cloud.labels)
    return {name: value for name, value in found.items() if value is not None} or None


def _image_floors(clouds: dict[str, Images]) -> list[dict[str, Any]]:
    """Train draws against each held-out split; memorisation and agreement of held-out pictures."""
    train = clouds["train"]
    held = {name: clouds[name] for name in HELD_OUT}

    def draw(rows: NDArray[np.int64]) -> Images:
        # Of real pictures the class is known: the judge's errors are the floor of `agreement`.
        labels = None if train.labels is None else train.labels[rows]
        return Images(train.features[rows], labels, labels)

    drawn = {k: f for k, f in images.MEASURES.items() if k not in ("memorised", "agreement")}
    # Distances of 2,048 features cost seconds each.
    few = dict.fromkeys(("fd", "fd_inf", "kid"), 5) if train.many else {}
    floors = floor_rows(len(train), draw, held, drawn, images.LIMITS, draws=DRAWS | few)
    for name, real in held.items():
        other = clouds["test" if name == "validation" else "validation"]
        if other.closeness is not None:
            floors.append(share_floor("memorised", name, memorised(other, real)))
        if real.predicted is not None:
            floors.append(share_floor("agreement", name, images.agreement(real, real)))
    return floors


def _cloud(entry: dict[str, Array]) -> Images:
    return Images(
        entry["features"], entry.get("labels"), entry.get("predicted"), entry.get("closeness")
    )


def _save(tensors: dict[str, Array], file: Path) -> None:
    from safetensors.numpy import save_file

    save_file(tensors, str(file))
