"""Checks of arguments that people pass to `ScoreModel`: one sentence with the name, value and fix."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sgm_core.config.base import build_kind
from sgm_core.errors import UsageError


def whole(name: str, value: Any, least: int) -> int:
    """Return a whole number that is at least `least`."""
    wrong = isinstance(value, bool) or not isinstance(value, (int, np.integer))
    if wrong or value < least:
        raise UsageError(f"{name}: {value!r} is not valid: write a whole number from {least}")
    return int(value)


def numbers(name: str, value: Any, sizes: tuple[int, ...], positive: bool = False) -> list[float]:
    """Return finite numbers as a list whose length is one of `sizes`."""
    try:
        numbers = np.atleast_1d(np.asarray(value, dtype=np.float64))
    except (TypeError, ValueError):
        raise UsageError(f"{name}: {value!r} is not valid: write numbers") from None
    wanted = " or ".join(str(size) for size in dict.fromkeys(sizes))
    if numbers.ndim != 1 or len(numbers) not in sizes:
        raise UsageError(f"{name}: {value!r} is not valid: write {wanted} number(s)")
    if not np.isfinite(numbers).all() or (positive and (numbers <= 0).any()):
        raise UsageError(
            f"{name}: {value!r} is not valid: write {'positive' if positive else 'finite'} numbers"
        )
    return [float(v) for v in numbers]


def check_shape(shape: tuple[int, ...]) -> None:
    """Refuse a data shape other than (d,) or (C, H, W) with 1 to 4 channels."""
    if len(shape) not in (1, 3) or any(not isinstance(s, int) or s < 1 for s in shape):
        raise UsageError(f"shape: {shape!r} is not valid: write (d,) for points or (C, H, W)")
    if len(shape) == 3 and shape[0] > 4:
        raise UsageError(f"num_channels: {shape[0]} is not valid: write 1 to 4")


def named(value: Any, where: str) -> tuple[str, dict[str, Any]]:
    """Return (kind, parameters) of a name or of a mapping with kind."""
    if not isinstance(value, (str, Mapping)):
        raise UsageError(f"{where}: {value!r} is not valid: write a name or a mapping with kind")
    fields = {"kind": value} if isinstance(value, str) else dict(value)
    if "kind" not in fields:
        raise UsageError(f"{where}: {fields!r} has no kind; write {{kind: NAME, ...}}")
    return str(fields.pop("kind")), fields


def resolve(kinds: Mapping[str, Any], value: Any, where: str) -> dict[str, Any]:
    """Return {"kind": ..., all parameters with defaults}."""
    name, fields = named(value, where)
    return {"kind": name, **build_kind(kinds, name, fields, [where]).model_dump()}
