"""What a reader returns: the items as they are, before checks, deduplication and the split."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

MINIMUM = 10  # items: fewer cannot be split into three and say anything


@dataclass(frozen=True)
class Raw:
    """All items of a dataset in the data's own range.

    Attributes:
        kind: "points" or "images".
        x: points float64 (N, d), or images uint8 (N, C, H, W) (a memory map when large).
        labels: class index int64 (N,), or None.
        label_names: name of each class (empty without labels).
        range: smallest and largest possible value of images; None for points.
        columns: name of each coordinate of points, for messages.
        skipped: files that were left out on request.
        provenance: one sentence on where the items come from.
    """

    kind: str
    x: np.ndarray[Any, Any]
    labels: np.ndarray[Any, Any] | None = None
    label_names: tuple[str, ...] = ()
    range: tuple[float, float] | None = None
    columns: tuple[str, ...] = field(default=())
    skipped: tuple[str, ...] = ()
    provenance: str = ""
