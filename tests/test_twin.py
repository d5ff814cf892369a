"""A network of one process called with the states of another: exact where it can be."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sgm_core.config.process import PROCESSES as REGISTRY
from sgm_core.denoise import Denoiser, Preconditioning, mix, outer_state, per_item
from sgm_core.oracle import MixtureDenoiser
from sgm_core.process import make_process

PROCESSES = list(REGISTRY)
# A process keeps its table of noise levels; one of each will do.
process_of = functools.cache(make_process)


def mixture(process: Any) -> MixtureDenoiser:
    means = torch.tensor([[0.5, -0.2], [-0.7, 0.3], [0.1, 0.9]])
    return MixtureDenoiser(
        torch.tensor([0.2, 0.5, 0.3]), means, torch.tensor([0.1, 0.3, 0.05]), process
    )


class ExactNet(torch.nn.Module):
    """The network that makes a frame's denoiser the mixture's exact one, as a function of its inputs."""

    def __init__(self, frame: Preconditioning) -> None:
        super().__init__()
        self.anchor = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
        self.frame, self.oracle = frame, mixture(frame.process)

    def forward(self, inputs: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        frame = self.frame
        if frame.parametrisation == "edm":
            c_in, c_skip, c_out = (per_item(c, inputs[:, 0]) for c in frame.level(sigma))
            y = inputs[:, 0] / c_in
            return (self.oracle.posterior_mean(y, sigma) - c_skip * y) / c_out
        t = frame.process.marginal.time_of(sigma)
        c = frame.coefficients(t)
        u = mix(torch.linalg.inv(c.c_in), inputs)
        best = self.oracle(u, t)
        return (best - mix(c.c_skip[:, None], u)[:, 0]) / per_item(c.c_out, best)


def levels(*processes: Any) -> Tensor:
    """Noise levels that all of these processes reach, (6,)."""
    ranges = [p.sigma_range() for p in processes]
    low, high = max(1e-3, *(r[0] for r in ranges)), min(r[1] for r in ranges)
    return torch.logspace(*np.log10([1.01 * low, 0.99 * high]), 6, dtype=torch.float64)


def states(process: Any, t: Tensor) -> Tensor:
    """States (len(t), k, 2), one at each time."""
    generator = torch.Generator().manual_seed(4)
    x0 = 0.5 * torch.randn(len(t), 1, 2, generator=generator, dtype=torch.float64)
    xi = torch.randn(len(t), process.k, 2, generator=generator, dtype=torch.float64)
    return process.mean(t)[..., None] * x0 + mix(process.cholesky(t), xi)


@pytest.mark.parametrize("parametrisation", ["edm", "native", "mixed"])
@pytest.mark.parametrize("trained", PROCESSES)
def test_a_network_of_one_process_denoises_every_other(trained: str, parametrisation: str) -> None:
    """Trained under A and called under B, an exact network gives B's exact posterior mean."""
    frame = Preconditioning(process_of(trained), 0.7, parametrisation)
    net = ExactNet(frame)
    for name in PROCESSES:
        process = process_of(name)
        t = process.time_of(levels(frame.process, process))
        denoiser, u = Denoiser(net, frame, process), states(process, t)
        tolerance = 1e-12 if parametrisation == "edm" else 1e-9
        exact = mixture(process)(u, t)
        torch.testing.assert_close(denoiser(u, t), exact, rtol=0, atol=tolerance)
        assert denoiser.process is process
        one = denoiser(u[2:4], float(t[2]))[:1]  # a single time, other batch mates
        torch.testing.assert_close(one, exact[2:3], rtol=0, atol=tolerance)


@pytest.mark.parametrize("parametrisation", ["native", "mixed"])
def test_the_twin_of_dsm_training_is_the_marginal(parametrisation: str) -> None:
    frame = Preconditioning(make_process("cld", objective="dsm"), 0.7, parametrisation)
    process = process_of("vp")
    t = process.time_of(levels(frame.process.marginal, process))
    u = states(process, t)
    denoiser = Denoiser(ExactNet(frame), frame, process)
    torch.testing.assert_close(denoiser(u, t), mixture(process)(u, t), rtol=0, atol=1e-9)


def test_the_process_trained_under_is_no_other() -> None:
    """The same kernel, however it was built, is called directly: its own state, not a twin's."""
    frame = Preconditioning(make_process("cld"), 0.7, "native")
    net = ExactNet(frame)
    u, t = states(frame.process, torch.tensor([0.2, 0.4]).double()), torch.tensor([0.2, 0.4])
    direct = Denoiser(net, frame)
    for process in (make_process("cld"), make_process("cld", objective="dsm")):
        denoiser = Denoiser(net, frame, process)
        assert denoiser.twin is None
        assert torch.equal(denoiser(u, t), direct(u, t))
    assert Denoiser(net, frame, make_process("cld", gamma=0.05)).twin is not None


class Spy(torch.nn.Module):
    """Remembers its inputs; returns zero."""

    def __init__(self) -> None:
        super().__init__()
        self.anchor = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
        self.seen: tuple[Tensor, Tensor] = (torch.zeros(0), torch.zeros(0))

    def forward(self, inputs: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        self.seen = (inputs, sigma)
        return torch.zeros_like(inputs[:, 0])


def test_the_twin_state_has_the_law_of_the_trained_process() -> None:
    """Inputs are white for Gaussian data, with the draw that is common to all samples at one item."""
    frame = Preconditioning(make_process("hold3"), 1.0, "native")
    net, process, t = Spy(), make_process("ve"), 0.6
    x0 = torch.randn(3, 40_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    noise = process.prior((3, 40_000), torch.Generator().manual_seed(1)) / 50.0
    u = outer_state(process.mean(t), x0) + process.cholesky(t).item() * noise
    Denoiser(net, frame, process)(u, t)
    inputs, sigma = net.seen
    torch.testing.assert_close(sigma, process.sigma_eff(t).expand(3))
    torch.testing.assert_close(inputs[0].cov(), torch.eye(3).double(), rtol=0, atol=0.03)
    torch.testing.assert_close(inputs[0, 1:].mean(-1), torch.zeros(2).double(), rtol=0, atol=0.02)
    alone = Spy()
    Denoiser(alone, frame, process)(u[1:2], t)
    assert torch.equal(alone.seen[0], inputs[1:2])


def test_levels_out_of_reach_are_taken_for_the_nearest() -> None:
    """Above the trained process's last level y shrinks to it; below its first one y stays."""
    frame = Preconditioning(make_process("ve", sigma_min=0.1, sigma_max=10.0), 1.0, "native")
    net, process = Spy(), make_process("edm")
    y = torch.tensor([[1.0, -2.0]]).double()
    denoiser = Denoiser(net, frame, process)
    for sigma, scale, level in ((40.0, 0.25, 10.0), (0.05, 1.0, 0.1)):
        out = denoiser(y[:, None], sigma)
        torch.testing.assert_close(net.seen[1], torch.tensor([level]).double())
        torch.testing.assert_close(out, scale * y)  # F = 0: D is the state that was passed on
    u = torch.zeros(2, 1, 2).double().requires_grad_()
    (slope,) = torch.autograd.grad(denoiser(u, 5.0).sum(), u)
    torch.testing.assert_close(slope, torch.ones_like(u))
