"""Fashion-MNIST: 70,000 grey images 28 x 28 of clothes in ten classes (arXiv 1708.07747).

The files are idx: a magic number (unsigned bytes, number of axes), the sizes, then the bytes. The
60,000 train and 10,000 test images are joined; the split is drawn by seed like everywhere.
"""

from __future__ import annotations

import gzip
import logging
import socket
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sgm_core.data.raw import Raw
from sgm_core.errors import SgmError, UsageError

if TYPE_CHECKING:
    from sgm_core.config.data import FashionMNISTParams

log = logging.getLogger(__name__)
Array = np.ndarray[Any, Any]
PARTS = ("train", "t10k")
FILES = [f"{part}-{what}-ubyte" for part in PARTS for what in ("images-idx3", "labels-idx1")]
NAMES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
TIMEOUT = 20.0  # seconds without an answer, then the download is given up


def inputs(params: FashionMNISTParams, root: Path) -> list[Path]:
    """Return the folders that may decide what is read (those that exist count)."""
    if params.path:
        return [Path(root) / params.path]
    return [Path(root) / "data" / "raw" / "fashion_mnist", DEBIAN]


def read(params: FashionMNISTParams, root: Path) -> Raw:
    """Read the idx files from `params.path`, data/raw/fashion_mnist, Debian's package, or download.

    Raises:
        UsageError: `params.path` does not hold the four files.
        SgmError: they are nowhere (all three ways are named), or damaged.
    """
    folder = _find(params, Path(root))
    images = np.concatenate([_idx(folder, f"{part}-images-idx3-ubyte", 3) for part in PARTS])
    labels = np.concatenate([_idx(folder, f"{part}-labels-idx1-ubyte", 1) for part in PARTS])
    if len(images) != len(labels) or labels.max() >= len(NAMES):
        raise SgmError(
            f"{folder} holds {len(images)} images and {len(labels)} labels up to {labels.max()}; "
            "replace the files by the original ones"
        )
    return Raw(
        "images",
        images[:, None],
        labels=labels.astype(np.int64),
        label_names=NAMES,
        range=(0.0, 255.0),
        provenance="Fashion-MNIST (Zalando Research, MIT licence, arXiv 1708.07747)",
    )


def _find(params: FashionMNISTParams, root: Path) -> Path:
    """Return the first folder that holds all four files."""
    if params.path:
        folder = root / params.path
        missing = [name for name in FILES if _file(folder, name) is None]
        if missing:
            raise UsageError(
                f"path: {folder} has no {missing[0]}.gz; put it there or leave path empty"
            )
        return folder
    own = root / "data" / "raw" / "fashion_mnist"
    downloads = own / "FashionMNIST" / "raw"
    for folder in (own, downloads, DEBIAN):
        if all(_file(folder, name) for name in FILES):
            return folder
    reason = _download(own)
    if reason:
        raise SgmError(
            "Fashion-MNIST is not here: install Debian's dataset-fashion-mnist, or put the four "
            f"idx.gz files into {own}, or install torchvision and run this online ({reason})"
        )
    return downloads


def _download(own: Path) -> str:
    """Download with torchvision (it checks MD5); return why not, or "" on success."""
    before = socket.getdefaulttimeout()
    try:
        socket.setdefaulttimeout(TIMEOUT)
        from torchvision.datasets import FashionMNIST

        log.info("downloading with torchvision to %s", own)
        for train in (True, False):
            FashionMNIST(str(own), train=train, download=True)
    except ImportError:
        return "torchvision is not installed"
    except Exception as error:
        return " ".join(f"the download failed: {error}".split())[:200]
    finally:
        socket.setdefaulttimeout(before)
    return ""


def _file(folder: Path, name: str) -> Path | None:
    for file in (folder / f"{name}.gz", folder / name):
        if file.is_file():
            return file
    return None


def _idx(folder: Path, name: str, axes: int) -> Array:
    """Read an idx file of unsigned bytes with the given number of axes."""
    file = _file(folder, name)
    assert file is not None  # _find has seen it
    try:
        data = file.read_bytes()
        if file.suffix == ".gz":
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise SgmError(f"{file} cannot be read ({error}); fetch it again") from None
    start = 4 + 4 * axes
    if len(data) < start or data[:4] != bytes([0, 0, 8, axes]):
        raise SgmError(f"{file} is not an idx file with {axes} axes; fetch it again")
    shape = tuple(int(size) for size in np.frombuffer(data, ">u4", axes, 4))
    if len(data) - start != int(np.prod(shape)):
        raise SgmError(f"{file} is truncated ({len(data):,} bytes); fetch it again")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)
