"""Laws that hold for every process, level, shape and precision, on examples drawn by hypothesis.

The examples are a function of the code (derandomize), so that a run can be repeated.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from sgm_core.config.process import PROCESSES
from sgm_core.denoise import Denoiser, Preconditioning, mix, outer_state, per_item, score
from sgm_core.oracle import MixtureDenoiser
from sgm_core.preconditioning import statistic_row
from sgm_core.process import make_process
from sgm_core.process.base import Process, as_time
from sgm_core.sample import SAMPLERS, make_sampler
from sgm_core.sample.names import sampler_fits

KINDS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in PROCESSES),
    ("vp", {"schedule": "cosine"}),
    ("subvp", {"beta_max": 14.0}),
    ("ve", {"sigma_min": 0.002, "sigma_max": 30.0}),
    ("cld", {"m_inv": 1.0, "beta": 8.0, "gamma": 0.5}),
    ("cld", {"objective": "dsm"}),
    ("psld", {"gamma": 0.5, "nu": 3.0}),
    ("hold3", {"omega": 3.0, "aux_variance": 0.2}),
]
LOW, HIGH = 0.02, 20.0  # levels that all of them reach

kinds = st.sampled_from(KINDS)
dtypes = st.sampled_from([torch.float32, torch.float64])
seeds = st.integers(0, 2**31 - 1)
points = st.tuples(st.integers(1, 4))
images = st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 5))
shapes = points | images
levels = st.floats(math.log(LOW), math.log(HIGH)).map(math.exp)


def fixed(examples: int) -> settings:
    return settings(max_examples=examples, deadline=None, derandomize=True, database=None)


def build(kind: tuple[str, dict[str, Any]]) -> Process:
    return make_process(kind[0], **kind[1])


def random_mixture(seed: int, shape: tuple[int, ...], process: Process) -> MixtureDenoiser:
    """One to four Gaussians with random weights, means and widths."""
    generator = torch.Generator().manual_seed(seed)
    n = 1 + seed % 4
    weights = torch.rand(n, generator=generator, dtype=torch.float64) + 0.1
    means = 0.8 * torch.randn(n, *shape, generator=generator, dtype=torch.float64)
    stds = 0.05 + 0.5 * torch.rand(n, generator=generator, dtype=torch.float64)
    return MixtureDenoiser(weights / weights.sum(), means, stds, process)


def draws(seed: int, *size: int) -> Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def states_of(process: Process, t: float, y: Tensor, seed: int) -> Tensor:
    """Return states (n, k, *shape) with the statistic y; the rest of them is drawn."""
    noise = draws(seed, len(y), process.k, *y.shape[1:])
    noise = mix(process.cholesky(t)[None], noise)
    row = statistic_row(process.marginal, t)
    along = outer_state(process.mean(t), mix(row[None, None], noise)[:, 0])
    return outer_state(process.mean(t), y) + noise - along


def log_mixture(oracle: MixtureDenoiser, u: Tensor, mean: Tensor, covariance: Tensor) -> Tensor:
    """log density of u = mean x_0 + N(0, covariance): (n,), from torch's own multivariate normal.

    u (n, k, D); component i has the covariance Sigma + s_i^2 m m^T per coordinate.
    """
    terms = []
    for weight, mu, variance in zip(
        oracle.log_weights, oracle.means, oracle.variances, strict=True
    ):
        total = covariance + variance * torch.outer(mean, mean)
        normal = torch.distributions.MultivariateNormal(torch.zeros(len(mean)).double(), total)
        terms.append(weight + normal.log_prob((u - outer_state(mean, mu[None])).mT).sum(-1))
    return torch.stack(terms, -1).logsumexp(-1)


def log_normal(x: Tensor, covariance: Tensor) -> Tensor:
    """log N(x; 0, covariance) summed over coordinates, (n,), for x (n, k, D)."""
    origin = torch.zeros(x.shape[1]).double()
    return torch.distributions.MultivariateNormal(origin, covariance).log_prob(x.mT).sum(-1)


def test_the_examples_cover_one_to_three_channels_and_reach_all_levels() -> None:
    built = [build(kind).marginal for kind in KINDS]
    assert {process.k for process in built} == {1, 2, 3}
    for process in built:
        low, high = process.sigma_range()
        assert low <= LOW and high >= HIGH, process.kind


@fixed(60)
@given(kind=kinds, other=kinds, level=levels, shape=shapes, seed=seeds)
def test_tweedie_twin_and_likelihood_hold_together(
    kind: Any, other: Any, level: float, shape: tuple[int, ...], seed: int
) -> None:
    """Each alone can hide a slip of another (a wrong sign of the posterior passes the twin).

    1. Tweedie: Sigma^-1 (m D - u) is the gradient of a log density that shares no code with D,
       for u and for y alone.
    2. Twin: another process at the same (y, sigma) has the same D.
    3. Likelihood: log p(u) - log p(y) is that of noise without data, log N(u; 0, Sigma) -
       log N(y; 0, sigma^2), since u is y and noise that knows nothing of x_0.
    """
    process = build(kind).marginal
    oracle = random_mixture(seed, shape, process)
    t = float(process.time_of(level))
    sigma = float(process.sigma_eff(t))
    mean, covariance = process.mean(t), process.covariance(t)
    which = seed % len(oracle.means)
    x0 = oracle.means[which] + oracle.variances[which].sqrt() * draws(seed, 3, math.prod(shape))
    y = (x0 + sigma * draws(seed + 1, *x0.shape)).reshape(3, *shape)
    u = states_of(process, t, y, seed + 2)

    flat = u.flatten(2).requires_grad_()
    density = log_mixture(oracle, flat, mean, covariance)
    (gradient,) = torch.autograd.grad(density.sum(), flat)
    found = score(oracle, u, t)
    # In the noise's own units, where the score is of order 1 in every direction.
    white = process.cholesky(t).T[None]
    torch.testing.assert_close(
        mix(white, found), mix(white, gradient.reshape(u.shape)), rtol=1e-7, atol=1e-6
    )

    at = y.flatten(1).requires_grad_()
    smoothed = oracle.log_density(at, sigma)
    (slope,) = torch.autograd.grad(smoothed.sum(), at)
    x0_hat = oracle(u, t)
    torch.testing.assert_close(
        x0_hat, (at + sigma**2 * slope).detach().reshape(x0_hat.shape), rtol=1e-9, atol=1e-9
    )

    twin = build(other).marginal
    s = float(twin.time_of(sigma))
    answer = random_mixture(seed, shape, twin)(states_of(twin, s, y, seed + 3), s)
    torch.testing.assert_close(answer, x0_hat, rtol=1e-10, atol=1e-10)

    one, variance = torch.ones(1).double(), torch.full((1, 1), sigma**2, dtype=torch.float64)
    noise = log_normal(flat, covariance) - log_normal(at[:, None], variance)
    torch.testing.assert_close(density - smoothed, noise, rtol=1e-8, atol=1e-6)
    independent = log_mixture(oracle, at[:, None], one, variance)
    torch.testing.assert_close(smoothed, independent, rtol=1e-10, atol=1e-10)


@fixed(40)
@given(kind=kinds, level=levels, shape=shapes, seed=seeds)
def test_float32_states_are_rounded_and_nothing_else(
    kind: Any, level: float, shape: tuple[int, ...], seed: int
) -> None:
    """The oracle computes in float64 whatever it is given; the score loses what one product does."""
    process = build(kind).marginal
    oracle = random_mixture(seed, shape, process)
    t = float(process.time_of(level))
    u = states_of(process, t, draws(seed, 3, *shape), seed + 1).float()
    exact = oracle(u.double(), t)
    x0 = oracle(u, t)
    assert x0.dtype == torch.float32 and x0.shape == (3, *shape)
    torch.testing.assert_close(x0, exact.float(), rtol=0, atol=0)
    found = score(oracle, u, t)
    assert found.dtype == torch.float32 and found.shape == u.shape
    terms = outer_state(process.mean(t), exact).abs() + u.double().abs()
    bound = 8 * torch.finfo(torch.float32).eps * mix(process.precision(t).abs()[None], terms)
    assert bool(((found.double() - score(oracle, u.double(), t)).abs() <= bound).all())


@fixed(80)
@given(kind=kinds, data=st.data(), shape=shapes, dtype=dtypes, seed=seeds, steps=st.integers(1, 5))
def test_samples_have_the_shape_and_depend_on_their_seed_alone(
    kind: Any, data: Any, shape: tuple[int, ...], dtype: torch.dtype, seed: int, steps: int
) -> None:
    """A sample is the same, to rounding, in any batch and at any place in it."""
    names = [name for name in SAMPLERS if sampler_fits(name, PROCESSES[kind[0]].langevin)]
    name = data.draw(st.sampled_from(names))
    oracle = random_mixture(seed, shape, build(kind).marginal)
    run = make_sampler(name, steps=steps, sigma_min=0.05, dtype=dtype)
    order = [seed + 7, seed, seed + 2]
    together = run(oracle, (3, *shape), seeds=order)
    assert together.shape == (3, *shape) and together.dtype == dtype
    assert bool(torch.isfinite(together).all())
    last = run(oracle, (1, *shape), seeds=order[-1:])
    scale = float(together.abs().max())
    tolerance = {torch.float32: 1e-3, torch.float64: 1e-9}[dtype]
    torch.testing.assert_close(last[0], together[2], rtol=0, atol=tolerance * max(1.0, scale))
    swapped = run(oracle, (2, *shape), seeds=[order[1], order[0]])
    torch.testing.assert_close(swapped[1], together[0], rtol=0, atol=tolerance * max(1.0, scale))
    assert not torch.equal(together[0], together[1])


class Answer(nn.Module):
    """A network that returns what it was told to."""

    def __init__(self, answer: Tensor) -> None:
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(1, dtype=answer.dtype))
        self.answer = answer

    def forward(self, inputs: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        self.inputs = inputs
        return self.answer


@fixed(80)
@given(
    kind=kinds,
    level=st.tuples(levels, levels, levels),
    shape=shapes,
    dtype=dtypes,
    seed=seeds,
    sigma_data=st.floats(0.1, 3.0),
    parametrisation=st.sampled_from(["edm", "native", "mixed"]),
)
def test_preconditioning_there_and_back(
    kind: Any,
    level: tuple[float, ...],
    shape: tuple[int, ...],
    dtype: torch.dtype,
    seed: int,
    sigma_data: float,
    parametrisation: str,
) -> None:
    """The F whose D is x_0 gives x_0 back, each item at a level of its own.

    F = (x_0 - c_skip . u) / c_out; for `native` and `mixed` under the kernel that is sampled, F is
    the last channel's noise, less its linear part. The inputs are white for Gaussian data.
    """
    process = build(kind)
    frame = Preconditioning(process, sigma_data, parametrisation)
    t = process.marginal.time_of(torch.tensor(level, dtype=torch.float64))
    x0, xi = draws(seed, 3, *shape), draws(seed + 1, 3, process.k, *shape)
    mean, factor = process.marginal.mean(t), process.marginal.cholesky(t)
    u = per_item(mean, xi) * x0[:, None] + mix(factor, xi)
    c = frame.coefficients(t)
    skip = mix(c.c_skip[:, None], u)[:, 0]
    target = (x0 - skip) / per_item(c.c_out, x0)
    if parametrisation != "edm" and process.marginal is process:
        linear = mix(frame.linear(as_time(t))[:, None], u)[:, 0]
        noise = xi[:, -1] - (linear if parametrisation == "mixed" else 0.0)
        torch.testing.assert_close(target, noise, rtol=1e-7, atol=1e-7)
    if parametrisation == "edm":  # the posterior standard deviation of Gaussian data
        expected = (sigma_data**-2 + process.marginal.snr(t)).rsqrt()
        torch.testing.assert_close(c.c_out, expected, rtol=1e-9, atol=0)
    net = Answer(target.to(dtype))
    found = Denoiser(net, frame)(u.to(dtype), t)
    assert found.dtype == dtype and net.inputs.shape == (3, frame.in_channels, *shape)
    # Two rounded terms that may cancel.
    terms = mix(c.c_skip.abs()[:, None], u.abs())[:, 0] + (per_item(c.c_out, x0) * target).abs()
    bound = 8 * torch.finfo(dtype).eps * terms + 1e-12
    assert bool(((found.double() - x0).abs() <= bound).all())
    total = sigma_data**2 * mean[..., None] * mean[:, None] + process.marginal.covariance(t)
    eye = torch.eye(frame.in_channels, dtype=torch.float64).expand(3, -1, -1)
    torch.testing.assert_close(c.c_in @ total @ c.c_in.mT, eye, rtol=0, atol=1e-8)


@fixed(40)
@given(trained=kinds, walked=kinds, level=levels, shape=shapes, seed=seeds)
def test_a_network_answers_alike_under_every_process(
    trained: Any, walked: Any, level: float, shape: tuple[int, ...], seed: int
) -> None:
    """Trained under one process and called under another: the same y and sigma, the same answer."""
    home, away = build(trained), build(walked)
    frame = Preconditioning(home, 0.7)
    y = draws(seed, 2, *shape)
    net = Answer(draws(seed + 1, 2, *shape))
    t, s = (float(p.marginal.time_of(level)) for p in (home, away))
    here = Denoiser(net, frame)(states_of(home.marginal, t, y, seed + 2), t)
    seen = net.inputs
    there = Denoiser(net, frame, away)(states_of(away.marginal, s, y, seed + 3), s)
    torch.testing.assert_close(net.inputs, seen, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(there, here, rtol=1e-9, atol=1e-9)
