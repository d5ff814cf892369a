"""Arguments of sgm_core.control.api: items, masks and labels, and drawing them in passes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from sgm_core.arguments import whole
from sgm_core.errors import UsageError
from sgm_core.generate import SampleResult
from sgm_core.model import ScoreModel

Array = np.ndarray[Any, Any]


def passes(
    model: ScoreModel, total: int, given: Mapping[str, Any], of: Callable[[slice], dict[str, Any]]
) -> SampleResult:
    """Draw `total` samples in passes; `of` gives what a pass's items need of their own."""
    options = dict(given)
    seed, batch = whole("seed", options.pop("seed", 0), 0), whole("batch", options.pop("batch"), 1)
    classes = classes_of(model, options.pop("label"), total)
    parts = []
    for first in range(0, total, batch):
        some = slice(first, min(total, first + batch))
        label = None if classes is None else classes[some]
        size = some.stop - some.start
        parts.append(
            model.sample(size, seed=seed + first, label=label, batch=size, **of(some), **options)
        )
    shown = [part.labels for part in parts if part.labels is not None]
    return SampleResult(
        np.concatenate([part.x for part in parts]),
        np.concatenate(shown) if len(shown) == len(parts) else None,
        max(part.nfe for part in parts),
        sum(part.seconds for part in parts),
        sum(part.cpu_seconds for part in parts),
    )


def classes_of(model: ScoreModel, label: Any, n: int) -> Array | None:
    """Return (n,) class indices, or None for no class of a model without classes."""
    if not model.labels and (label is None or (np.ndim(label) == 0 and label == -1)):
        return None
    return model.space.classes(label, n)


def numeric(x: Any, name: str) -> Array:
    """Return an array or tensor as a float64 array."""
    if isinstance(x, Tensor):
        x = x.detach().cpu().numpy()
    try:
        return np.asarray(x, dtype=np.float64)
    except (TypeError, ValueError):
        raise UsageError(f"{name}: is not an array of numbers; give one") from None


def several_items(model: ScoreModel, x: Any, name: str) -> Array:
    """Return items as (m, *shape) in the data's range."""
    array = numeric(x, name)
    array = array[None] if array.shape == model.shape else array
    if array.shape[1:] != model.shape or array.ndim != len(model.shape) + 1 or not len(array):
        raise UsageError(
            f"{name}: shape {np.shape(x)} does not fit; give {model.shape} or (m, "
            f"{', '.join(map(str, model.shape))})"
        )
    return array


def known_mask(mask: Any) -> Array:
    """Return a mask of zeros and ones as booleans."""
    array = numeric(mask, "mask")
    if not ((array == 0) | (array == 1)).all():
        raise UsageError("mask: holds values other than 0 and 1; write 1 where it is known")
    return array == 1
