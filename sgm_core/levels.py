r"""Times of noise levels, fast: what an adaptive solver asks for at every call.

`Process.time_of` finds a root, which takes several evaluations of the kernel. Here it is asked once,
at nodes that are equally spaced in s = ln sigma_eff, and a quintic spline t(s), kept on the process,
answers afterwards. Its error is below 1e-9 relative in sigma_eff for every process (tested): far below
a solver's tolerance.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.interpolate import BSpline, make_interp_spline
from torch import Tensor

from sgm_core.errors import UsageError
from sgm_core.process.base import Process

# A spline's error falls with the sixth power of the spacing.
SPACING = 0.015
# The attribute that keeps it: a process need not be hashable (a dataclass is not).
_KEPT = "_times_of_levels"


def times_of(process: Process, log_sigma: Tensor) -> Tensor:
    """Return the t at which ln sigma_eff = `log_sigma` (...), float64 on the CPU; clipped to the range.

    Raises:
        UsageError: the process's noise levels are beyond the range of floating point.
    """
    kept = vars(process)
    if _KEPT not in kept:
        kept[_KEPT] = _spline(process)
    t = np.asarray(kept[_KEPT](log_sigma.double().cpu().numpy()))
    return torch.from_numpy(t).clamp(process.t_min, process.t_max)


def _spline(process: Process) -> BSpline:
    """Return t as a function of ln sigma_eff over the process's whole range."""
    lowest, highest = process.sigma_range()
    if not 0 < lowest < highest < np.inf:
        raise UsageError(
            f"process {process.kind!r}: noise levels from {lowest:g} to {highest:g} cannot be "
            "computed with; choose a smaller range"
        )
    low, high = np.log(lowest), np.log(highest)
    # A quintic spline needs six nodes, however narrow the range.
    nodes = np.linspace(low, high, 6 + int((high - low) / SPACING))
    return make_interp_spline(nodes, process.time_of(torch.from_numpy(nodes).exp()), k=5)
