"""An array of images (N, H, W), (N, H, W, C) or (N, C, H, W) -> uint8 (N, C, H, W), C = 1 or 3."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sgm_core.errors import UsageError

Array = np.ndarray[Any, Any]
BLOCK = 256  # images converted at once


def images_of(array: Array, file: Path) -> Array:
    """Convert levels as for single files, by the range of the whole array: bool, integers up to 255
    (or 65535, divided by 257), floats in [0, 1] (times 255); alpha is composited on white.

    Raises:
        UsageError: the number of channels or the range of the values is not that of images.
    """
    if array.ndim == 3:
        array = array[:, None]
    elif array.shape[1] not in (1, 2, 3, 4) and array.shape[3] in (1, 2, 3, 4):
        array = array.transpose(0, 3, 1, 2)
    n, channels, height, width = array.shape
    if channels not in (1, 2, 3, 4):
        raise UsageError(
            f"path: {file} has shape {array.shape}, in which no axis has the 1 or 3 channels; "
            "give (N, H, W, C) or (N, C, H, W)"
        )
    factor = _factor(array, file)
    x = np.empty((n, 1 if channels < 3 else 3, height, width), np.uint8)
    for i in range(0, n, BLOCK):
        levels = array[i : i + BLOCK] * factor
        if channels in (2, 4):
            alpha = levels[:, -1:] / 255.0
            levels = levels[:, :-1] * alpha + 255.0 * (1.0 - alpha)
        x[i : i + BLOCK] = np.rint(levels)
    return x


def _factor(array: Array, file: Path) -> float:
    """Return what levels are multiplied with to lie in [0, 255]."""
    if array.dtype == np.uint8:
        return 1.0
    if array.dtype == bool:
        return 255.0
    low, high = array.min(), array.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        flat = ~np.isfinite(array).reshape(len(array), -1).all(axis=1)
        raise UsageError(
            f"path: {file} has NaN or infinite values in {int(flat.sum())} items, first in item "
            f"{int(np.argmax(flat)) + 1}; remove or fill them"
        )
    if low >= 0 and array.dtype.kind == "f" and high <= 1:
        return 255.0
    whole = array.dtype.kind in "iu"
    if low >= 0 and high <= 255 and (whole or bool((array == np.rint(array)).all())):
        return 1.0
    if low >= 0 and high <= 65535 and whole:
        return 1.0 / 257.0
    raise UsageError(
        f"path: {file} has levels {low:g} to {high:g}; give 0 to 255, or floating point 0 to 1"
    )
