"""The items that a trainer draws its batches from, and their way into model space."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

KEPT_BYTES = 512 * 2**20  # of mapped images
FOLIO = 2 * 2**20  # the largest piece of a file that Linux maps for one read


def items_of(x: Any, labels: Any, device: torch.device) -> tuple[Tensor, Tensor | None]:
    """Put all items on the device in their storage type (uint8 images, float32 points).

    On the CPU images stay where they are mapped: a dataset may be larger than the memory. So they do
    for a GPU of whose free memory they would take more than half.
    """
    array = np.ascontiguousarray(x, dtype=np.uint8 if x.dtype == np.uint8 else np.float32)
    if device.type == "cuda" and array.nbytes > torch.cuda.mem_get_info(device)[0] // 2:
        device = torch.device("cpu")
    items = torch.from_numpy(array).to(device)
    return items, None if labels is None else torch.from_numpy(np.array(labels)).to(device)


def forget_every(x: Any, batch: int) -> int:
    """Return after how many steps the mapped pages are given back; 0 for what fits easily.

    A batch of small items may map far more than itself, up to a FOLIO for each.
    """
    if x.dtype != np.uint8 or x.nbytes <= KEPT_BYTES:
        return 0
    return max(1, int(KEPT_BYTES // (batch * max(FOLIO, x[0].nbytes))))


def affine_of(meta: Mapping[str, Any], device: torch.device) -> Callable[[Tensor], Tensor]:
    """Return the map from stored items to model space, (x - center) / scale."""
    shape = (-1, *([1] * (len(meta["shape"]) - 1)))
    center = torch.tensor(meta["center"], dtype=torch.float32, device=device).reshape(shape)
    scale = torch.tensor(meta["scale"], dtype=torch.float32, device=device).reshape(shape)
    return lambda x: (x.float() - center) / scale
