"""Does a class keep the contract of a forward process? Asked of processes of the user's own.

The built-in processes are held to it by the tests; a custom one is asked when its parameters are
validated, so that a wrong shape or a level that never becomes noise is told before training.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sgm_core.config.process import FORGOTTEN, LARGEST
from sgm_core.process.base import Process

# A process whose smallest level is above this never shows the network clean data.
CLEAN = 0.1
TIMES = 17


def probe(process: Process) -> None:
    """Ask a process about a few times from t_min to t_max.

    Raises:
        ValueError: a method fails, or returns another shape or type than its contract says, or
            what is not finite; or sigma_eff does not grow from at most 0.1 to between 2 and 1e6.
    """
    first, last = process.t_min, process.t_max
    if not (_number(first) and _number(last) and 0 < first < last < math.inf):
        raise ValueError(
            f"t_min = {first} and t_max = {last}; write 0 < t_min < t_max in the class"
        )
    k = process.k
    t = torch.logspace(math.log10(first), math.log10(last), TIMES, dtype=torch.float64)
    t[0], t[-1] = first, last
    for name, shape in (
        ("mean", (k,)), ("covariance", (k, k)), ("drift", (k, k)), ("diffusion", (k, k)),
    ):  # fmt: skip
        method = getattr(process, name)
        _check(f"{name}(t)", method, (t,), (TIMES, *shape))
        _check(f"{name}(t)", method, (last,), shape)
    _check("transition(s, t)", process.transition, (t[:-1], t[1:]), (TIMES - 1, k, k))
    _check("transition(s, t)", process.transition, (first, last), (k, k))
    _check_levels(t, _levels(process, t))


def _check(call: str, method: Callable[..., Any], times: tuple[Any, ...], shape: Any) -> None:
    found = _ask(call, method, *times)
    if not isinstance(found, Tensor):
        raise ValueError(f"{call} returns {type(found).__name__}; return a float64 tensor")
    given = "one time" if isinstance(times[0], float) else f"{len(times[0])} times"
    if tuple(found.shape) != tuple(shape):
        raise ValueError(
            f"{call} returns shape {tuple(found.shape)} for {given}; return {tuple(shape)}"
        )
    if found.dtype != torch.float64:
        raise ValueError(f"{call} returns {str(found.dtype).removeprefix('torch.')}; use float64")
    if not bool(torch.isfinite(found).all()):
        raise ValueError(f"{call} is not finite between t_min and t_max; mend it or lower t_max")


def _ask(call: str, method: Callable[..., Any], *times: Any) -> Any:
    try:
        return method(*times)
    except Exception as error:
        text = " ".join(str(error).split())
        raise ValueError(f"{call} fails ({type(error).__name__}: {text}); mend it") from None


def _levels(process: Process, t: Tensor) -> Tensor:
    try:
        return process.marginal.sigma_eff(t)
    except Exception as error:
        text = " ".join(str(error).split())
        raise ValueError(
            f"sigma_eff(t) fails ({type(error).__name__}: {text}); is covariance(t) positive definite?"
        ) from None


def _check_levels(t: Tensor, levels: Tensor) -> None:
    """Refuse noise levels that time cannot be read from, or that do not span data and noise."""
    if not bool((torch.isfinite(levels) & (levels > 0)).all()):
        raise ValueError("sigma_eff(t) is 0 or not finite: covariance(t) or mean(t) vanishes")
    # A floor of noise is level near t_min, up to rounding.
    falling = (levels[1:] < levels[:-1] * (1 - 1e-9)).nonzero().flatten()
    if len(falling):
        start, end = float(t[falling[0]]), float(t[falling[0] + 1])
        raise ValueError(
            f"sigma_eff(t), the noise of covariance(t) relative to mean(t), does not grow from "
            f"t = {start:.3g} to {end:.3g}; mend them"
        )
    low, high = float(levels[0]), float(levels[-1])
    span = "mend mean(t) and covariance(t), or choose other parameters"
    if low > CLEAN:
        raise ValueError(f"sigma_eff(t_min) = {low:.3g} is above {CLEAN}, no clean data; {span}")
    if high < FORGOTTEN * (1 - 1e-9):
        raise ValueError(
            f"sigma_eff(t_max) = {high:.3g} is below {FORGOTTEN:g}, which keeps the data; {span}"
        )
    if high > LARGEST * (1 + 1e-9):
        raise ValueError(
            f"sigma_eff(t_max) = {high:.3g} is above {LARGEST:g}, too large to compute with; {span}"
        )


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
