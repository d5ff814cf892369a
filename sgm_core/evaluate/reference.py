"""What models of a dataset are held against: features, statistics and noise floors.

A reference is a folder: `reference.json` (floors, the feature network's name, hash and accuracy,
the dataset's digest) and, for images, `features.safetensors` (the network's weights) and
`statistics.safetensors` (features, mean and covariance per split, and what the judge and the
memorisation measure say of the held-out pictures). It depends on the dataset alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sgm_core.data.dataset import Dataset, load_dataset
from sgm_core.errors import SgmError
from sgm_core.evaluate import features, images, points, rolls
from sgm_core.evaluate.classes import Judge
from sgm_core.evaluate.floors import floor_row, floor_rows
from sgm_core.evaluate.frechet import moments
from sgm_core.evaluate.images import Images
from sgm_core.evaluate.manifold import CLOSENESS_LIMIT, closeness
from sgm_core.evaluate.pixels import thumbnails
from sgm_core.evaluate.points import Points
from sgm_core.evaluate.rolls import Rolls
from sgm_core.store.files import canonical_json, os_errors, sha256_file, write_json

Array = NDArray[Any]
FORMAT = 1
HELD_OUT = ("validation", "test")
# Features of at most this many pictures per split (a seeded choice) are kept.
FEATURE_LIMIT = 50_000


@dataclass(frozen=True)
class Reference:
    """An opened reference: `info` is reference.json, `splits` the held-out clouds.

    `network` is the feature network (images only), `span` the lowest and highest pixel value.
    """

    folder: Path
    info: dict[str, Any]
    splits: dict[str, Any]
    network: features.FeatureNetwork | None

    @property
    def digest(self) -> str:
        """SHA-256 of the reference's content."""
        return str(self.info["digest"])


def make_reference(
    dataset: Path, out: Path, log: Callable[[str], None] = print, threads: int = 1
) -> dict[str, Any]:
    """Build the reference of a prepared dataset in the folder `out`; return reference.json.

    Args:
        dataset: folder of the prepared dataset.
        out: folder to write (made if needed; files of the same names are replaced).
        log: called with lines of progress.
        threads: CPU threads (other thread counts may give other last digits).

    Raises:
        SgmError: the dataset is damaged, or `out` cannot be written.
    """
    data = load_dataset(dataset)
    with os_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    with _threads(threads):
        build = _image_reference if data.kind == "images" else _point_reference
        info = build(data, out, log)
    info |= {"format": FORMAT, "dataset": data.name, "dataset_digest": data.digest}
    info["files"] = {
        file.name: {"sha256": sha256_file(file), "bytes": file.stat().st_size}
        for file in sorted(out.glob("*.safetensors"))
        if file.name in ("features.safetensors", "statistics.safetensors")
    }
    info["digest"] = _digest(info)
    with os_errors(out):
        write_json(out / "reference.json", info)
    log(f"reference of {data.name}: {len(info['floors'])} floors")
    return info


def _digest(info: dict[str, Any]) -> str:
    """The dataset's name does not count: the same bytes make the same reference."""
    return hashlib.sha256(
        canonical_json({k: v for k, v in info.items() if k not in ("digest", "dataset")})
    ).hexdigest()


def cloud_of(data: Dataset, x: Array) -> Points:
    """Return points as the metrics of this dataset take them."""
    return Rolls(x) if data.meta.get("source") == "swiss_roll" else Points(x)


def point_splits(data: Dataset) -> dict[str, Points]:
    """Return the held-out splits in a seeded random order."""
    clouds = {}
    for name in HELD_OUT:
        x = data.split(name).x
        clouds[name] = cloud_of(data, x[np.random.default_rng(0).permutation(len(x))])
    return clouds


def point_measures(data: Dataset) -> tuple[dict[str, points.PointMeasure], dict[str, int]]:
    """Return the metrics of this dataset of points, and how many items each looks at."""
    if data.meta.get("source") == "swiss_roll":
        return points.MEASURES | rolls.MEASURES, points.LIMITS | rolls.LIMITS
    return dict(points.MEASURES), dict(points.LIMITS)


def _point_reference(data: Dataset, out: Path, log: Callable[[str], None]) -> dict[str, Any]:
    train = data.split("train").x
    measures, limits = point_measures(data)
    log(f"noise floors of {len(measures)} metrics, real against real")
    splits = point_splits(data)
    floors = floor_rows(
        len(train), lambda rows: cloud_of(data, train[rows]), splits, measures, limits
    )
    return {"floors": floors, "extractor": None}


