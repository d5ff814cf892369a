"""Pictures as the metrics take them: rounded to the data's whole numbers, and thumbnails.

A generated picture is judged as it would be saved, so it is rounded to whole values of the range
before anything is measured. A thumbnail is the picture area-averaged by the smallest whole factor
that leaves at most 1,024 numbers, scaled to [0, 1]: the space of memorisation and of the judge.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

Array = NDArray[Any]
THUMB_NUMBERS = 1024
# A network need not see more than this; larger pictures are area-averaged down to it.
LARGEST_SIDE = 64


def rounded(x: Array, span: tuple[float, float]) -> Array:
    """Return pictures rounded to whole values and clipped to the range, float32."""
    return np.clip(np.rint(x), *span).astype(np.float32)


def thumb_size(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return (height, width) of thumbnails for pictures of shape (C, H, W)."""
    c, h, w = shape
    factor = 1
    while c * -(-h // factor) * -(-w // factor) > THUMB_NUMBERS:
        factor += 1
    return -(-h // factor), -(-w // factor)


def thumbnails(x: Array, span: tuple[float, float], batch: int = 500) -> Array:
    """Return thumbnails of pictures (n, C, H, W) as vectors (n, C h w) float32 in [0, 1]."""
    size = thumb_size(x.shape[1:])
    out = np.empty((len(x), x.shape[1] * size[0] * size[1]), dtype=np.float32)
    for i in range(0, len(x), batch):
        part = unit(x[i : i + batch], span)
        if size != tuple(part.shape[2:]):
            part = functional.adaptive_avg_pool2d(part, size)
        out[i : i + batch] = part.flatten(1).numpy()
    return out


def unit(x: Array, span: tuple[float, float]) -> torch.Tensor:
    """Return pictures as a float32 tensor scaled from the range to [0, 1]."""
    low, high = span
    # A copy: the arrays may be memory maps of the dataset, which must not be written to.
    return torch.from_numpy(np.array(x, dtype=np.float32)).sub_(low).div_(high - low)


def shrunk(x: torch.Tensor) -> torch.Tensor:
    """Return pictures area-averaged so that the longer side is at most 64."""
    h, w = x.shape[2:]
    if max(h, w) <= LARGEST_SIDE:
        return x
    scale = LARGEST_SIDE / max(h, w)
    return functional.adaptive_avg_pool2d(x, (max(1, round(h * scale)), max(1, round(w * scale))))
