"""Safetensors written row by row and read through a memory map.

A safetensors file is `n` (8 bytes, little endian), a JSON header of `n` bytes, then the arrays. It
is written here in blocks of rows, so that a dataset larger than the memory passes through, and its
hash is known without reading it again.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import mmap
import os
from pathlib import Path
from typing import Any

import numpy as np

from sgm_core.store.files import canonical_json

BLOCK = 1 << 24  # bytes per block of rows
DTYPES = {"U8": np.uint8, "I64": np.int64}
Array = np.ndarray[Any, Any]


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


def forget(mapped: Array) -> None:
    """Give the pages of a mapped array that was never written back to the system.

    They count as this process's memory once they were read, and are read again when needed.
    """
    first = -(-mapped.ctypes.data // mmap.PAGESIZE) * mmap.PAGESIZE
    length = mapped.ctypes.data + mapped.nbytes - first
    madvise = getattr(ctypes.CDLL(None), "madvise", None)
    if madvise is not None and length > 0:
        madvise(ctypes.c_void_p(first), ctypes.c_size_t(length), mmap.MADV_DONTNEED)
