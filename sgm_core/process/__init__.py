"""Forward processes by name: `make_process("cld", m_inv=4.0, beta=4.0, gamma=0.04)`.

A process of the user's own goes by "module:Class", see sgm_core.config.custom.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from sgm_core.config.base import build
from sgm_core.config.custom import ALL_PROCESSES, check_kind
from sgm_core.errors import unknown

if TYPE_CHECKING:
    from sgm_core.process.base import Process

__all__ = ["make_process"]


def make_process(name: str, **parameters: object) -> Process:
    """Build a forward process.

    Args:
        name: vp, subvp, ve, cld, ... or module:Class
        parameters: as in params.yaml; defaults are the papers' (sgm_core.config.process).

    Raises:
        UsageError: unknown name or parameter, or a value out of its range.
    """
    check_kind(name)
    if name not in ALL_PROCESSES:
        raise unknown("process", name, ALL_PROCESSES)
    params = build(ALL_PROCESSES[name], parameters, [name])
    module, _, cls = params.target.partition(":")
    process: Process = getattr(import_module(module), cls)(**params.model_dump())
    return process
