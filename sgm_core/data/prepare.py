"""From raw data to a prepared folder: read, check, deduplicate, split, write.

The split is drawn once, before anything is trained, and exact duplicates are removed first, so that
no test item was ever seen in training. Items of a split are shuffled: any prefix is a fair sample.
Nothing appears at the destination unless everything succeeded.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from sgm_core.config.data import DatasetParams
from sgm_core.data.check import Checked, check
from sgm_core.data.dataset import FORMAT, SPLITS, digest_of
from sgm_core.data.files import write_tensors
from sgm_core.data.raw import Raw
from sgm_core.errors import SgmError, UsageError
from sgm_core.store.files import fsync_dir, os_errors, sha256_file, write_json

Log = Callable[[str], None]
Array = np.ndarray[Any, Any]


def prepare(
    name: str, params: DatasetParams, root: Path, out: Path, log: Log = print
) -> dict[str, Any]:
    """Prepare dataset `name` into the folder `out` and return its `dataset.json`.

    Args:
        name: name in params.yaml.
        params: its parameters; `params.target` names the reader `read(params, root) -> Raw`.
        root: the project's folder, to which paths in `params` are relative.
        out: destination; an older prepared dataset there is replaced.
        log: called with lines for the user.

    Raises:
        UsageError: the data is wrong (one sentence that names the item and the fix).
        SgmError: the destination cannot be written.
    """
    root, out = Path(root), Path(out)
    if (
        out.exists()
        and not (out / "dataset.json").exists()
        and (out.is_file() or any(out.iterdir()))
    ):
        raise UsageError(f"{out} holds something else than a prepared dataset; name another folder")
    checked = inspect(name, params, root, log)
    partial = out.with_name(f".{out.name}.partial")
    with os_errors(out):
        try:
            _clear(partial)
            partial.mkdir(parents=True)
            meta = _write(name, params, checked, partial)
            _swap(partial, out)
        finally:
            _clear(partial)
    counts = ", ".join(f"{meta['counts'][split]} {split}" for split in SPLITS)
    log(f"{name}: {counts}; {'x'.join(map(str, meta['shape']))} {meta['kind']} in {out}")
    return meta


def inspect(name: str, params: DatasetParams, root: Path, log: Log = print) -> Checked:
    """Read and check a dataset without writing it; the same errors as `prepare`."""
    with _forward(log, name):
        try:
            return check(_read(params, Path(root)), params)
        except UsageError as error:
            raise UsageError(f"dataset {name}: {error}") from error.__cause__
        except SgmError as error:
            raise SgmError(f"dataset {name}: {error}") from error.__cause__
        except MemoryError:
            raise SgmError(
                f"dataset {name}: does not fit into memory; use fewer items or a smaller size"
            ) from None


def _read(params: DatasetParams, root: Path) -> Raw:
    module, _, function = params.target.partition(":")
    raw = getattr(import_module(module), function)(params, root)
    assert isinstance(raw, Raw)
    return raw


@contextmanager
def _forward(log: Log, name: str) -> Iterator[None]:
    """Pass the readers' log records on to `log`."""

    class Forward(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            log(f"{name}: {record.getMessage()}")

    logger, handler = logging.getLogger("sgm_core.data"), Forward()
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


def _write(name: str, params: DatasetParams, checked: Checked, folder: Path) -> dict[str, Any]:
    """Write the splits and `dataset.json` into `folder`."""
    raw, meta = checked.raw, dict(checked.meta)
    files = {}
    for split in SPLITS:
        rows = checked.rows[split]
        if raw.kind == "images":
            file = folder / f"{split}.safetensors"
            digest = write_tensors(file, raw.x, rows, raw.labels)
        else:
            file = folder / f"{split}.parquet"
            _write_points(file, raw, rows)
            digest = sha256_file(file)
        files[file.name] = {"sha256": digest, "bytes": file.stat().st_size}
    meta |= {
        "format": FORMAT,
        "name": name,
        "source": params.kind,
        "files": files,
        "params": {"kind": params.kind} | params.model_dump(mode="json"),
    }
    meta["digest"] = digest_of(meta)
    write_json(folder / "dataset.json", meta)
    fsync_dir(folder)
    return meta


def _write_points(file: Path, raw: Raw, rows: Array) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {f"x{j}": raw.x[rows, j] for j in range(raw.x.shape[1])}
    if raw.labels is not None:
        columns["label"] = raw.labels[rows]
    with file.open("wb") as stream:
        pq.write_table(pa.table(columns), stream, compression="zstd")


def _swap(partial: Path, out: Path) -> None:
    """Put the finished folder in place of an older one."""
    old = out.with_name(f".{out.name}.old")
    _clear(old)
    if out.exists():
        out.rename(old)
    partial.rename(out)
    fsync_dir(out.parent)
    _clear(old)


def _clear(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
