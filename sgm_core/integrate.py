r"""Dormand-Prince 5(4), with a step size of its own for every sample (J. Comput. Appl. Math. 6, 1980).

A batch is many independent initial value problems du_i / ds = f(s, u_i) on one interval. General
solvers (torchdiffeq) take the whole batch for one state and give it one step size, so that a sample
would depend on its neighbours, and its probability on what else was asked. Here every sample is
accepted, rejected and timed on its own; only the evaluations of f are batched.

That makes a sample independent of the others as far as f is. A float32 network rounds differently
in a batch of another size; where such a bit turns an accepted step into a rejected one the step
sizes part, and results differ by about the tolerance and not by a rounding error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sgm_core.errors import UsageError

# Nodes, stages, difference of the 5th-order weights (the last stage) to the 4th-order ones.
C = (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
A = (
    (),
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
E = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)

# The smallest tolerance: of all processes on exact denoisers, at most 2,500 evaluations.
TOLERANCE = 1e-10
# What a sample may cost: a tolerance below the rounding of f shrinks steps without end.
MAX_CALLS = 5_000
FIRST_STEP, SMALLEST_STEP = 0.02, 1e-10  # shares of the interval

# slope(s (b,) float64 on the CPU, state (b, ...), index (b,) of the samples) -> (b, ...)
Slope = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Solution:
    """States at the end of the interval, and what they cost.

    Attributes:
        state: (n, ...); NaN for a sample whose slope is not finite.
        calls: (n,) int64, evaluations of the slope for each sample, rejected steps included.
        finished: (n,) bool; False for a sample that ran out of calls, whose state is short of the end.
    """

    state: Tensor
    calls: Tensor
    finished: Tensor


def check_tolerances(rtol: float, atol: float) -> None:
    """Refuse tolerances that floating point does not reach.

    Raises:
        UsageError: one of them is not between `TOLERANCE` and 1.
    """
    for name, value in (("rtol", rtol), ("atol", atol)):
        if not TOLERANCE <= value <= 1:
            raise UsageError(
                f"{name}: {value!r} is not valid: choose between {TOLERANCE:g} and 1 (below, "
                "rounding decides)"
            )


def rms(ratio: Tensor) -> Tensor:
    """Return the root mean square over all numbers of each sample, (b, ...) -> (b,)."""
    return ratio.flatten(1).square().mean(1).sqrt()


def dopri5(
    slope: Slope,
    state: Tensor,
    start: float,
    end: float,
    *,
    rtol: float,
    atol: float,
    max_calls: int = MAX_CALLS,
    norm: Callable[[Tensor], Tensor] = rms,
) -> Solution:
    """Carry every sample from s = start to s = end (in either direction).

    A step is accepted where norm(error / (atol + rtol max(|old|, |new|))) <= 1.

    Args:
        slope: du/ds of the samples `index`, see `Slope`.
        state: (n, ...), any float dtype and device.
        rtol, atol: tolerances of the local error.
        max_calls: evaluations of the slope for one sample, after which it is given up.
        norm: (b, ...) -> (b,), what the scaled error of a sample is judged by.
    """
    span, sign = abs(end - start), 1.0 if end >= start else -1.0
    n, state = len(state), state.clone()
    active, passed = torch.arange(n), torch.zeros(n, dtype=torch.float64)
    size = torch.full((n,), FIRST_STEP * span, dtype=torch.float64)
    first = slope(torch.full((n,), start, dtype=torch.float64), state, active).clone()
    calls = torch.ones(n, dtype=torch.int64)
    finished = torch.full((n,), span == 0)
    for _ in range((max_calls - 1) // (len(C) - 1) if span else 0):
        left = span - passed[active]
        h = torch.minimum(size[active], left)
        at = start + sign * passed[active]
        new, last, ratio = _attempt(
            slope, at, sign * h, state[active], first[active], active, rtol, atol, norm
        )
        calls[active] += len(C) - 1
        accept = ratio <= 1
        keep = active[accept]
        state[keep], first[keep] = new[accept], last[accept]
        passed[keep] += h[accept]
        finished[keep] = h[accept] == left[accept]
        # An error that is not a number is as bad as an infinite one.
        ratio = torch.nan_to_num(ratio, nan=torch.inf, posinf=torch.inf)
        size[active] = h * (0.9 * ratio.clamp(min=1e-10) ** -0.2).clamp(0.2, 5.0)
        stuck = ~accept & (h < SMALLEST_STEP * span)
        lost = active[stuck & ratio.isinf()]
        state[lost], finished[lost] = torch.nan, True
        active = active[~stuck & ~finished[active]]
        if len(active) == 0:
            break
    return Solution(state, calls, finished)


def _attempt(
    slope: Slope,
    at: Tensor,
    h: Tensor,
    u: Tensor,
    first: Tensor,
    index: Tensor,
    rtol: float,
    atol: float,
    norm: Callable[[Tensor], Tensor],
) -> tuple[Tensor, Tensor, Tensor]:
    """Try one step of each; return (new state, its slope, error / tolerance (b,) on the CPU)."""
    slopes, new = [first], u
    width = h.to(u).reshape(-1, *[1] * (u.ndim - 1))
    for node, row in zip(C[1:], A[1:], strict=True):
        new = u + width * sum(a * k for a, k in zip(row, slopes, strict=True))
        slopes.append(slope(at + node * h, new, index))
    error = width * sum(e * k for e, k in zip(E, slopes, strict=True))
    scale = atol + rtol * torch.maximum(u.abs(), new.abs())
    return new, slopes[-1], norm(error / scale).double().cpu()
