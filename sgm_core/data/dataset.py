"""A prepared dataset: three splits and `dataset.json`, verified before they are used.

Model space is `x_model = (x - center) / scale`: for points per coordinate (mean and standard
deviation of the train split), for images one number each (middle and half width of the range).
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sgm_core.data.files import map_tensors
from sgm_core.errors import SgmError, unknown
from sgm_core.store.files import canonical_json, sha256_file

Array = np.ndarray[Any, Any]
FORMAT = 1
SPLITS = ("train", "validation", "test")
# What a trainer reads; names, parameters' text and provenance do not decide a result.
DIGEST_FIELDS = (
    "format", "kind", "shape", "range", "counts", "labels", "center", "scale", "sigma_data",
)  # fmt: skip


@dataclass(frozen=True)
class Split:
    """Items in the data's own range: images uint8 (N, C, H, W), points float64 (N, d).

    `labels` is int64 (N,), or None for unlabelled data.
    """

    x: Array
    labels: Array | None

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class Dataset:
    """A prepared dataset on disk; a split is read (and its hash checked) when it is first asked."""

    folder: Path
    meta: dict[str, Any]
    _splits: dict[str, Split] = field(default_factory=dict, repr=False, compare=False)

    @property
    def name(self) -> str:
        """Name in params.yaml."""
        return str(self.meta["name"])

    @property
    def kind(self) -> str:
        """ "points" or "images"."""
        return str(self.meta["kind"])

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one item: (d,) or (C, H, W)."""
        return tuple(self.meta["shape"])

    @property
    def labels(self) -> list[str]:
        """Names of the classes (empty for unlabelled data)."""
        return list(self.meta["labels"])

    @property
    def digest(self) -> str:
        """SHA-256 of everything in the dataset that a trainer reads."""
        return str(self.meta["digest"])

    def split(self, name: str) -> Split:
        """Return a split, "train", "validation" or "test".

        Raises:
            UsageError: there is no such split.
            SgmError: its file is missing, or not the one that was written.
        """
        if name not in SPLITS:
            raise unknown("split", name, SPLITS)
        if name not in self._splits:
            images = self.kind == "images"
            file = self.folder / f"{name}.{'safetensors' if images else 'parquet'}"
            self._splits[name] = (_read_images if images else _read_points)(file, self.meta)
        return self._splits[name]


def load_dataset(folder: Path | str) -> Dataset:
    """Open a prepared dataset.

    Raises:
        SgmError: `dataset.json` is missing or was altered (the splits are checked when read).
    """
    folder = Path(folder)
    file = folder / "dataset.json"
    again = f"prepare it again with `dvc repro -f prepare@{folder.name}`"
    try:
        meta = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise SgmError(
            f"{file} does not exist; prepare the data with `dvc repro prepare@{folder.name}`"
        ) from None
    except OSError as error:
        raise SgmError(f"cannot read {file}: {error.strerror}; make it readable") from None
    except ValueError:
        raise SgmError(f"{file} is damaged; {again}") from None
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        found = meta.get("format") if isinstance(meta, dict) else meta
        raise SgmError(f"{file} has format {found!r}, this version reads {FORMAT}; {again}")
    try:
        intact = digest_of(meta) == meta["digest"]
    except (KeyError, TypeError, AttributeError, ValueError):
        intact = False
    if not intact:
        raise SgmError(f"{file} was altered (its digest does not match); {again}")
    return Dataset(folder, meta)


def digest_of(meta: dict[str, Any]) -> str:
    """Return SHA-256 over the files' hashes and the fields that a trainer reads."""
    fields = {name: meta[name] for name in DIGEST_FIELDS}
    fields["files"] = {name: entry["sha256"] for name, entry in meta["files"].items()}
    return hashlib.sha256(canonical_json(fields)).hexdigest()


def _altered(file: Path, reason: str) -> SgmError:
    return SgmError(
        f"{file} {reason}; prepare it again with `dvc repro -f prepare@{file.parent.name}`"
    )


def _read_images(file: Path, meta: dict[str, Any]) -> Split:
    try:
        found = sha256_file(file)
    except OSError as error:
        raise _altered(file, f"cannot be read ({error.strerror})") from None
    if found != meta["files"][file.name]["sha256"]:
        raise _altered(file, "was altered (its SHA-256 does not match dataset.json)")
    arrays = map_tensors(file)
    return Split(arrays["x"], arrays.get("labels"))


def _read_points(file: Path, meta: dict[str, Any]) -> Split:
    import pyarrow.parquet as pq

    try:
        data = file.read_bytes()
    except OSError as error:
        raise _altered(file, f"cannot be read ({error.strerror})") from None
    if hashlib.sha256(data).hexdigest() != meta["files"][file.name]["sha256"]:
        raise _altered(file, "was altered (its SHA-256 does not match dataset.json)")
    table = pq.read_table(io.BytesIO(data))
    x = np.empty((table.num_rows, meta["shape"][0]))
    for j in range(x.shape[1]):
        x[:, j] = table.column(f"x{j}").to_numpy()
    labels = table.column("label").to_numpy().astype(np.int64) if meta["labels"] else None
    return Split(x, labels)
