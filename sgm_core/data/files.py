"""Safetensors written row by row and read through a memory map; text that keeps its mode.

A safetensors file is `n` (8 bytes, little endian), a JSON header of `n` bytes, then the arrays. It
is written here in blocks of rows, so that a dataset larger than the memory passes through, and its
hash is known without reading it again.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from sgm_core.errors import SgmError
from sgm_core.store.files import canonical_json

FIXES = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space of your quota",
    errno.EFBIG: "use fewer or smaller items",
    errno.EACCES: "make the folder writable",
    errno.EPERM: "make the folder writable",
    errno.EROFS: "use a folder on a writable disk",
    errno.ENOTDIR: "move the file that is in the way",
    errno.EEXIST: "move the file that is in the way",
}
BLOCK = 1 << 24  # bytes per block of rows
DTYPES = {"U8": np.uint8, "I64": np.int64}
Array = np.ndarray[Any, Any]


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an OSError while writing into one sentence with the path and the fix.

    Raises:
        SgmError: the disk is full, the folder is not writable, or writing failed otherwise.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        fix = FIXES.get(error.errno or 0, "make sure that the folder can be written")
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)  # a copy names its source then
        where = path if full else error.filename or path
        raise SgmError(f"cannot write {where}: {reason}; {fix} and run this again") from error


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically: temporary name, fsync, rename; the old mode is kept."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("w", encoding="utf-8", newline="") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        if path.exists():
            partial.chmod(path.stat().st_mode & 0o7777)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_tensors(path: Path, x: Array, rows: Array, labels: Array | None) -> str:
    """Write `x[rows]` (uint8) and `labels[rows]` (int64) as safetensors; return the SHA-256."""
    header: dict[str, Any] = {"__metadata__": {"format": "np"}}
    start = 0
    if labels is not None:  # first, because eight-byte items must start at a multiple of eight
        start = 8 * len(rows)
        header["labels"] = {"dtype": "I64", "shape": [len(rows)], "data_offsets": [0, start]}
    size = len(rows) * int(np.prod(x.shape[1:]))
    shape = [len(rows), *x.shape[1:]]
    header["x"] = {"dtype": "U8", "shape": shape, "data_offsets": [start, start + size]}
    text = canonical_json(header)
    text += b" " * (-len(text) % 8)
    digest = hashlib.sha256()
    with path.open("wb") as stream:

        def put(data: bytes) -> None:
            digest.update(data)
            stream.write(data)

        put(len(text).to_bytes(8, "little") + text)
        if labels is not None:
            put(labels[rows].astype("<i8").tobytes())
        step = max(1, BLOCK // max(1, int(np.prod(x.shape[1:]))))
        for i in range(0, len(rows), step):
            put(np.ascontiguousarray(x[rows[i : i + step]], dtype=np.uint8).tobytes())
        stream.flush()
        os.fsync(stream.fileno())
    return digest.hexdigest()


def map_tensors(path: Path) -> dict[str, Array]:
    """Map the arrays of a safetensors file into memory (copy on write: the file never changes)."""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(length))
    arrays: dict[str, Array] = {}
    for name, entry in header.items():
        if name != "__metadata__":
            offset = 8 + length + entry["data_offsets"][0]
            dtype = np.dtype(DTYPES[entry["dtype"]])
            shape = tuple(entry["shape"])
            arrays[name] = np.asarray(np.memmap(path, dtype, "c", offset, shape))
    return arrays
