"""A folder of images: flat, or one sub-folder per class (the layout of torchvision's ImageFolder).

Two passes: headers first (sizes and channels of all files, quick), then the pixels, decoded
straight into one uint8 array; a large one lives in an unnamed temporary file and not in memory.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sgm_core.data.image import (
    Header,
    Unreadable,
    is_hidden,
    is_image_name,
    read_header,
    read_image,
)
from sgm_core.data.raw import Raw
from sgm_core.errors import SgmError, UsageError
from sgm_core.store.files import os_errors

if TYPE_CHECKING:
    from sgm_core.config.data import FolderParams

log = logging.getLogger(__name__)
Array = np.ndarray[Any, Any]
IN_MEMORY = 1 << 30  # bytes; larger arrays go to a temporary file
LARGEST = 4096  # pixels along a side
SPLIT_NAMES = {"train", "training", "test", "testing", "val", "valid", "validation"}


@dataclass(frozen=True)
class Listing:
    """Image files (sorted), their class and what else lies in the folder."""

    files: list[Path]
    labels: list[int]
    names: list[str]
    others: list[str]


def read(params: FolderParams, root: Path) -> Raw:
    """Read every image below `params.path`.

    Raises:
        UsageError: the folder is missing or empty, a class is empty, the sizes differ and none is
            given, or files are unreadable and `skip_unreadable` is false (named and counted).
    """
    folder = Path(root) / params.path
    listing = _list(folder)
    if listing.others:
        log.info("left out %d files that are not images: %s", *_some(listing.others))
    bad: dict[Path, str] = {}
    headers: dict[Path, Header] = {}
    for file in listing.files:
        try:
            headers[file] = read_header(file)
        except Unreadable as error:
            bad[file] = str(error)
    if not headers:
        raise _unreadable(folder, bad, len(listing.files))
    height, width = _size(params, list(headers.values()))
    channels = params.channels or _channels(list(headers.values()))
    x, good = _decode(listing.files, bad, (channels, height, width), root)
    if bad and not params.skip_unreadable:
        raise _unreadable(folder, bad, len(listing.files))
    skipped = tuple(file.relative_to(folder).as_posix() for file in sorted(bad))
    if skipped:
        log.info("skipped %d unreadable files: %s", *_some(list(skipped)))
    labels = np.asarray(listing.labels, np.int64)[good] if listing.names else None
    for index, name in enumerate(listing.names):
        if labels is not None and not (labels == index).any():
            raise UsageError(f"no image of class folder {name!r} can be read; remove the folder")
    return Raw(
        "images",
        x,
        labels=labels,
        label_names=tuple(listing.names),
        range=(0.0, 255.0),
        skipped=skipped,
        provenance=f"{len(good)} image files of {params.path}",
    )


def _list(folder: Path) -> Listing:
    if not folder.exists():
        raise UsageError(f"path: {folder} does not exist; correct it in params.yaml")
    if not folder.is_dir():
        raise UsageError(f"path: {folder} is a file; name the folder that holds the images")
    try:
        top, classes = _children(folder)
        while len(classes) == 1 and not any(is_image_name(file.name) for file in top):
            # one folder around everything, as in an unpacked archive
            folder = classes[0]
            top, classes = _children(folder)
        return _classes(folder, top, classes)
    except OSError as error:
        raise SgmError(
            f"cannot read {error.filename or folder}: {error.strerror}; make it readable"
        ) from None


def _classes(folder: Path, top: list[Path], classes: list[Path]) -> Listing:
    """List a folder whose images lie flat in it, or below the folders `classes`."""
    found = {child.name: _walk(child) for child in classes}
    images = [file for file in top if is_image_name(file.name)]
    others = [file.name for file in top if not is_image_name(file.name)]
    if not images and not any(inner for inner, _ in found.values()):
        kinds = Counter(file.suffix.lower() or "no suffix" for file in top).most_common(3)
        detail = ", ".join(f"{count} {suffix}" for suffix, count in kinds)
        raise UsageError(
            f"{folder} holds no images{f' ({detail})' if detail else ''}; put PNG, JPEG, WebP, "
            "TIFF, GIF, BMP or .npy files there, or one sub-folder of them per class"
        )
    if images and any(inner for inner, _ in found.values()):
        raise UsageError(
            f"{folder} holds {len(images)} images beside sub-folders with images; move them into "
            "class folders, or everything into one folder"
        )
    if images:
        return Listing(images, [], [], others)
    splits = sorted(name for name in found if name.lower() in SPLIT_NAMES)
    if splits and len(splits) == len(found):
        raise UsageError(
            f"{folder} holds the splits {', '.join(splits)}; name one of them or merge them, since "
            "the split is drawn by seed"
        )
    files: list[Path] = []
    labels: list[int] = []
    for index, (name, (inner, rest)) in enumerate(sorted(found.items())):
        if not inner:
            raise UsageError(
                f"class folder {name!r} in {folder} holds no images; remove it or add some"
            )
        files += inner
        labels += [index] * len(inner)
        others += rest
    return Listing(files, labels, sorted(found), others)


def _children(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the files and the folders in a folder, sorted, without hidden ones."""
    children = sorted(child for child in folder.iterdir() if not is_hidden(child.name))
    return [c for c in children if c.is_file()], [c for c in children if c.is_dir()]


