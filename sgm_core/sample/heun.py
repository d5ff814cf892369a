r"""Heun's method on the probability-flow ODE of the sufficient statistic (arXiv 2206.00364, alg. 1).

With y = u / m the ODE of every k = 1 process is dy / d sigma = (y - D(y; sigma)) / sigma.
Two evaluations a step, second order.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from sgm_core.errors import UsageError
from sgm_core.process.base import Process
from sgm_core.sample.base import Sampler


class Heun(Sampler):
    """EDM's deterministic sampler; for processes with one channel."""

    name = "heun"

    def prepare(self, process: Process, times: Tensor) -> None:
        if process.k != 1:
            raise UsageError(
                f"sampler 'heun' is for processes with one channel and {process.kind!r} has "
                f"{process.k}; use 'sscs', 'multistep', 'ddim' or 'ode'"
            )
        self.sigma = process.sigma_eff(times).tolist()
        self.mean = process.mean(times)[:, 0].tolist()

    def step(
        self, i: int, u: Tensor, denoise: Callable[[Tensor, float | Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        y, s, s_next = u[:, 0] / self.mean[i], self.sigma[i], self.sigma[i + 1]
        x0 = denoise(u, float(self.times[i]))
        slope = (y - x0) / s
        ahead = y + (s_next - s) * slope
        x0_next = denoise(self.mean[i + 1] * ahead[:, None], float(self.times[i + 1]))
        slope_next = (ahead - x0_next) / s_next
        y_next = y + (s_next - s) * 0.5 * (slope + slope_next)
        return self.mean[i + 1] * y_next[:, None], x0
