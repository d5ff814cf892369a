"""Points from a table, or arrays: CSV, TSV, Parquet, .npy and .npz.

A table has one row per point and one numeric column per coordinate; `label` names a column with
classes. An array of rank 1 or 2 is points (N,) or (N, d); of rank 3 or 4 images (N, H, W),
(N, H, W, C) or (N, C, H, W). A CSV whose first row is all numbers has no header.
"""

from __future__ import annotations

import gzip
import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sgm_core.data.raw import Raw
from sgm_core.errors import SgmError, UsageError, unknown

if TYPE_CHECKING:
    import pandas as pd

    from sgm_core.config.data import TableParams

log = logging.getLogger(__name__)
Array = np.ndarray[Any, Any]
TEXT = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz")
PARQUET = (".parquet", ".pq")
ARRAYS = (".npy", ".npz")
SUFFIXES = TEXT + PARQUET + ARRAYS


def read(params: TableParams, root: Path) -> Raw:
    """Read the file `params.path`.

    Raises:
        UsageError: the file is missing, damaged, of an unknown type, or has a column that is not
            numeric (named, with the first such row).
    """
    file = Path(root) / params.path
    name = file.name.lower()
    if not file.exists():
        raise UsageError(f"path: {file} does not exist; correct it in params.yaml")
    if file.is_dir():
        raise UsageError(f"path: {file} is a folder; name a file, or use kind: folder for images")
    if not name.endswith(SUFFIXES):
        raise UsageError(f"path: {file} has an unknown type; give one of {', '.join(SUFFIXES)}")
    if file.stat().st_size == 0:
        raise UsageError(f"path: {file} is empty; give a file with data")
    try:
        if name.endswith(ARRAYS):
            return _arrays(file, params)
        frame = _parquet(file) if name.endswith(PARQUET) else _csv(file)
    except (UsageError, MemoryError):
        raise
    except PermissionError:
        raise SgmError(f"cannot read {file}: Permission denied; make it readable") from None
    except Warning:
        raise UsageError(
            f"path: {file} has rows with more cells than its first row; give each row as many"
        ) from None
    except Exception as error:
        detail = " ".join(str(error).split())[:120]
        raise UsageError(
            f"path: {file} cannot be read ({detail}); it is damaged or not what its name says"
        ) from None
    return _points(frame, file, params)


def _csv(file: Path) -> pd.DataFrame:
    import pandas as pd

    opened = gzip.open if file.suffix.lower() == ".gz" else open
    with opened(file, "rt", encoding="utf-8-sig") as stream:
        first = ""
        while not first.strip():
            line = stream.readline()
            if not line:
                raise UsageError(f"path: {file} has no rows; give a file with data")
            first = line
    separator = max((",", ";", "\t"), key=first.count)
    if not first.count(separator):
        separator = r"\s+" if len(first.split()) > 1 else ","
    cells = first.split() if separator == r"\s+" else first.strip("\r\n").split(separator)
    headless = all(_is_number(cell) for cell in cells)
    if headless:
        log.info("%s has no header; its columns are called x0, x1, ...", file.name)
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)  # it would drop surplus cells
        frame = pd.read_csv(
            file,
            sep=separator,
            header=None if headless else 0,
            index_col=False,
            encoding="utf-8-sig",
            skipinitialspace=True,
            low_memory=False,
        )
    frame.columns = [f"x{c}" if headless else str(c) for c in frame.columns]
    return frame


def _is_number(cell: str) -> bool:
    try:
        float(cell.strip().strip('"'))
    except ValueError:
        return False
    return True


def _parquet(file: Path) -> pd.DataFrame:
    import pyarrow.parquet as pq

    frame: pd.DataFrame = pq.read_table(file).to_pandas(ignore_metadata=True)
    return frame


def _points(frame: pd.DataFrame, file: Path, params: TableParams) -> Raw:
    """Turn a table into points and, if asked for, labels."""
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    frame.columns = [str(column) for column in frame.columns]
    doubled = frame.columns[frame.columns.duplicated()]
    if len(doubled):
        raise UsageError(f"column {doubled[0]!r} appears twice in {file}; rename one")
    labels: Array | None = None
    names: tuple[str, ...] = ()
    if len(frame) == 0:
        raise UsageError(f"path: {file} has no rows; give a file with data")
    if params.label:
        if params.label not in frame.columns:
            raise UsageError(f"label: {unknown('column', params.label, frame.columns)}")
        labels, names = encode_labels(
            frame.pop(params.label).to_numpy(), f"column {params.label!r}"
        )
    x = np.empty((len(frame), frame.shape[1]))
    for j, column in enumerate(frame.columns):
        values = frame[column]
        if values.isna().all():
            raise UsageError(f"column {column!r} of {file} is empty; fill or remove it")
        if not (is_numeric_dtype(values) or is_bool_dtype(values)) or values.dtype.kind == "c":
            raise _not_numeric(values, column, file)
        x[:, j] = values.to_numpy(dtype=np.float64, na_value=np.nan)
    if x.shape[1] == 0:
        raise UsageError(f"{file} has no column of numbers; add one per coordinate")
    return Raw(
        "points",
        x,
        labels=labels,
        label_names=names,
        columns=tuple(frame.columns),
        provenance=f"{len(x)} rows of {params.path}",
    )


