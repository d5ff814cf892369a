"""Exact denoisers against each other, against Tweedie's formula, and against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sgm_core.config.process import PROCESSES
from sgm_core.denoise import outer_state
from sgm_core.errors import UsageError
from sgm_core.oracle import (
    ExactDenoiser,
    GaussianDenoiser,
    MixtureDenoiser,
    gaussian_denoiser,
    point_denoiser,
)
from sgm_core.process import make_process

MEAN = torch.tensor([[0.3, -1.0], [0.5, 2.0]], dtype=torch.float64)


def covariance(size: int) -> Tensor:
    root = torch.randn(size, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return root @ root.mT / size + 0.05 * torch.eye(size, dtype=torch.float64)


def oracles(kind: str = "vp") -> list[ExactDenoiser]:
    process = make_process(kind)
    weights = torch.tensor([0.3, 0.7])
    means = torch.stack([MEAN, -MEAN])
    return [
        GaussianDenoiser(MEAN, covariance(4), process),
        MixtureDenoiser(weights, means, torch.tensor([0.4, 0.8]), process),
        point_denoiser(means, weights, process),
    ]


@pytest.mark.parametrize("kind", sorted(PROCESSES))
@pytest.mark.parametrize("which", [0, 1, 2])
def test_tweedie_and_the_statistic(kind: str, which: int) -> None:
    """D(u_t) = y + sigma^2 grad log p_sigma(y) for any u with statistic y, under every process."""
    oracle = oracles(kind)[which]
    process = oracle.process
    t = float(process.time_of(0.7))
    sigma = float(process.sigma_eff(t))
    noise = torch.randn(5, 2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y = (MEAN + noise).requires_grad_(True)
    (gradient,) = torch.autograd.grad(oracle.log_density(y, sigma).sum(), y)
    found = oracle(outer_state(process.mean(t), y.detach()), t)
    torch.testing.assert_close(found, y.detach() + sigma**2 * gradient, rtol=1e-9, atol=1e-9)
    assert oracle.nfe == 1


def test_an_isotropic_covariance_is_the_mixture_of_one() -> None:
    process = make_process("cld")
    full = GaussianDenoiser(torch.full((3,), 0.2), 0.25 * torch.eye(3), process)
    one = gaussian_denoiser(0.2, 0.5, (3,), process)
    u = process.prior((6, 3), torch.Generator().manual_seed(0))
    torch.testing.assert_close(full(u, 0.4), one(u, 0.4), rtol=1e-6, atol=1e-6)
    x = u[:, 0]
    torch.testing.assert_close(full.log_density(x, 0.1), one.log_density(x, 0.1))


def test_the_density_of_a_gaussian_with_full_covariance() -> None:
    c = covariance(4)
    oracle = GaussianDenoiser(MEAN, c, make_process("ve"))
    y = torch.randn(3, 2, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    law = torch.distributions.MultivariateNormal(
        MEAN.flatten(), c + 0.09 * torch.eye(4, dtype=torch.float64)
    )
    torch.testing.assert_close(oracle.log_density(y, 0.3), law.log_prob(y.flatten(1)))
    each = torch.tensor([0.1, 0.3, 0.9])
    alone = torch.cat([oracle.log_density(y[i : i + 1], each[i]) for i in range(3)])
    torch.testing.assert_close(oracle.log_density(y, each), alone)


@pytest.mark.parametrize("kind", ["vp", "cld"])
def test_the_jacobian_is_the_posterior_covariance(kind: str) -> None:
    """sigma^2 dD/dy = Cov[x_0 | y] = (C^-1 + I / sigma^2)^-1, by autograd through u."""
    c = covariance(4)
    oracle = GaussianDenoiser(MEAN, c, make_process(kind))
    t = 0.3
    sigma, mean = float(oracle.process.sigma_eff(t)), oracle.process.mean(t)

    def of(y: Tensor) -> Tensor:
        return oracle(outer_state(mean, y.reshape(1, 2, 2)), t).flatten()

    jacobian = torch.autograd.functional.jacobian(of, MEAN.flatten())
    eye = torch.eye(4, dtype=torch.float64)
    expected = torch.linalg.inv(torch.linalg.inv(c) + eye / sigma**2)
    torch.testing.assert_close(sigma**2 * jacobian, expected, rtol=1e-9, atol=1e-9)


def test_points_are_found_again() -> None:
    points = torch.tensor([[0.0, 0.0], [1.0, 2.0]], dtype=torch.float64)
    oracle = point_denoiser(points, torch.tensor([0.5, 0.5]), make_process("ve"))
    t = float(oracle.process.time_of(0.05))
    found = oracle((points + 0.05)[:, None], t)
    torch.testing.assert_close(found, points, rtol=0, atol=1e-12)
    middle = oracle(torch.tensor([[[0.5, 1.0]]], dtype=torch.float64), t)
    torch.testing.assert_close(middle, torch.tensor([[0.5, 1.0]], dtype=torch.float64))
    density = oracle.log_density(points[:1], 0.05)
    assert float(density) == pytest.approx(math.log(0.5 / (2 * math.pi * 0.05**2)))


def test_a_wrong_covariance_is_one_sentence() -> None:
    process = make_process("vp")
    with pytest.raises(UsageError, match=r"shape \(3, 3\) is not valid: give a symmetric \(4, 4\)"):
        GaussianDenoiser(MEAN, torch.eye(3), process)
    with pytest.raises(UsageError, match="smallest eigenvalue -1 is not valid"):
        GaussianDenoiser(MEAN, torch.diag(torch.tensor([1.0, 1, 1, -1])), process)
