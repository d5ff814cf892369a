"""Sampling given a measurement against closed forms; encoding, interpolation, SDEdit."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sgm_core.config.process import PROCESSES
from sgm_core.control import Conditioned, Downsample, Gray, Mask, Operator
from sgm_core.control.krylov import gain
from sgm_core.control.paths import (
    clean_state,
    edit_level,
    encode,
    noised_state,
    seeded_state,
    slerp,
    state_between,
)
from sgm_core.denoise import outer_state
from sgm_core.errors import UsageError
from sgm_core.oracle import GaussianDenoiser, MixtureDenoiser
from sgm_core.process import make_process
from sgm_core.process.base import Process
from sgm_core.sample import make_sampler
from sgm_core.sample.grids import make_grid

STD = 0.1
KNOWN = torch.tensor([1.0, 0, 1, 0, 0], dtype=torch.float64)
OBS = torch.tensor([[0.8, 0, -0.5, 0, 0]], dtype=torch.float64)
WEIGHTS = torch.tensor([0.3, 0.3, 0.4])
MEANS = torch.tensor([[-1.0, -1.0], [0.2, 1.0], [1.0, -0.5]])
STDS = torch.tensor([0.3, 0.25, 0.35])


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gaussian(size: int) -> tuple[Tensor, Tensor]:
    """Return a mean and a covariance with strong correlations."""
    root = normal(size, size)
    return normal(size, seed=1), root @ root.mT / size + 0.05 * torch.eye(size, dtype=root.dtype)


def matrix_of(operator: Operator, shape: tuple[int, ...]) -> Tensor:
    """Return A as a matrix, (observation, D)."""
    eye = torch.eye(math.prod(shape), dtype=torch.float64)
    return operator.forward(eye.reshape(-1, *shape)).flatten(1).mT


def given(mean: Tensor, c: Tensor, a: Tensor, obs: Tensor, std: float) -> tuple[Tensor, Tensor]:
    """Return mean and covariance of N(mean, c) given obs = a x + std n."""
    k = c @ a.mT @ torch.linalg.inv(a @ c @ a.mT + std**2 * torch.eye(len(a), dtype=c.dtype))
    return mean + k @ (obs - a @ mean), c - k @ a @ c


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_adjoints(channels: int) -> None:
    """<A x, z> = <x, A^T z>."""
    mask = (normal(4, 6, seed=5) > 0).double()
    for operator in (Mask(mask), Mask(mask[None, :1]), Gray(channels), Downsample(2)):
        x = normal(3, channels, 4, 6)
        z = normal(*operator.forward(x).shape, seed=1)
        left, right = (operator.forward(x) * z).sum(), (x * operator.adjoint(z)).sum()
        torch.testing.assert_close(left, right)
        assert operator.adjoint(z).shape == x.shape


def test_the_doubt_of_a_jacobian_is_a_samples_own() -> None:
    """Samples with fewer known values have smaller Krylov spaces; the batch must not tell."""
    jacobians = normal(4, 5, 5, seed=7) + 2 * torch.eye(5, dtype=torch.float64)
    masks = torch.arange(5)[None] < torch.tensor([1, 2, 3, 5])[:, None]
    residual = normal(4, 5, seed=8) * masks

    def found(some: slice) -> Tensor:
        def spread(w: Tensor) -> Tensor:
            return torch.einsum("bij,bj->bi", jacobians[some], w)

        return gain(spread, Mask(masks[some]), residual[some], STD**2, 3)

    alone = torch.cat([found(slice(i, i + 1)) for i in range(4)])
    torch.testing.assert_close(found(slice(0, 4)), alone, rtol=0, atol=1e-12)


def test_wrong_operators_are_one_sentence() -> None:
    with pytest.raises(UsageError, match="mask: holds values other than 0 and 1"):
        Mask(torch.tensor([0.5, 1.0]))
    with pytest.raises(UsageError, match=r"factor: 4 does not divide the size \(4, 6\)"):
        Downsample(4).forward(normal(1, 1, 4, 6))
    oracle = GaussianDenoiser(*gaussian(5), make_process("vp"))
    with pytest.raises(UsageError, match="std: -1 is not valid"):
        Conditioned(oracle, Mask(KNOWN), OBS, std=-1)
    with pytest.raises(UsageError, match="iterations: 0 is not valid"):
        Conditioned(oracle, Mask(KNOWN), OBS, iterations=0)


@pytest.mark.parametrize("kind", sorted(PROCESSES))
@pytest.mark.parametrize("level", [0.03, 1.0, 30.0])
def test_the_conditional_posterior_mean_is_exact_on_gaussians(kind: str, level: float) -> None:
    mean, c = gaussian(5)
    process = make_process(kind)
    oracle = GaussianDenoiser(mean, c, process)
    t = process.time_of(torch.full((4,), level))
    u = noised_state(process, mean.expand(4, 5), float(t[0]), [0, 1, 2, 3])
    row = process.precision_mean(t[:1]) / process.snr(t[:1])[:, None]
    y, sigma = torch.einsum("nk,bkd->bd", row, u), float(process.sigma_eff(t[0]))
    # Two measurements of x_0: y with noise sigma, and the known coordinates with noise STD.
    eye = torch.eye(5, dtype=torch.float64)
    precision = torch.linalg.inv(c) + eye / sigma**2 + torch.diag(KNOWN) / STD**2
    pull = torch.linalg.solve(c, mean) + y / sigma**2 + OBS / STD**2
    expected = torch.linalg.solve(precision, pull.mT).mT
    conditioned = Conditioned(oracle, Mask(KNOWN), OBS, std=STD)
    for time in (float(t[0]), t):  # one time, and one per sample
        with torch.no_grad():
            found = conditioned(u, time)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    assert conditioned.process is oracle.process and conditioned.nfe == oracle.nfe == 2
    with torch.inference_mode():
        torch.testing.assert_close(conditioned(u, float(t[0])), found, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("operator", [Gray(3), Downsample(2)])
def test_other_measurements_are_exact_as_well(operator: Operator) -> None:
    shape = (3, 2, 4)
    mean, c = gaussian(24)
    process = make_process("ve")
    oracle = GaussianDenoiser(mean.reshape(shape), c, process)
    a = matrix_of(operator, shape)
    obs = operator.forward(normal(1, *shape, seed=3))
    t = float(process.time_of(0.8))
    # At y = mean the posterior has that mean and a covariance without y.
    eye = torch.eye(24, dtype=torch.float64)
    posterior = torch.linalg.inv(torch.linalg.inv(c) + eye / 0.8**2)
    expected, _ = given(mean, posterior, a, obs.flatten(), STD)
    conditioned = Conditioned(oracle, operator, obs, std=STD, iterations=12)
    found = conditioned(outer_state(process.mean(t), mean.reshape(1, *shape)), t)
    torch.testing.assert_close(found.flatten(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "sampler"), [("vp", "multistep"), ("ve", "multistep_sde"), ("cld", "multistep_sde")]
)
def test_samples_follow_the_conditional_law_of_a_gaussian(kind: str, sampler: str) -> None:
    mean, c = gaussian(5)
    oracle = GaussianDenoiser(mean, c, make_process(kind))
    n, a = 4000, torch.diag(KNOWN)[KNOWN > 0]
    expected, spread = given(mean, c, a, OBS[0][KNOWN > 0], STD)
    conditioned = Conditioned(oracle, Mask(KNOWN), OBS, std=STD)
    x = make_sampler(sampler, steps=80, sigma_min=0.01)(conditioned, (n, 5), seeds=0)
    error = (x.mean(0) - expected) / (spread.diag() / n).sqrt()
    assert float(error.abs().max()) < 4
    scale = spread.diag().sqrt()
    off = (x.mT.cov() - spread) / (scale[:, None] * scale)
    assert float(off.abs().max()) < 4 * math.sqrt(2 / n) + 0.03  # 80 steps leave up to 2 %


def test_a_sample_does_not_depend_on_its_batch_mates() -> None:
    oracle = MixtureDenoiser(WEIGHTS, MEANS, STDS, make_process("cld"))
    obs = torch.stack([torch.linspace(-1, 1, 5), torch.zeros(5)], 1)
    sampler = make_sampler("multistep_sde", steps=12)
    mask = Mask(torch.tensor([1, 0]))
    together = sampler(Conditioned(oracle, mask, obs), (5, 2), seeds=3)
    alone = [
        sampler(Conditioned(oracle, mask, obs[i : i + 1]), (1, 2), seeds=3 + i) for i in range(5)
    ]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-9, atol=1e-9)


def test_where_one_mode_fits_a_mixture_is_sampled_well() -> None:
    """Kolmogorov-Smirnov distance to the exact conditional law at a coordinate of two modes."""
    oracle = MixtureDenoiser(WEIGHTS, MEANS, STDS, make_process("vp"))
    conditioned = Conditioned(oracle, Mask(torch.tensor([1, 0])), torch.tensor([[0.6, 0.0]]))
    n = 1500
    x = make_sampler("multistep_sde", steps=60, sigma_min=0.01)(conditioned, (n, 2), seeds=0)
    assert float((x[:, 0] - 0.6).abs().max()) < 0.05
    total = STDS.square() + 0.01**2
    shares = (WEIGHTS.log() - 0.5 * (0.6 - MEANS[:, 0]) ** 2 / total - 0.5 * total.log()).softmax(0)
    found = x[:, 1].sort().values
    each = torch.special.ndtr((found[:, None] - MEANS[:, 1]) / STDS)
    exact = (each * shares).sum(1)
    empirical = torch.arange(1, n + 1) / n
    assert float((exact - empirical).abs().max()) < 0.08


class Crooked:
    """A denoiser whose Jacobian has an error like a network's: large, of no symmetry."""

    nfe = 0

    def __init__(self, process: Process, size: int, error: float) -> None:
        self.process = process
        self.matrix = torch.eye(size, dtype=torch.float64) * 1e-3 + error * normal(size, size)

    def __call__(self, u: Tensor, t: float, **cond: object) -> Tensor:
        return torch.tanh((u[:, 0] / 30) @ self.matrix)