def _not_numeric(values: pd.Series[Any], column: str, file: Path) -> UsageError:
    import pandas as pd

    wrong = pd.to_numeric(values, errors="coerce").isna() & values.notna()
    row = int(np.argmax(wrong.to_numpy())) if wrong.any() else 0
    shown = str(values.iloc[row])[:40]
    return UsageError(
        f"column {column!r} of {file} is not numeric (row {row + 1}: {shown!r}); "
        f"remove or convert it, or set label: {column} if it holds classes"
    )


def encode_labels(values: Array, where: str) -> tuple[Array, tuple[str, ...]]:
    """Return class indices int64 (N,) and the sorted class names.

    Raises:
        UsageError: a label is missing (row named), or nearly every row has its own.
    """
    import pandas as pd

    missing = pd.isna(values)
    if missing.any():
        raise UsageError(
            f"label: {where} is empty in {int(missing.sum())} rows, first in row "
            f"{int(np.argmax(missing)) + 1}; fill them or remove these rows"
        )
    if values.dtype.kind == "f" and (values == np.rint(values)).all():
        values = values.astype(np.int64)
    if values.dtype.kind in "OSUT":
        values = np.array([str(value) for value in values], dtype=object)
    unique, codes = np.unique(values, return_inverse=True)
    if len(unique) > max(1, len(values) // 2):
        raise UsageError(
            f"label: {where} has {len(unique)} different values in {len(values)} rows; "
            "name one that holds classes"
        )
    return codes.astype(np.int64), tuple(str(name) for name in unique.tolist())


def _arrays(file: Path, params: TableParams) -> Raw:
    """Read .npy or .npz (never pickled objects)."""
    labels: Array | None = None
    names: tuple[str, ...] = ()
    if file.suffix.lower() == ".npy":
        if params.label:
            raise UsageError(f"label: {file} is one array without names; use .npz or a table")
        array: Array = np.load(file, mmap_mode="r", allow_pickle=False)
    else:
        with np.load(file, allow_pickle=False) as arrays:
            if params.label:
                if params.label not in arrays.files:
                    raise UsageError(f"label: {unknown('array', params.label, arrays.files)}")
                if arrays[params.label].ndim != 1:
                    raise UsageError(
                        f"label: array {params.label!r} has shape {arrays[params.label].shape}; "
                        "give one class per item"
                    )
                labels, names = encode_labels(arrays[params.label], f"array {params.label!r}")
            others = [key for key in arrays.files if key != params.label]
            if len(others) != 1 and "x" not in others:
                raise UsageError(
                    f"path: {file} holds the arrays {', '.join(others) or 'none'}; keep one beside "
                    "the labels, or call it x"
                )
            key = others[0] if len(others) == 1 else "x"
            if len(others) > 1:
                log.info("used array %r of %s; set label to use another as classes", key, file.name)
            array = arrays[key]
    if labels is not None and len(labels) != len(array):
        raise UsageError(
            f"label: {len(labels)} labels for {len(array)} items in {file}; give one per item"
        )
    return _from_array(array, file, params, labels, names)


def _from_array(
    array: Array, file: Path, params: TableParams, labels: Array | None, names: tuple[str, ...]
) -> Raw:
    if array.dtype.kind not in "iufb":
        raise UsageError(f"path: {file} holds {array.dtype} values; convert them to numbers")
    if array.ndim not in (1, 2, 3, 4) or array.size == 0:
        raise UsageError(
            f"path: {file} has shape {array.shape}; give (N, d) for points or (N, H, W), "
            "(N, H, W, C) or (N, C, H, W) for images"
        )
    provenance = f"{len(array)} items of {params.path}"
    if array.ndim <= 2:
        x = np.array(array.reshape(len(array), -1), np.float64)
        return Raw("points", x, labels, names, columns=(), provenance=provenance)
    from sgm_core.data.array_images import images_of

    x = images_of(array, file)
    return Raw("images", x, labels, names, range=(0.0, 255.0), provenance=provenance)
