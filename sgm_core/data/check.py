"""Checks, deduplication, the split and the numbers of `dataset.json`.

The split is stratified: each class with at least three items has at least one item in every split.
A class with fewer goes to the train split whole, so that a conditional model has seen each class.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from typing import Any

import numpy as np

from sgm_core.config.data import DatasetParams
from sgm_core.data.dataset import SPLITS
from sgm_core.data.raw import MINIMUM, Raw
from sgm_core.errors import UsageError

log = logging.getLogger(__name__)
Array = np.ndarray[Any, Any]
BLOCK = 1 << 22  # pixels counted at once: bincount makes eight bytes of each


@dataclass(frozen=True)
class Checked:
    """Items that passed all checks, the rows of each split, and what is known about them."""

    raw: Raw
    rows: dict[str, Array]
    meta: dict[str, Any]


def check(raw: Raw, params: DatasetParams) -> Checked:
    """Check the items, find duplicates, draw the split.

    Raises:
        UsageError: too few items, NaN or infinite values (row and column named), a constant column.
    """
    if len(raw.x) < MINIMUM:
        raise UsageError(f"has {_items(len(raw.x))}; give at least {MINIMUM}")
    if raw.kind == "points":
        _finite(raw)
    keep = np.flatnonzero(~_repeated(raw))
    removed = len(raw.x) - len(keep)
    if removed:
        log.info("%d exact duplicates removed", removed)
    if len(keep) < MINIMUM:
        raise UsageError(
            f"has {_items(len(keep))} after {removed} exact duplicates were removed; "
            f"give at least {MINIMUM} different ones"
        )
    rows = _split(keep, raw, params)
    meta = {
        "kind": raw.kind,
        "shape": [int(size) for size in raw.x.shape[1:]],
        "counts": {split: len(rows[split]) for split in SPLITS},
        "duplicates_removed": removed,
        "skipped": list(raw.skipped),
        "labels": list(raw.label_names),
        "label_counts": {split: _label_counts(raw, rows[split]) for split in SPLITS},
        "provenance": raw.provenance,
    }
    meta |= (
        _image_numbers(raw, rows["train"]) if raw.kind == "images" else _point_numbers(raw, rows)
    )
    return Checked(raw, rows, meta)


def _items(n: int) -> str:
    return f"{n:,} item{'' if n == 1 else 's'}"


def _column(raw: Raw, j: int) -> str:
    return raw.columns[j] if raw.columns else f"x{j}"


def _finite(raw: Raw) -> None:
    bad = ~np.isfinite(raw.x)
    if not bad.any():
        return
    rows, columns = np.nonzero(bad)
    places = ", ".join(
        f"row {i + 1} column {_column(raw, j)!r}"
        for i, j in zip(rows[:3], columns[:3], strict=True)
    )
    more = f" and {len(rows) - 3:,} more" if len(rows) > 3 else ""
    what = "NaN (an empty cell counts as one)" if np.isnan(raw.x[bad]).all() else "NaN or infinite"
    raise UsageError(
        f"values are {what} in {len(np.unique(rows)):,} of {len(raw.x):,} rows: {places}{more}; "
        "remove or fill them"
    )


def _repeated(raw: Raw) -> Array:
    """Mark every item that equals an earlier one exactly."""
    if raw.kind == "points":
        import pandas as pd

        return pd.DataFrame(raw.x).duplicated(keep="first").to_numpy()
    seen: set[bytes] = set()
    repeated = np.zeros(len(raw.x), bool)
    for i in range(len(raw.x)):
        digest = hashlib.blake2b(raw.x[i].tobytes(), digest_size=16).digest()
        repeated[i] = digest in seen
        seen.add(digest)
    return repeated


def _split(keep: Array, raw: Raw, params: DatasetParams) -> dict[str, Array]:
    """Draw the three splits from the rows `keep`."""
    rng = np.random.default_rng(params.seed)
    groups = [keep]
    rare: list[Array] = []
    if raw.labels is not None:
        labels = raw.labels[keep]
        classes = [keep[labels == c] for c in range(len(raw.label_names))]
        for rows, name in zip(classes, raw.label_names, strict=True):
            if len(rows) == 0:
                raise UsageError(
                    f"class {name!r} has no items left after duplicates were removed; "
                    "remove the class or give it items of its own"
                )
        large = [rows for rows in classes if len(rows) >= 3]
        if large:
            groups = large
            rare = [rows for rows in classes if len(rows) < 3]
        if rare or not large:
            count = len(rare) or len(classes)
            where = "all in the train split" if large else "the split is not stratified"
            log.info("%d classes have fewer than 3 items: %s", count, where)
    parts: dict[str, list[Array]] = {"train": list(rare), "validation": [], "test": []}
    for rows in groups:
        shuffled = rng.permutation(rows)
        held = [max(1, int(len(rows) * share + 0.5)) for share in (params.validation, params.test)]
        while sum(held) >= len(rows):  # a class of three: one item each
            held = [max(1, count - 1) for count in held]
        parts["validation"].append(shuffled[: held[0]])
        parts["test"].append(shuffled[held[0] : sum(held)])
        parts["train"].append(shuffled[sum(held) :])
    return {split: rng.permutation(np.concatenate(parts[split])) for split in SPLITS}


def _label_counts(raw: Raw, rows: Array) -> list[int]:
    if raw.labels is None:
        return []
    return [int(n) for n in np.bincount(raw.labels[rows], minlength=len(raw.label_names))]


def _number(value: float) -> float:
    """Keep 12 digits: the last bits of a sum differ between processors."""
    return float(f"{value:.12g}")


def _image_numbers(raw: Raw, train: Array) -> dict[str, Any]:
    """Centre, scale and deviation of images, from a histogram (exact, and in small blocks)."""
    low, high = raw.range or (0.0, 255.0)
    histogram = np.zeros(256, np.int64)
    blocks = 1 + len(train) * int(np.prod(raw.x.shape[1:])) // BLOCK
    for rows in np.array_split(train, min(blocks, len(train))):
        histogram += np.bincount(raw.x[rows].ravel(), minlength=256)
    values = np.arange(256)
    used = values[histogram > 0]
    if used[0] < low or used[-1] > high:
        raise UsageError(f"values {used[0]} to {used[-1]} leave the range {low:g} to {high:g}")
    center, scale = (low + high) / 2, (high - low) / 2
    total = float(histogram.sum())
    mean = float(histogram @ values) / total
    deviation = float(np.sqrt(float(histogram @ (values - mean) ** 2) / total))
    return {
        "range": [low, high],
        "center": [center],
        "scale": [scale],
        "sigma_data": _number(deviation / scale),
    }


def _point_numbers(raw: Raw, rows: dict[str, Array]) -> dict[str, Any]:
    """Range, centre and scale of points; a column that does not vary is an error."""
    train = raw.x[rows["train"]]
    with np.errstate(over="ignore", invalid="ignore"):
        center, scale = train.mean(axis=0), train.std(axis=0)
    constant = np.flatnonzero((train.min(axis=0) == train.max(axis=0)) | (scale == 0))
    if len(constant):
        names = ", ".join(repr(_column(raw, int(j))) for j in constant[:5])
        more = f" and {len(constant) - 5} more" if len(constant) > 5 else ""
        plural = "s" if len(constant) > 1 else ""
        raise UsageError(
            f"column{plural} {names}{more} {'are' if plural else 'is'} constant "
            f"({train[0, constant[0]]:g}), so there is nothing to learn; remove the column{plural}"
        )
    huge = np.flatnonzero(~np.isfinite(center) | ~np.isfinite(scale))
    if len(huge):
        raise UsageError(
            f"column {_column(raw, int(huge[0]))!r} has values too large for float64 arithmetic; "
            "rescale it"
        )
    return {
        "range": [float(raw.x.min()), float(raw.x.max())],
        "columns": [_column(raw, j) for j in range(raw.x.shape[1])],
        "center": [_number(value) for value in center],
        "scale": [_number(value) for value in scale],
        "sigma_data": _number(float(((train - center) / scale).std())),
    }