@pytest.mark.parametrize("iterations", [1, 3, 8])
@pytest.mark.parametrize("seen", [1, 16, 31])
def test_an_untrustworthy_jacobian_does_no_harm(seen: int, iterations: int) -> None:
    process = make_process("ve")
    t = float(process.time_of(30.0))
    mask = (torch.arange(32) < seen).double()
    denoiser = Crooked(process, 32, 0.02)
    obs = normal(500, 32, seed=2) * mask
    u = 30 * normal(500, 1, 32, seed=1)
    x0 = Conditioned(denoiser, Mask(mask), obs, iterations=iterations)(u, t)
    largest = float(x0.norm(dim=1).max())
    assert largest < 5 * math.sqrt(32)  # |x0| is about sqrt(32)


def test_slerp_keeps_length_and_ends() -> None:
    a, b = normal(4, 2, 3, seed=1), normal(4, 2, 3, seed=2)
    a, b = (v / v.flatten(1).norm(dim=1)[:, None, None] for v in (a, b))
    torch.testing.assert_close(slerp(a, b, 0.0), a)
    torch.testing.assert_close(slerp(a, b, 1.0), b)
    path = slerp(a, b, torch.tensor([0.1, 0.4, 0.5, 0.9]))
    ones = torch.ones(4, dtype=torch.float64)
    torch.testing.assert_close(path.flatten(1).norm(dim=1), ones)
    torch.testing.assert_close(slerp(a, 2 * a, 0.5), 1.5 * a)
    assert bool(slerp(torch.zeros_like(a), a, 0.5).isfinite().all())


