"""One image file -> uint8 (C, H, W), whatever it holds.

Colour: alpha is composited on white; palettes, CMYK and the like become RGB; 16-bit levels are
divided by 257; floating-point levels must lie in [0, 1]. Orientation: the EXIF tag is applied.
Size: the image is scaled to cover the asked size and cropped at the centre, so nothing is
stretched.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

Array = np.ndarray[Any, Any]
GREY = {"1", "L", "LA", "La", "I", "F", "I;16", "I;16L", "I;16B", "I;16N"}
HIDDEN = ("__MACOSX", "Thumbs.db", "desktop.ini")
SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("png", "jpg", "jpeg", "jfif", "bmp", "dib", "gif", "webp", "tif", "tiff", "ppm", "pgm"),
        *("pbm", "pnm", "tga", "jp2", "avif", "heic", "heif", "npy"),
    )
)
ORIENTATION = 0x0112  # EXIF tag; 5 to 8 swap width and height


def is_image_name(name: str) -> bool:
    """Tell by its suffix whether a file is meant to be an image."""
    return Path(name).suffix.lower() in SUFFIXES


def is_hidden(name: str) -> bool:
    """Tell whether a file or folder is one that systems leave behind, not data."""
    return name.startswith(".") or name in HIDDEN


class Unreadable(Exception):
    """The file is not an image that can be decoded; the message is the reason in a few words."""


@dataclass(frozen=True)
class Header:
    """What is known of an image without decoding it."""

    height: int
    width: int
    channels: int


def read_header(file: Path) -> Header:
    """Return size and channels of an image file (after EXIF rotation); raises `Unreadable`."""
    with _decoding():
        if file.suffix.lower() == ".npy":
            height, width, channels = _channels_last(_load_array(file)).shape
            return Header(height, width, 1 if channels < 3 else 3)
        with Image.open(file) as image:
            width, height = image.size
            if image.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8):
                width, height = height, width
            return Header(height, width, 1 if image.mode in GREY else 3)


def read_image(file: Path, height: int, width: int, channels: int) -> Array:
    """Return the image as uint8 (channels, height, width); raises `Unreadable`."""
    with _decoding():
        if file.suffix.lower() == ".npy":
            image = array_image(np.asarray(_load_array(file)))
        else:
            with Image.open(file) as opened:
                opened.load()
                image = flatten(ImageOps.exif_transpose(opened))
        image = image.convert("L" if channels == 1 else "RGB")
        if image.size != (width, height):
            image = ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
        array = np.asarray(image)
        return array[None] if channels == 1 else array.transpose(2, 0, 1)


def flatten(image: Image.Image) -> Image.Image:
    """Return the image as 8-bit L or RGB, composited on white where it is transparent."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return Image.fromarray(to_bytes(np.asarray(image)))
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("L" if image.mode in GREY else "RGB")
    return image.convert("L" if image.mode in GREY else "RGB")


def array_image(array: Array) -> Image.Image:
    """Return an array (H, W), (H, W, C) or (C, H, W) as an 8-bit image without alpha."""
    levels = to_bytes(_channels_last(array))
    if levels.shape[2] == 1:
        return Image.fromarray(levels[:, :, 0])
    return flatten(Image.fromarray(levels))  # LA, RGB or RGBA by the number of channels


def to_bytes(array: Array) -> Array:
    """Convert levels to uint8: bool, 8 and 16 bits by their range, floats from [0, 1]."""
    if array.dtype == np.uint8:
        return array
    if array.dtype == bool:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype.kind not in "iuf":
        raise Unreadable(f"holds {array.dtype} values")
    low, high = (array.min(), array.max()) if array.size else (0, 0)
    if array.dtype.kind == "f":
        if not (np.isfinite(low) and np.isfinite(high)) or low < 0 or high > 1:
            raise Unreadable(f"floating-point levels {low:g} to {high:g} leave [0, 1]")
        return np.asarray(np.rint(array * 255.0), np.uint8)
    if low < 0 or high > 65535:
        raise Unreadable(f"integer levels {low} to {high} leave 0 to 65535")
    if high <= 255 and array.dtype.itemsize > 2:  # 8-bit levels stored as int32 or int64
        return array.astype(np.uint8)
    return np.asarray((array.astype(np.uint32) + 128) // 257, np.uint8)


def _load_array(file: Path) -> Array:
    array: Array = np.load(file, mmap_mode="r", allow_pickle=False)
    return array


def _channels_last(array: Array) -> Array:
    """Return (H, W, C) of an array (H, W), (H, W, C) or (C, H, W), C in 1 to 4."""
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim == 3 and array.shape[2] > 4 and array.shape[0] <= 4:
        array = array.transpose(1, 2, 0)
    if array.ndim != 3 or not 1 <= array.shape[2] <= 4 or array.size == 0:
        raise Unreadable(f"shape {array.shape} is not that of an image")
    return array


@contextmanager
def _decoding() -> Iterator[None]:
    """Give every way in which a decoder fails one name."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Unreadable:
        raise
    except Image.DecompressionBombError:
        raise Unreadable("has far too many pixels") from None
    except UnidentifiedImageError:
        raise Unreadable("is not an image") from None
    except MemoryError:
        raise
    except Exception as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise Unreadable(" ".join(str(reason).split())[:80]) from None