def _walk(folder: Path) -> tuple[list[Path], list[str]]:
    """Return the image files below a folder, sorted, and the names of the other files."""
    images, others = [], []
    for base, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not is_hidden(name)]
        for name in names:
            if is_image_name(name) and not is_hidden(name):
                images.append(Path(base) / name)
            elif not is_hidden(name):
                others.append(name)
    return sorted(images), others


def _size(params: FolderParams, headers: list[Header]) -> tuple[int, int]:
    """Return (height, width): as asked, or the one size of all files."""
    if params.height:
        return params.height, params.width
    sizes = Counter((h.width, h.height) for h in headers).most_common()
    (width, height), _ = sizes[0]
    if len(sizes) > 1:
        shown = ", ".join(f"{count} of {w} x {h}" for (w, h), count in sizes[:3])
        more = f" and {len(sizes) - 3} more sizes" if len(sizes) > 3 else ""
        raise UsageError(
            f"images have {len(sizes)} different sizes (width x height: {shown}{more}); "
            "set height and width (--height, --width), then each is scaled and cropped to that"
        )
    if max(width, height) > LARGEST:
        raise UsageError(
            f"images are {width} x {height} pixels, above {LARGEST}; set height and width"
        )
    return height, width


def _channels(headers: list[Header]) -> int:
    """Return 3 if any file is in colour, else 1."""
    colour = sum(header.channels == 3 for header in headers)
    if 0 < colour < len(headers):
        log.info("%d of %d images are grey; all become RGB", len(headers) - colour, len(headers))
    return 3 if colour else 1


def _decode(
    files: list[Path], bad: dict[Path, str], shape: tuple[int, ...], root: Path
) -> tuple[Array, list[int]]:
    """Decode all files that are not `bad` (adding to it); return the array and their indices."""
    x = allocate((len(files), *shape), root)
    good: list[int] = []
    last = time.monotonic()
    for i, file in enumerate(files):
        if file in bad:
            continue
        try:
            x[len(good)] = read_image(file, shape[1], shape[2], shape[0])
            good.append(i)
        except Unreadable as error:
            bad[file] = str(error)
        if time.monotonic() - last > 5:
            last = time.monotonic()
            log.info("read %d of %d images", i + 1, len(files))
    return x[: len(good)], good


def allocate(shape: tuple[int, ...], root: Path) -> Array:
    """Return an empty uint8 array; a large one in an unnamed file below the project."""
    size = int(np.prod(shape))
    if size <= IN_MEMORY:
        return np.empty(shape, np.uint8)
    place = Path(root) / "data"
    with os_errors(place):
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place) as stream:
            if hasattr(os, "posix_fallocate"):  # a full disk shows now, not as a bus error later
                os.posix_fallocate(stream.fileno(), 0, size)
            else:
                stream.truncate(size)
            return np.memmap(stream, np.uint8, "r+", 0, shape)


def _some(names: list[str]) -> tuple[int, str]:
    return len(names), ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _unreadable(folder: Path, bad: dict[Path, str], total: int) -> UsageError:
    shown = ", ".join(
        f"{file.relative_to(folder).as_posix()} ({reason})"
        for file, reason in sorted(bad.items())[:5]
    )
    more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
    return UsageError(
        f"{len(bad)} of {total} images in {folder} cannot be read: {shown}{more}; "
        "remove or repair them, or skip them with skip_unreadable: true (--skip-unreadable)"
    )
