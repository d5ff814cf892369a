"""Measures what docs/processes.md states: errors of kernels, orders of samplers, swiss rolls.

The exact laws on Gaussian data, the mixture of the rolls and the 50-digit kernels are those of the
test suite (tests/gaussian_laws.py, rolls_oracle.py, test_process.py).
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sgm_core.config.process import PROCESSES
from sgm_core.oracle import ExactDenoiser, gaussian_denoiser
from sgm_core.process import make_process
from sgm_core.process.base import Process
from sgm_core.sample import make_sampler
from sgm_core.sample.names import sampler_fits

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import gaussian_laws
import rolls_oracle
import test_process

# Label, sampler, options.
SAMPLERS: list[tuple[str, str, dict[str, Any]]] = [
    ("euler_maruyama", "euler_maruyama", {}),
    ("predictor_corrector", "predictor_corrector", {}),
    ("ancestral", "ancestral", {}),
    ("ddim", "ddim", {}),
    ("ddim, eta 0.5", "ddim", {"eta": 0.5}),
    ("multistep", "multistep", {}),
    ("multistep, order 3", "multistep", {"order": 3}),
    ("multistep, order 4", "multistep", {"order": 4}),
    ("multistep, eta 0.5", "multistep", {"eta": 0.5}),
    ("multistep_sde", "multistep_sde", {}),
    ("heun", "heun", {}),
    ("heun, s_churn 20", "heun", {"s_churn": 20.0}),
    ("sscs", "sscs", {}),
    ("sscs2", "sscs2", {}),
]
INTERVALS = (10, 20, 40, 80, 160, 320)
LAST = 0.05  # sigma_eff at the end of the convergence runs
TOLERANCES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
REFERENCE = 1e-10

Curve = list[tuple[int, float]]


def convergence(process: str, intervals: tuple[int, ...] = INTERVALS) -> dict[str, Curve]:
    """Return (evaluations, W2) for every sampler that fits the process, on N(0.5, 0.25) data."""
    forward = make_process(process)
    return {
        label: [_law(forward, sampler, n, options) for n in intervals]
        for label, sampler, options in SAMPLERS
        if sampler_fits(sampler, PROCESSES[process].langevin)
    }


def _law(process: Process, sampler: str, steps: int, options: dict[str, Any]) -> tuple[int, float]:
    error, nfe = gaussian_laws.w2_error(process, sampler, steps, sigma_min=LAST, **options)
    return nfe - 1, error  # the last evaluation denoises; W2 is taken before it


def order(curve: Curve) -> float:
    """Return the measured order from the last two points, which double the steps."""
    return math.log2(curve[-2][1] / curve[-1][1])


FAR = 2000.0  # a largest noise level from which the first steps do not matter


def far_order() -> float:
    """Return the order of fourth-order multistep under EDM from a larger noise level."""
    forward, options = make_process("edm", sigma_max=FAR), {"order": 4}
    return order([_law(forward, "multistep", n, options) for n in (160, 320)])


def ve_order() -> float:
    """Return the order of Euler-Maruyama under VE with more steps."""
    return order([_law(make_process("ve"), "euler_maruyama", n, {}) for n in (640, 1280)])


def largest(process: str) -> float:
    """Return the noise level that sampling starts from."""
    return make_process(process).sigma_range()[1]


def adaptive(process: str) -> Curve:
    """Return (evaluations, RMS error) of `ode` for falling tolerances.

    On Gaussian data the flow is affine; the RMS distance of end points from those at tolerance 1e-10
    bounds W2 from above.
    """
    forward = make_process(process)
    oracle = gaussian_denoiser(gaussian_laws.MEAN, gaussian_laws.STD, (1,), forward)
    t = forward.t_max
    mean = forward.mean(t)
    covariance = forward.covariance(t) + gaussian_laws.STD**2 * torch.outer(mean, mean)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(16, forward.k, 1, generator=generator, dtype=torch.float64)
    start = (gaussian_laws.MEAN * mean)[:, None] + torch.linalg.cholesky(covariance) @ noise

    def run(tolerance: float) -> tuple[int, Tensor]:
        ends: list[Tensor] = []
        walk = make_sampler("ode", rtol=tolerance, atol=tolerance, sigma_min=LAST)
        walk(oracle, (16, 1), start=start, callback=lambda i, t, u, x0: ends.append(u[:, 0]))
        return walk.nfe - 1, ends[-1]

    _, exact = run(REFERENCE)
    found = [run(tolerance) for tolerance in TOLERANCES]
    return [(nfe, float((end - exact).square().mean().sqrt())) for nfe, end in found]


# -- swiss rolls -----------------------------------------------------------------------------------

ROLLS: list[tuple[str, str, dict[str, Any]]] = [
    ("vp", "multistep_sde", {}),
    ("edm", "multistep", {"grid": "rho"}),
    ("edm", "heun", {"grid": "rho"}),
    ("flow", "ddim", {}),
    ("flow", "multistep", {}),
    ("cld", "ddim", {}),
    ("cld", "multistep", {}),
    ("cld", "multistep", {"order": 3}),
    ("cld", "multistep_sde", {}),
    ("cld", "sscs", {}),
    ("cld", "sscs2", {}),
    ("psld", "multistep", {}),
    ("psld", "multistep_sde", {}),
    ("hold3", "multistep", {}),
    ("hold3", "multistep_sde", {}),
]
BUDGETS = (15, 25, 50)
POINTS = 3000


class FastRolls(ExactDenoiser):
    """rolls_oracle with its equal weights and widths put to use: one product and one softmax."""

    def __init__(self, process: Process) -> None:
        super().__init__((2,), process)
        self.slow = rolls_oracle.rolls_oracle(process)
        self.means, self.variance = self.slow.means, float(self.slow.variances[0])
        self.half = 0.5 * self.means.square().sum(1)

    def posterior_mean(self, y: Tensor, sigma: Tensor) -> Tensor:
        total = self.variance + sigma.square().reshape(-1, 1)
        pull = torch.empty_like(y)
        for rows in torch.arange(len(y)).split(100):  # what fits into the cache
            logits = y[rows] @ self.means.mT - self.half
            pull[rows] = (logits / total).softmax(-1) @ self.means
        return (self.variance * y + sigma.square().reshape(-1, 1) * pull) / total

    def log_density(self, y: Tensor, sigma: float | Tensor = 0.0) -> Tensor:
        return self.slow.log_density(y, sigma)


def check_fast_rolls() -> None:
    """The fast denoiser is the test suite's."""
    process = make_process("edm")
    u = torch.randn(200, 1, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for t in (0.003, 0.1, 2.0, 60.0):
        slow = rolls_oracle.rolls_oracle(process)((1 + t) * u, t)
        torch.testing.assert_close(FastRolls(process)((1 + t) * u, t), slow, rtol=0, atol=1e-8)


def rolls(process: str, sampler: str, options: dict[str, Any], budget: int) -> tuple[float, float]:
    """Return (off, local) of 3,000 samples at a budget of evaluations."""
    steps = (budget + 1) // 2 if sampler in ("heun", "sscs2") else budget
    run = make_sampler(sampler, steps=steps, **options)
    x = run(FastRolls(make_process(process)), (POINTS, 2), seeds=0)
    assert budget - 1 <= run.nfe <= budget, (sampler, run.nfe)
    return rolls_oracle.quality(x)


def floor() -> tuple[float, float]:
    """Return (off, local) of an exact draw, the mean of five."""
    found = [
        rolls_oracle.quality(
            torch.from_numpy(rolls_oracle.exact_rolls(POINTS, seed) / rolls_oracle.UNIT)
        )
        for seed in range(1, 6)
    ]
    off, local = np.mean(found, axis=0)
    return float(off), float(local)


# -- kernels ---------------------------------------------------------------------------------------


def kernel_errors(process: str) -> tuple[float, float, float, float]:
    """Return the largest relative errors of m, Sigma, sigma_eff and Sigma^-1 m, t in [1e-7, 1]."""
    forward = make_process(process)
    worst = [0.0] * 4
    for t in test_process.TIMES:
        if t > forward.t_max:
            continue
        mean, covariance, _ = test_process.reference(process, t)
        inverse = test_process.mp.inverse(covariance)
        row = inverse * mean
        sigma = 1 / test_process.mp.sqrt((mean.T * row)[0])
        exact = [list(mean), list(covariance), [sigma], list(row)]
        found = [
            forward.mean(t), forward.covariance(t).mT, forward.sigma_eff(t),
            forward.precision_mean(t),
        ]  # fmt: skip
        for i, (reference, value) in enumerate(zip(exact, found, strict=True)):
            numbers = value.flatten().tolist()
            errors = [abs(x / r - 1) for x, r in zip(numbers, reference, strict=True)]
            worst[i] = max(worst[i], float(max(errors)))
    return worst[0], worst[1], worst[2], worst[3]
