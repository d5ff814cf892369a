"""Reverse-time samplers by name: `make_sampler("multistep", steps=25)(denoiser, shape, seeds=0)`."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import TYPE_CHECKING, Any

from sgm_core.errors import UsageError, did_you_mean, unknown
from sgm_core.sample.names import DEFAULT_SAMPLER, SAMPLERS

if TYPE_CHECKING:
    from sgm_core.sample.base import Sampler

__all__ = ["DEFAULT_SAMPLER", "SAMPLERS", "make_sampler"]


def make_sampler(name: str, **options: Any) -> Sampler:
    """Build a sampler.

    Args:
        name: see sgm_core.sample.names.
        options: steps, grid, sigma_min, dtype and the sampler's own.

    Raises:
        UsageError: unknown sampler or option, or a value out of its range.
    """
    if name not in SAMPLERS:
        raise unknown("sampler", name, SAMPLERS)
    module, _, cls = SAMPLERS[name].partition(":")
    kind = getattr(import_module(module), cls)
    valid = [p for p in inspect.signature(kind.__init__).parameters if p != "self"]
    for option in options:
        if option not in valid:
            raise UsageError(
                f"sampler {name!r} has no option {option!r}{did_you_mean(option, valid)}"
            )
    sampler: Sampler = kind(**options)
    return sampler
