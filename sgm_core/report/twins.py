"""Which processes of a grid are the same model by construction.

With `parametrisation: edm` the network is trained on y = x_0 + sigma_eff eps, at levels from a law of
their own that a process only cuts off at both ends of its range. A sampler whose grid lies in sigma_eff
and which is exact in y walks the same levels with the same noise. Two scalar processes whose ranges agree
where that law has mass, and where the grid begins and ends, therefore give the same weights and samples
up to rounding. Their numbers may still differ by percents: a training of thousands of steps enlarges
rounding as it enlarges everything.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations

from sgm_core.config.experiment import ExperimentConfig
from sgm_core.config.process import ProcessParams
from sgm_core.config.training import SamplingConfig, TrainingConfig

# They give the same samples under scalar processes with equal levels; held against them by the tests.
IN_LEVELS = ("ancestral", "ddim", "heun", "multistep", "multistep_sde", "predictor_corrector")
GRIDS = ("log", "rho")
CLOSE = 1e-3  # of ends of a grid, relative
LAW = 1e-4  # total variation between two laws of training levels: one item of ten thousand
LOGUNIFORM_LEAST = 1e-3  # where `loguniform` begins, see sgm_core.objective

Range = tuple[float, float]


def twins(experiment: ExperimentConfig) -> list[list[str]]:
    """Return the pairs of labels of processes that are the same by construction."""
    training, sampling = experiment.training, experiment.sampling
    if training.parametrisation != "edm" or training.time_sampling == "uniform":
        return []
    if sampling.sampler not in IN_LEVELS or sampling.grid not in GRIDS:
        return []
    ranges = _ranges(experiment.processes)
    return [
        [a, b]
        for a, b in combinations(sorted(ranges), 2)
        if _same_grid(ranges[a], ranges[b], sampling)
        and _variation(ranges[a], ranges[b], training) < LAW
    ]


def _ranges(processes: Mapping[str, ProcessParams]) -> dict[str, Range]:
    """Return the noise levels at both ends, of the processes that tell both."""
    found = {}
    for label, process in processes.items():
        least = process.smallest_level()
        if least is not None:
            found[label] = (least, process.largest_level())
    return found


def _same_grid(a: Range, b: Range, sampling: SamplingConfig) -> bool:
    ends = [(max(low, sampling.sigma_min), high) for low, high in (a, b)]
    return all(math.isclose(x, y, rel_tol=CLOSE) for x, y in zip(*ends, strict=True))


def _variation(a: Range, b: Range, training: TrainingConfig) -> float:
    """Total variation between one law cut off to two ranges: 1 - common mass / larger mass."""
    common = _mass((max(a[0], b[0]), min(a[1], b[1])), training)
    larger = max(_mass(a, training), _mass(b, training))
    return 1.0 - common / larger if larger > 0 else 1.0


def _mass(levels: Range, training: TrainingConfig) -> float:
    """Mass of the law of training levels, up to a constant, within a range."""
    low, high = levels
    if training.time_sampling == "loguniform":
        return math.log(high / max(low, LOGUNIFORM_LEAST))
    scale = training.p_std * math.sqrt(2.0)
    first, last = ((math.log(s) - training.p_mean) / scale for s in (low, high))
    return 0.5 * (math.erf(last) - math.erf(first))