@pytest.mark.parametrize("kind", sorted(PROCESSES))
def test_states_have_the_law_and_the_statistic_they_claim(kind: str) -> None:
    process = make_process(kind)
    seeds = list(range(4000))
    x = torch.full((4000, 1), 0.7, dtype=torch.float64)
    t = float(process.time_of(0.5))
    scale = process.covariance(t).diagonal().sqrt()
    for u, mean in (
        (noised_state(process, x, t, seeds), process.mean(t) * 0.7),
        (clean_state(process, x, t, seeds), process.mean(t) * 0.7),
    ):
        assert float(((u[..., 0].mean(0) - mean) / scale).abs().max()) < 0.08
    noised = noised_state(process, x, t, seeds)[..., 0].mT.cov().reshape(process.k, process.k)
    off = (noised - process.covariance(t)) / (scale[:, None] * scale)
    assert float(off.abs().max()) < 0.1
    row = process.precision_mean(t) / process.snr(t)
    y = torch.einsum("k,nkd->nd", row, clean_state(process, x, t, seeds))
    torch.testing.assert_close(y, x, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", ["vp", "ve", "flow", "cld", "hold3"])
def test_decoding_undoes_encoding(kind: str) -> None:
    process = make_process(kind, **({"sigma_min": 0.002} if kind == "ve" else {}))
    oracle = MixtureDenoiser(WEIGHTS, MEANS, STDS, process)
    x = (MEANS + STDS[:, None] * normal(12, 3, 2)).reshape(-1, 2).double()
    decode = make_sampler("ode", rtol=1e-5, atol=1e-5)
    errors = []
    for steps in (50, 200):
        u = encode(oracle, x, steps=steps)
        back = decode(oracle, tuple(x.shape), seeds=0, start=u)
        errors.append(float((back - x).square().mean().sqrt()))
    assert errors[1] < 1e-3
    assert errors[1] < errors[0] / 8  # order 2 gives 16


def test_the_codes_of_data_are_standard_normal() -> None:
    oracle = MixtureDenoiser(WEIGHTS, MEANS, STDS, make_process("cld"))
    n = 2000
    which = torch.multinomial(
        WEIGHTS, n, replacement=True, generator=torch.Generator().manual_seed(0)
    )
    x = MEANS[which].double() + STDS[which, None] * normal(n, 2)
    u = encode(oracle, x, steps=60, seeds=list(range(n)))
    factor = oracle.process.cholesky(oracle.process.t_max)
    white = torch.einsum("kl,nld->nkd", torch.linalg.inv(factor), u).flatten(1)
    assert float(white.mean(0).abs().max()) < 4 / math.sqrt(n)
    assert float((white.mT.cov() - torch.eye(4)).abs().max()) < 4 * math.sqrt(2 / n) + 0.02


def test_the_ends_of_a_path_are_the_states_of_the_seeds() -> None:
    process = make_process("hold3")
    ends = seeded_state(process, [3, 17], (2, 3))
    path = state_between(process, ends[:1], ends[1:], torch.tensor([0.0, 0.5, 1.0]))
    torch.testing.assert_close(path[[0, 2]], ends)
    oracle = GaussianDenoiser(torch.zeros(2, 3), torch.eye(6), process)
    sampler = make_sampler("multistep", steps=8)
    drawn = sampler(oracle, (2, 2, 3), seeds=[3, 17])
    decoded = sampler(oracle, (3, 2, 3), seeds=[0, 0, 0], start=path)
    torch.testing.assert_close(decoded[[0, 2]], drawn)


def test_strength_is_a_share_of_the_grid() -> None:
    times = make_grid(make_process("vp"), 11)
    assert [edit_level(times, s) for s in (1.0, 0.5, 0.1, 0.01)] == [0, 5, 9, 9]
    assert edit_level(times[:1], 0.5) == 0
