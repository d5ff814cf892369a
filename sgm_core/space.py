"""The data's own range and the model space: x_model = (x - center) / scale; and the class labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sgm_core.arguments import check_shape, numbers
from sgm_core.errors import UsageError, unknown


class DataSpace:
    """What a model knows of its data.

    Args:
        data: the fields kind, shape, range, center, scale and labels of dataset.json; center and
            scale are one number, or one a coordinate or channel.
    """

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.shape: tuple[int, ...] = tuple(data["shape"])
        self.labels: list[str] = list(data["labels"])
        self.range: tuple[float, float] = (float(data["range"][0]), float(data["range"][1]))
        tail = [1] * (len(self.shape) - 1)
        self.center = np.asarray(data["center"], dtype=np.float64).reshape(-1, *tail)
        self.scale = np.asarray(data["scale"], dtype=np.float64).reshape(-1, *tail)

    def to_model(self, x: Any, name: str = "x") -> Tensor:
        """Return (x - center) / scale of x (n, *shape), float64 on the CPU.

        Raises:
            UsageError: x has another shape, or holds something that is not a finite number.
        """
        if isinstance(x, Tensor):
            x = x.detach().cpu().numpy()
        try:
            array = np.asarray(x, dtype=np.float64)
        except (TypeError, ValueError):
            raise UsageError(f"{name}: is not an array of numbers; give one") from None
        if array.ndim != len(self.shape) + 1 or array.shape[1:] != self.shape or not len(array):
            wanted = ", ".join(map(str, self.shape))
            raise UsageError(
                f"{name}: shape {array.shape} does not fit; give ({name[0].upper()}, {wanted})"
            )
        if not np.isfinite(array).all():
            raise UsageError(f"{name}: holds NaN or infinite values; remove them")
        return torch.from_numpy((array - self.center) / self.scale)

    def to_data(self, x: Tensor, clip: bool = True) -> np.ndarray:
        """Return x (n, *shape) of the model space in the data's range.

        Points come back as float64, images as float32, clipped to the range if `clip`; what is
        infinite is NaN then, since clipped it would pass for black or white.
        """
        array = x.detach().double().cpu().numpy() * self.scale + self.center
        if len(self.shape) == 1:
            return np.asarray(array)
        if clip:
            array = np.where(np.isfinite(array), np.clip(array, *self.range), np.nan)
        return np.asarray(array, dtype=np.float32)

    @property
    def log_volume(self) -> float:
        """Sum of ln scale over all numbers of an item: log p(data) = log p(model space) - this."""
        return float(np.broadcast_to(np.log(self.scale), self.shape).sum())

    def classes(self, label: Any, n: int) -> np.ndarray:
        """Return (n,) int64 class indices from None, an index, a name, or one per sample.

        None stands for all classes in turn, -1 for no class.

        Raises:
            UsageError: there is no such class, or not one per sample.
        """
        if not self.labels:
            if np.ndim(label) == 0 and label == -1:
                return np.full(n, -1)
            raise UsageError(
                f"label: {label!r} was given and this model has no classes; leave it out"
            )
        if label is None:
            return np.arange(n) % len(self.labels)
        if isinstance(label, str):
            if label not in self.labels:
                raise unknown("label", label, self.labels)
            label = self.labels.index(label)
        array = np.asarray(label)
        if array.dtype.kind not in "iu" or array.ndim > 1 or (array.ndim and len(array) != n):
            raise UsageError(
                f"label: {label!r} is not valid: give one class, or {n} of them, as whole numbers"
            )
        if array.size and (array.min() < -1 or array.max() >= len(self.labels)):
            raise UsageError(
                f"label: {label!r} is not valid: choose 0 to {len(self.labels) - 1}, or -1 for none"
            )
        return np.broadcast_to(array, (n,)).astype(np.int64)


def describe(
    shape: Sequence[int],
    *,
    labels: Sequence[str] = (),
    data_range: Sequence[float] | None = None,
    center: float | Sequence[float] | None = None,
    scale: float | Sequence[float] | None = None,
    sigma_data: float | None = None,
) -> dict[str, Any]:
    """Return the fields of `DataSpace` from arguments; see `ScoreModel` for their meaning.

    Raises:
        UsageError: an argument is wrong; the message names it.
    """
    full = tuple(shape)
    check_shape(full)
    images = len(full) == 3
    low, high = numbers("data_range", data_range or (-1.0, 1.0), (2,))
    if not low < high:
        raise UsageError(f"data_range: {data_range!r} is not valid: the first must be smaller")
    sizes = (1,) if images else (1, full[0])
    middle = (low + high) / 2 if center is None else center
    half = (high - low) / 2 if scale is None else scale
    spread = sigma_data if sigma_data is not None else (0.5 if images else 1.0)
    return {
        "name": "",
        "kind": "images" if images else "points",
        "shape": list(full),
        "range": [low, high],
        "center": numbers("center", middle, sizes),
        "scale": numbers("scale", half, sizes, positive=True),
        "sigma_data": numbers("sigma_data", spread, (1,), positive=True)[0],
        "labels": list(labels),
    }
