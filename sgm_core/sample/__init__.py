"""Reverse-time samplers by name: `make_sampler("multistep", steps=25)(denoiser, shape, seeds=0)`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sgm_core.sample.names import COMMON, DEFAULT_SAMPLER, SAMPLERS, check_options

if TYPE_CHECKING:
    from sgm_core.sample.base import Sampler

__all__ = ["DEFAULT_SAMPLER", "SAMPLERS", "make_sampler"]


def make_sampler(name: str, **options: Any) -> Sampler:
    """Build a sampler.

    Args:
        name: see sgm_core.sample.names.
        options: steps, grid, sigma_min, sigma_max, dtype and the sampler's own (names.OPTIONS).

    Raises:
        UsageError: unknown sampler or option, or a value out of its range.
    """
    check_options(name, {k: v for k, v in options.items() if k not in COMMON}, also=COMMON)
    module, _, cls = SAMPLERS[name].partition(":")
    kind = getattr(import_module(module), cls)
    sampler: Sampler = kind(**options)
    return sampler
