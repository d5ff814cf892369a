"""What models of a dataset are held against: features, statistics and noise floors.

A reference is a folder: `reference.json` (floors, the feature network's name, hash and accuracy,
the dataset's digest) and, for images, `features.safetensors` (the network's weights) and
`statistics.safetensors` (features, mean and covariance per split, and what the judge and the
memorisation measure say of the held-out pictures). It depends on the dataset and the extractor.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgm_core.data.dataset import Dataset, load_dataset
from sgm_core.errors import SgmError
from sgm_core.evaluate import points, rolls
from sgm_core.evaluate.extractor import WEIGHTS, Embed, open_extractor
from sgm_core.evaluate.floors import floor_rows, share_floor
from sgm_core.evaluate.manifold import CLOSENESS_LIMIT, closeness
from sgm_core.evaluate.nearness import memorised
from sgm_core.evaluate.points import Points
from sgm_core.evaluate.reference_images import HELD_OUT, STATISTICS, image_reference, image_splits
from sgm_core.evaluate.rolls import Rolls
from sgm_core.store.files import canonical_json, os_errors, sha256_file, write_json
from sgm_core.threads import torch_threads

Array = NDArray[Any]
FORMAT = 2


@dataclass(frozen=True)
class Reference:
    """An opened reference: `info` is reference.json, `splits` the held-out clouds.

    `embed` turns pictures into features (images only).
    """

    folder: Path
    info: dict[str, Any]
    splits: dict[str, Any]
    embed: Embed | None

    @property
    def digest(self) -> str:
        """SHA-256 of the reference's content."""
        return str(self.info["digest"])


def make_reference(
    dataset: Path,
    out: Path,
    log: Callable[[str], None] = print,
    threads: int = 1,
    weights: Path | None = None,
) -> dict[str, Any]:
    """Build the reference of a prepared dataset in the folder `out`; return reference.json.

    Args:
        dataset: folder of the prepared dataset.
        out: folder to write (made if needed; files of the same names are replaced).
        log: called with lines of progress.
        threads: CPU threads (other thread counts may give other last digits).
        weights: of Inception-v3, to compare images in its features; None: in those of a network
            that is trained on the dataset.

    Raises:
        UsageError: the weights are not those of Inception-v3.
        SgmError: the dataset is damaged, or `out` cannot be written.
    """
    data = load_dataset(dataset)
    with os_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    with torch_threads(threads):
        if data.kind == "images":
            info = image_reference(data, out, log, weights)
        else:
            info = _point_reference(data, log)
    info |= {"format": FORMAT, "dataset": data.name, "dataset_digest": data.digest}
    info["files"] = {
        file.name: {"sha256": sha256_file(file), "bytes": file.stat().st_size}
        for file in sorted(out.glob("*.safetensors"))
        if file.name in (WEIGHTS, STATISTICS)
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


def cloud_of(data: Dataset, x: Array, near: Array | None = None) -> Points:
    """Return points as the metrics of this dataset take them; `near` is their closeness."""
    return (Rolls if data.meta.get("source") == "swiss_roll" else Points)(x, near)


def point_splits(data: Dataset) -> dict[str, Points]:
    """Return the held-out splits in a seeded random order."""
    clouds, train = {}, data.split("train").x
    for name in HELD_OUT:
        x = data.split(name).x
        x = x[np.random.default_rng(0).permutation(len(x))]
        near = closeness(x[:CLOSENESS_LIMIT], train)[0] if len(train) > 1 else None
        clouds[name] = cloud_of(data, x, near)
    return clouds


def point_measures(data: Dataset) -> tuple[dict[str, points.PointMeasure], dict[str, int]]:
    """Return the metrics of this dataset of points, and how many items each looks at."""
    measures: dict[str, Any] = dict(points.MEASURES)
    if data.meta.get("source") == "swiss_roll":
        return measures | rolls.MEASURES, points.LIMITS | rolls.LIMITS
    return measures, dict(points.LIMITS)


def _point_reference(data: Dataset, log: Callable[[str], None]) -> dict[str, Any]:
    train = data.split("train").x
    measures, limits = point_measures(data)
    log(f"noise floors of {len(measures)} metrics, real against real")
    splits = point_splits(data)
    drawn = {name: measure for name, measure in measures.items() if name != "memorised"}
    floors = floor_rows(len(train), lambda rows: cloud_of(data, train[rows]), splits, drawn, limits)
    for name, other in zip(HELD_OUT, HELD_OUT[::-1], strict=True):
        if splits[other].closeness is not None:
            measured = memorised(splits[other], splits[name])
            floors.append(share_floor("memorised", name, measured))
    return {"floors": floors, "extractor": None}


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
    return Reference(
        folder, info, dict(image_splits(folder)), open_extractor(folder, info["extractor"])
    )
