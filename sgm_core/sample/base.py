"""The contract of all samplers.

    sampler = make_sampler("multistep", steps=25)
    x = sampler(denoiser, shape=(16, 2), seeds=0);  sampler.nfe

A sampler prepares float64 coefficient tables for (process, grid) once, then walks the grid with
`step`. The state stays float64 while the network runs in its own precision. The last step returns
the denoiser's estimate of x_0. The number of function evaluations (NFE) is counted at the call.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sgm_core.denoise import DenoiserLike
from sgm_core.errors import UsageError, unknown
from sgm_core.process.base import Process
from sgm_core.sample.grids import GRIDS, make_grid
from sgm_core.sample.noise import NoiseStream, Seeds, seed_list

# callback(step, t, u, x0_hat): step counts from 1, u is the state at t, (B, k, *shape). Returning
# False stops the sampler, which then returns x0_hat.
Callback = Callable[[int, float, Tensor, Tensor], bool | None]


class Sampler(ABC):
    """Base of all samplers.

    Args:
        steps: number of grid points, the last one being the final denoising.
        grid: see sgm_core.sample.grids.
        sigma_min: smallest noise level of the grid.
        sigma_max: its largest level; None: the process's, where the state is pure noise.
        dtype: precision of the state.

    Raises:
        UsageError: steps is no whole number from 1, or there is no such grid.
    """

    name: str

    def __init__(
        self,
        steps: int = 25,
        grid: str = "log",
        sigma_min: float = 0.002,
        sigma_max: float | None = None,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
            raise UsageError(f"steps: {steps!r} is not valid: write a whole number from 1")
        if grid not in GRIDS:
            raise unknown("grid", grid, GRIDS)
        self.steps, self.grid, self.dtype = steps, grid, dtype
        self.sigma_min, self.sigma_max = sigma_min, sigma_max
        self.nfe = 0

    def prepare(self, process: Process, times: Tensor) -> None:  # noqa: B027 (optional hook)
        """Compute coefficient tables for a grid; called once per run."""

    @abstractmethod
    def step(
        self, i: int, u: Tensor, denoise: Callable[[Tensor, float | Tensor], Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Carry u from times[i] to times[i + 1]; return (u, the estimate of x_0 it used)."""

    def __call__(
        self,
        denoiser: DenoiserLike,
        shape: Sequence[int],
        seeds: Seeds = 0,
        *,
        start: Tensor | None = None,
        callback: Callback | None = None,
        device: torch.device | str = "cpu",
        **cond: Tensor | None,
    ) -> Tensor:
        """Draw samples.

        Args:
            denoiser: (u, t, **cond) -> x0, with attribute `process`.
            shape: (n, *data shape).
            seeds: sample i uses seeds[i], or seeds + i for a single number.
            start: state at the grid's first time, (n, k, *data shape); None: drawn from the prior
                N(0, Sigma_t) there. Either way the samples' streams are the same afterwards.
            callback: called after every step.
            cond: passed on to the denoiser (labels, ...).

        Returns:
            (n, *data shape) in `dtype`; `self.nfe` holds the evaluations per sample.

        Raises:
            UsageError: shape or seeds are wrong, or the grid or sampler does not fit the process.
        """
        n, *data_shape = shape
        if not data_shape or min(shape) < 1:
            raise UsageError(
                f"shape: {tuple(shape)} is not valid: give (n, *data shape), all from 1"
            )
        process: Process = denoiser.process  # type: ignore[attr-defined]
        self.nfe = 0
        self.noise, self.draws = NoiseStream(seed_list(seeds, n)), 0
        self.process = process
        self.times = make_grid(process, self.steps, self.grid, self.sigma_min, self.sigma_max)
        self.prepare(process, self.times)

        def denoise(u: Tensor, t: float | Tensor) -> Tensor:
            self.nfe += 1
            return denoiser(u, t, **cond).to(u)

        with torch.no_grad():
            noise = self.draw((process.k, *data_shape)).to(device)
            u = apply(process.cholesky(self.times[0]), noise) if start is None else start.to(noise)
            for i in range(self.steps - 1):
                u, x0 = self.step(i, u, denoise)
                if callback and callback(i + 1, float(self.times[i + 1]), u, x0) is False:
                    return x0
            x0 = denoise(u, float(self.times[-1]))
            if callback:
                callback(self.steps, float(self.times[-1]), u, x0)
        return x0

    def draw(self, shape: Sequence[int]) -> Tensor:
        """Return the next standard normals of every sample's stream, (n, *shape)."""
        self.draws += 1
        return self.noise.draw(self.draws - 1, shape).to(self.dtype)


def apply(matrix: Tensor, u: Tensor) -> Tensor:
    """Apply a (j, k) matrix to states (B, k, *shape) -> (B, j, *shape)."""
    if matrix.numel() == 1:
        return matrix.item() * u
    flat = torch.matmul(matrix.to(u), u.flatten(2))
    return flat.reshape(u.shape[0], matrix.shape[0], *u.shape[2:])


def symmetric_root(matrix: Tensor) -> Tensor:
    """Return the square root of positive semi-definite matrices (..., k, k), singular ones too."""
    values, vectors = torch.linalg.eigh(0.5 * (matrix + matrix.mT))
    return (vectors * values.clamp(min=0).sqrt()[..., None, :]) @ vectors.mT