def _image_reference(data: Dataset, out: Path, log: Callable[[str], None]) -> dict[str, Any]:
    low, high = data.meta["range"]
    span = (float(low), float(high))
    train = data.split("train")
    classes = len(data.labels) if train.labels is not None else 0
    net = features.train_network(train.x, train.labels, classes, span, log)
    with os_errors(out):
        features.save_network(net, out / "features.safetensors")
    log("features, closeness and floors")
    small = thumbnails(train.x, span)
    judge = Judge(small, train.labels) if classes and train.labels is not None else None
    stored: dict[str, Array] = {}
    clouds: dict[str, Images] = {}
    found: dict[str, Any] = {}
    for name in ("train", *HELD_OUT):
        split = data.split(name)
        rows = np.random.default_rng(0).permutation(len(split))[:FEATURE_LIMIT]
        embedded = features.embed(net, split.x[rows], span)
        entry = {"features": embedded, "index": rows.astype(np.int64)}
        if len(rows) > 1:
            mean, covariance = moments(embedded)
            entry |= {"mean": mean, "covariance": covariance}
        labels = None if split.labels is None else np.asarray(split.labels)[rows]
        if labels is not None:
            entry["labels"] = labels
            found[name] = features.accuracy(net, embedded, labels)
        if name in HELD_OUT:
            thumbs = thumbnails(split.x[rows], span)
            if len(small) > 1:
                entry["closeness"] = closeness(thumbs[:CLOSENESS_LIMIT], small)[0]
            if judge is not None:
                entry["predicted"] = judge.predict(thumbs)
        clouds[name] = _cloud(entry)
        stored |= {f"{name}.{key}": np.ascontiguousarray(value) for key, value in entry.items()}
    with os_errors(out):
        _save(stored, out / "statistics.safetensors")
    extractor = {
        "name": features.NAME,
        "sha256": sha256_file(out / "features.safetensors"),
        "dim": features.DIM,
        "task": "classifier" if net.head is not None else "denoising autoencoder",
        "classes": classes if net.head is not None else 0,
        "shape": list(data.shape),
        "range": [low, high],
        "resize": "area average to a longer side of 64 above 64, else none",
        "accuracy": found or None,
    }
    return {"floors": _image_floors(clouds), "extractor": extractor}


def _image_floors(clouds: dict[str, Images]) -> list[dict[str, Any]]:
    """Train draws against each held-out split; memorisation and agreement of held-out pictures."""
    train = clouds["train"]
    held = {name: clouds[name] for name in HELD_OUT}

    def draw(rows: NDArray[np.int64]) -> Images:
        # Of real pictures the class is known: the judge's errors are the floor of `agreement`.
        labels = None if train.labels is None else train.labels[rows]
        return Images(train.features[rows], labels, labels)

    drawn = {k: f for k, f in images.MEASURES.items() if k not in ("memorised", "agreement")}
    floors = floor_rows(len(train), draw, held, drawn, images.LIMITS)
    for name, real in held.items():
        other = clouds["test" if name == "validation" else "validation"]
        if other.closeness is not None:
            floors.append(_resampled("memorised", name, images.memorised(other, real)))
        if real.predicted is not None:
            floors.append(_resampled("agreement", name, images.agreement(real, real)))
    return floors


def _resampled(metric: str, split: str, share: Any) -> dict[str, Any]:
    """Return a floor that is a share of n held-out pictures, its range by resampling them."""
    draws = np.random.default_rng(0).binomial(share.n, share.value, size=1000) / share.n
    return floor_row(metric, split, share.n, share.n_reference, draws) | {"value": share.value}


def _cloud(entry: dict[str, Array]) -> Images:
    return Images(
        entry["features"], entry.get("labels"), entry.get("predicted"), entry.get("closeness")
    )


def _save(tensors: dict[str, Array], file: Path) -> None:
    from safetensors.numpy import save_file

    save_file(tensors, str(file))


def open_reference(folder: Path, data: Dataset) -> Reference:
    """Open and verify a reference for this dataset.

    Raises:
        SgmError: it is missing, damaged, or was made from other data.
    """
    again = f"make it again with `dvc repro -f reference@{data.name}`"
    try:
        info = json.loads((folder / "reference.json").read_text(encoding="utf-8"))
        intact = info["digest"] == _digest(info)
    except OSError:
        raise SgmError(f"{folder}/reference.json cannot be read; {again}") from None
    except (ValueError, KeyError, TypeError):
        raise SgmError(f"{folder}/reference.json is damaged; {again}") from None
    if not intact:
        raise SgmError(f"{folder}/reference.json was altered (its digest does not match); {again}")
    if info["dataset_digest"] != data.digest:
        raise SgmError(
            f"{folder} was made from other data ({info['dataset_digest'][:12]}) than {data.folder} "
            f"({data.digest[:12]}); {again}"
        )
    for name, entry in info["files"].items():
        file = folder / name
        if not file.is_file() or sha256_file(file) != entry["sha256"]:
            raise SgmError(f"{file} is missing or was altered; {again}")
    if data.kind == "points":
        return Reference(folder, info, dict(point_splits(data)), None)
    return _open_images(folder, info)


def _open_images(folder: Path, info: dict[str, Any]) -> Reference:
    from safetensors.numpy import load_file

    extractor = info["extractor"]
    net = features.load_network(
        folder / "features.safetensors", tuple(extractor["shape"]), extractor["classes"]
    )
    arrays = load_file(str(folder / "statistics.safetensors"))
    splits = {}
    for name in HELD_OUT:
        prefix = f"{name}."
        entry = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
        splits[name] = _cloud(entry)
    return Reference(folder, info, dict(splits), net)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
