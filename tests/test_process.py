"""Kernels against 50-digit references, and the identities that tie their parts together."""

from __future__ import annotations

from typing import Any

import mpmath as mp
import pytest
import torch

from sgm_core.errors import UsageError
from sgm_core.process import make_process

mp.mp.dps = 50
TIMES = [10 ** (e / 4) for e in range(-28, 1)]
RELATIVE = 1e-10


def _beta_integral(t: Any) -> Any:
    return mp.mpf("0.1") * t + (mp.mpf(20) - mp.mpf("0.1")) * t * t / 2


def reference(name: str, time: float) -> tuple[Any, Any]:
    """Mean vector and covariance matrix with 50 digits, written from the defining formulas."""
    t = mp.mpf(time)
    if name in ("vp", "subvp"):
        b = _beta_integral(t)
        variance = 1 - mp.exp(-b)
        return mp.matrix([mp.exp(-b / 2)]), mp.matrix([variance if name == "vp" else variance**2])
    if name == "ve":
        return mp.matrix([1]), mp.matrix([(mp.mpf("0.01") * mp.mpf(5000) ** t) ** 2])
    # CLD by Van Loan's block exponential: shares no formula with the code.
    a = 4 * mp.matrix([[0, 4], [-1, -4]])
    block = mp.zeros(4)
    for i in range(2):
        for j in range(2):
            block[i, j], block[2 + i, 2 + j] = -a[i, j], a[j, i]
    block[1, 3] = 2 * 4 * 2 * mp.mpf("0.5")
    power = mp.expm(block * t, method="taylor")
    psi = power[2:4, 2:4].T
    start = mp.matrix([[0, 0], [0, mp.mpf("0.04") / 4]])
    return psi * mp.matrix([1, 0]), psi * start * psi.T + psi * power[0:2, 2:4]


@pytest.mark.parametrize("name", ["vp", "subvp", "ve", "cld"])
def test_kernel_equals_the_high_precision_reference(name: str) -> None:
    process = make_process(name)
    for t in TIMES:
        mean, covariance = reference(name, t)
        sigma = 1 / mp.sqrt((mean.T * mp.inverse(covariance) * mean)[0])
        k = process.k
        found_mean, found = process.mean(t), process.covariance(t)
        assert found_mean.dtype == found.dtype == torch.float64
        for i in range(k):
            assert abs(found_mean[i].item() / mean[i] - 1) < RELATIVE
            for j in range(k):
                assert abs(found[i, j].item() / covariance[i, j] - 1) < RELATIVE, (t, i, j)
        assert abs(process.sigma_eff(t).item() / sigma - 1) < RELATIVE, t


def test_cld_golden_numbers() -> None:
    process = make_process("cld", m_inv=4.0, beta=4.0, gamma=0.04)
    golden = {
        0.01: (0.9969656540975667, 8.239131104026923e-4, 0.015102210612402548),
        0.1: (0.8087921354109988, 0.2218100610414002, 0.40814523174564504),
        1.0: (3.0191636511226064e-3, 0.999983970489713, 247.55155571883833),
    }
    for t, (mean, variance, sigma) in golden.items():
        assert process.mean(t)[0].item() == pytest.approx(mean, rel=1e-12)
        assert process.covariance(t)[0, 0].item() == pytest.approx(variance, rel=1e-12)
        assert process.sigma_eff(t).item() == pytest.approx(sigma, rel=1e-12)


CASES: list[tuple[str, dict[str, Any]]] = [
    ("vp", {}),
    ("subvp", {"beta_max": 8.0}),
    ("ve", {"sigma_min": 0.002}),
    ("cld", {}),
    ("cld", {"objective": "dsm"}),
    ("cld", {"m_inv": 2.0, "beta": 3.0, "gamma": 0.1}),
]


@pytest.mark.parametrize(("name", "parameters"), CASES)
def test_kernel_solves_its_moment_equations(name: str, parameters: dict[str, Any]) -> None:
    """m' = F m, Sigma' = F Sigma + Sigma F^T + G G^T, by central differences."""
    p = make_process(name, **parameters)
    t, h = torch.tensor([0.05, 0.3, 0.7], dtype=torch.float64), 1e-5
    drift, mean, covariance = p.drift(t), p.mean(t), p.covariance(t)
    slope = (p.mean(t + h) - p.mean(t - h)) / (2 * h)
    torch.testing.assert_close(slope, (drift @ mean[..., None])[..., 0], rtol=1e-6, atol=1e-8)
    slope = (p.covariance(t + h) - p.covariance(t - h)) / (2 * h)
    expected = drift @ covariance + covariance @ drift.mT + p.diffusion(t)
    torch.testing.assert_close(slope, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("name", "parameters"), CASES)
def test_transition_composes_and_carries_the_mean(name: str, parameters: dict[str, Any]) -> None:
    p = make_process(name, **parameters)
    eye = torch.eye(p.k, dtype=torch.float64)
    composed = p.transition(0.2, 0.9) @ p.transition(0.05, 0.2)
    torch.testing.assert_close(composed, p.transition(0.05, 0.9), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(p.transition(0.4, 0.4), eye)
    torch.testing.assert_close(
        p.transition(0.1, 0.6) @ p.mean(0.1), p.mean(0.6), rtol=1e-12, atol=0
    )
    assert p.transition(torch.zeros(3, 5), torch.ones(5)).shape == (3, 5, p.k, p.k)


@pytest.mark.parametrize(("name", "parameters"), CASES)
def test_flow_factor_is_a_square_root_of_the_covariance(
    name: str, parameters: dict[str, Any]
) -> None:
    p = make_process(name, **parameters)
    times = torch.tensor([1.0, 0.5, 0.1, 0.01, 1e-3], dtype=torch.float64)
    factors = p.flow_factors(times)
    torch.testing.assert_close(
        factors @ factors.mT, p.marginal.covariance(times), rtol=1e-6, atol=1e-9
    )


@pytest.mark.parametrize(("name", "parameters"), CASES)
def test_time_of_inverts_sigma_eff(name: str, parameters: dict[str, Any]) -> None:
    p = make_process(name, **parameters)
    sigma = torch.tensor([[0.02, 0.1], [1.0, 5.0]], dtype=torch.float64)
    torch.testing.assert_close(p.marginal.sigma_eff(p.time_of(sigma)), sigma, rtol=1e-9, atol=0)
    assert float(p.time_of(1e9)) == 1.0


def test_prior_has_the_marginal_covariance() -> None:
    p = make_process("cld")
    draws = p.prior((20_000, 3), torch.Generator().manual_seed(0))
    assert draws.shape == (20_000, 2, 3)
    found = torch.einsum("nkd,nld->kl", draws, draws) / (3 * 20_000)
    torch.testing.assert_close(found, p.covariance(1.0), rtol=0.03, atol=0.01)


@pytest.mark.parametrize(
    ("name", "parameters", "words"),
    [
        ("vpp", {}, ["'vpp'", "'vp'"]),
        ("vp", {"beta_mx": 3}, ["vp.beta_mx", "'beta_max'"]),
        ("ve", {"sigma_min": -1}, ["ve.sigma_min", "-1", "greater than 0"]),
        ("ve", {"sigma_min": 2.0, "sigma_max": 1.0}, ["sigma_max", "raise it"]),
        ("cld", {"objective": "x"}, ["cld.objective", "'hsm' or 'dsm'"]),
    ],
)
def test_wrong_parameters_get_one_sentence(
    name: str, parameters: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(UsageError) as error:
        make_process(name, **parameters)
    assert all(word in str(error.value) for word in words), str(error.value)
    assert "\n" not in str(error.value)
