"""Kernels against 50-digit references, and the identities that tie their parts together."""

from __future__ import annotations

from typing import Any

import mpmath as mp
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sgm_core.config.process import PROCESSES
from sgm_core.errors import UsageError
from sgm_core.preconditioning import complement, outer_state, statistic_row
from sgm_core.process import make_process
from sgm_core.process.base import Process
from sgm_core.sample.propagator import propagators

mp.mp.dps = 50
TIMES = [10 ** (e / 4) for e in range(-28, 1)]
RELATIVE = 1e-10


def langevin(name: str) -> tuple[Any, Any, Any]:
    """F, G G^T and Sigma_0 from the papers' defining equations."""
    if name == "cld":
        gamma, m_inv, beta = mp.mpf(2) / 2, mp.mpf(4), mp.mpf(4)  # Gamma = 2 sqrt M
        drift = beta * mp.matrix([[0, m_inv], [-1, -gamma * m_inv]])
        return drift, mp.diag([0, 2 * beta * gamma]), mp.diag([0, mp.mpf(0.04) / m_inv])
    if name == "psld":
        gamma, nu, beta = mp.mpf(0.01), mp.mpf(4.01), mp.mpf(8)
        m_inv = (gamma - nu) ** 2 / 4
        drift = beta / 2 * mp.matrix([[-gamma, m_inv], [-1, -nu]])
        return drift, beta * mp.diag([gamma, nu / m_inv]), mp.diag([0, mp.mpf(0.04) / m_inv])
    omega = mp.mpf(2)
    c1, c2 = omega / mp.sqrt(3), omega * mp.sqrt(mp.mpf(8) / 3)
    drift = 4 * mp.matrix([[0, c1, 0], [-c1, 0, c2], [0, -c2, -3 * omega]])
    return drift, 4 * mp.diag([0, 0, 6 * omega]), mp.diag([0, mp.mpf(0.04), mp.mpf(0.04)])


def van_loan(drift: Any, noise: Any, t: Any) -> tuple[Any, Any]:
    """Psi and N of a linear SDE by one block exponential: shares no formula with the code."""
    k = drift.rows
    block = mp.zeros(2 * k)
    for i in range(k):
        for j in range(k):
            block[i, j], block[k + i, k + j], block[i, k + j] = (
                -drift[i, j],
                drift[j, i],
                noise[i, j],
            )
    power = mp.expm(block * t, method="taylor")
    psi = power[k : 2 * k, k : 2 * k].T
    return psi, psi * power[0:k, k : 2 * k]


def mean_and_scale(name: str, t: Any) -> tuple[Any, Any]:
    """m and Sigma of the scalar processes with 50 digits."""
    if name == "cosine":
        ends = [mp.cos(mp.pi / 2 * (x + mp.mpf(0.008)) / (1 + mp.mpf(0.008))) for x in (t, 0)]
        mean = ends[0] / ends[1]
        return mean, 1 - mean**2
    if name in ("vp", "subvp"):
        b = mp.mpf(0.1) * t + (mp.mpf(20) - mp.mpf(0.1)) * t * t / 2
        variance = 1 - mp.exp(-b)
        return mp.exp(-b / 2), variance if name == "vp" else variance**2
    if name == "ve":
        return mp.mpf(1), (mp.mpf(0.01) * (mp.mpf(50) / mp.mpf(0.01)) ** t) ** 2
    return (mp.mpf(1), t**2) if name == "edm" else (1 - t, t**2)


def reference(name: str, time: float) -> tuple[Any, Any, Any]:
    """Mean vector, covariance and Psi(t, 0) with 50 digits, from the defining formulas."""
    t = mp.mpf(time)
    if name in ("cld", "psld", "hold3"):
        drift, noise, start = langevin(name)
        psi, gramian = van_loan(drift, noise, t)
        return psi[:, 0], psi * start * psi.T + gramian, psi
    mean, variance = mean_and_scale(name, t)
    return mp.matrix([mean]), mp.matrix([variance]), mp.matrix([mean])


def build(name: str) -> Process:
    return make_process("vp", schedule="cosine") if name == "cosine" else make_process(name)


@pytest.mark.parametrize("name", [*PROCESSES, "cosine"])
def test_kernel_equals_the_high_precision_reference(name: str) -> None:
    process = build(name)
    for t in TIMES:
        mean, covariance, psi = reference(name, t)
        k = process.k
        found_mean, found = process.mean(t), process.covariance(t)
        carried = process.transition(0.0, t)
        assert found_mean.dtype == found.dtype == torch.float64
        if name in ("flow", "cosine") and t == 1:  # all of the data is gone
            assert abs(found_mean.item()) < 1e-15 and found.item() == 1
            continue
        for i in range(k):
            assert abs(found_mean[i].item() / mean[i] - 1) < RELATIVE
            for j in range(k):
                assert abs(found[i, j].item() / covariance[i, j] - 1) < RELATIVE, (t, i, j)
                assert abs(carried[i, j].item() / psi[i, j] - 1) < RELATIVE, (t, i, j)
        inverse = mp.inverse(covariance)
        sigma = 1 / mp.sqrt((mean.T * inverse * mean)[0])
        assert abs(process.sigma_eff(t).item() / sigma - 1) < RELATIVE, t
        row = inverse * mean
        for i in range(k):
            assert abs(process.precision_mean(t)[i].item() / row[i] - 1) < RELATIVE, (t, i)


@pytest.mark.parametrize("name", ["cld", "psld", "hold3"])
def test_the_cholesky_factor_survives_small_times(name: str) -> None:
    """det Sigma falls like t^9 (hold3) while its entries fall like t^2: plain Cholesky fails."""
    process = build(name)
    for t in (1e-7, 1e-5, 1e-3, 0.02, 0.3, 1.0):
        _, covariance, _ = reference(name, t)
        lower = mp.cholesky(covariance)
        found = process.cholesky(t)
        for i in range(process.k):
            for j in range(i + 1):
                # The order-3 factor at t = 1e-7 keeps seven digits; from 1e-5 on, ten.
                bound = 1e-6 if t < 1e-6 else 1e-10
                assert abs(found[i, j].item() / lower[i, j] - 1) < bound, (t, i, j)


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
    ("vp", {"schedule": "cosine"}),
    ("subvp", {"schedule": "cosine"}),
    ("edm", {}),
    ("flow", {}),
    ("psld", {}),
    ("psld", {"gamma": 0.5, "nu": 3.0, "kappa": 0.2}),
    ("psld", {"objective": "dsm"}),
    ("hold3", {}),
    ("hold3", {"omega": 1.5, "beta": 6.0}),
    ("hold3", {"objective": "dsm"}),
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
def test_a_state_splits_into_its_statistic_and_the_rest(
    name: str, parameters: dict[str, Any]
) -> None:
    """Sigma = m m^T / SNR + R R^T, and the statistic of m x + R zeta is x."""
    p = make_process(name, **parameters).marginal
    t = p.time_of(torch.tensor([0.05, 0.5, 3.0], dtype=torch.float64))
    mean, rest, row = p.mean(t), complement(p, t), statistic_row(p, t)
    assert rest.shape == (3, p.k, p.k - 1)
    found = mean[..., None] * mean[..., None, :] / p.snr(t)[:, None, None] + rest @ rest.mT
    size = p.covariance(t).diagonal(dim1=-2, dim2=-1).sqrt()
    assert ((found - p.covariance(t)).abs() <= 1e-9 * size[..., None] * size[:, None]).all()
    x, zeta = torch.tensor([0.3, -1.0, 2.0]).double(), torch.ones(3, p.k - 1, 1).double()
    u = outer_state(mean, x[:, None]) + rest @ zeta
    torch.testing.assert_close((row * u[..., 0]).sum(1), x, rtol=0, atol=1e-8)
    for i in range(3):  # one mean for all items, or one each
        torch.testing.assert_close(
            outer_state(mean[i], x[:, None])[i], outer_state(mean, x[:, None])[i]
        )


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(("name", "parameters"), CASES)
def test_propagators_compose_and_spend_no_more_than_the_covariance(
    name: str, parameters: dict[str, Any], eta: float
) -> None:
    """Phi is a flow, and Sigma_t - Phi Sigma_s Phi^T is a covariance: 0 for eta = 0, full for 1."""
    p = make_process(name, **parameters).marginal
    s, r, t = p.time_of(torch.tensor([3.0, 1.0, 0.4], dtype=torch.float64))
    whole = propagators(p, s, t, eta)
    composed = propagators(p, r, t, eta) @ propagators(p, s, r, eta)
    torch.testing.assert_close(whole, composed, rtol=1e-7, atol=1e-9)
    left = p.covariance(t) - whole @ p.covariance(s) @ whole.mT
    size = p.covariance(t).diagonal().sqrt()
    share = torch.linalg.eigvalsh(left / torch.outer(size, size))
    if eta == 0:
        assert share.abs().max() < 1e-8
    else:
        assert share.min() > -1e-10 and share.max() > 0.1


@pytest.mark.parametrize(("name", "parameters"), CASES)
def test_time_of_inverts_sigma_eff(name: str, parameters: dict[str, Any]) -> None:
    p = make_process(name, **parameters)
    sigma = torch.tensor([[0.02, 0.1], [1.0, 5.0]], dtype=torch.float64)
    torch.testing.assert_close(p.marginal.sigma_eff(p.time_of(sigma)), sigma, rtol=1e-9, atol=0)
    assert float(p.time_of(1e9)) == p.t_max
    low, high = p.sigma_range()
    assert 0 < low < 0.02 and 5 < high < 1e4


@pytest.mark.parametrize("name", PROCESSES)
def test_prior_has_the_marginal_covariance(name: str) -> None:
    p = make_process(name)
    draws = p.prior((20_000, 3), torch.Generator().manual_seed(0))
    assert draws.shape == (20_000, p.k, 3)
    found = torch.einsum("nkd,nld->kl", draws, draws) / (3 * 20_000)
    exact = p.covariance(p.t_max)
    size = exact.diagonal().sqrt()
    torch.testing.assert_close(
        found / torch.outer(size, size), exact / torch.outer(size, size), rtol=0, atol=0.03
    )


@pytest.mark.parametrize("name", PROCESSES)
def test_the_snr_falls_at_the_rate_of_the_injected_noise(name: str) -> None:
    """-dSNR/dt = m^T Sigma^-1 G G^T Sigma^-1 m: the continuous-time bound is one for all."""
    p = make_process(name)
    t = p.time_of(torch.tensor([0.05, 0.5, 3.0], dtype=torch.float64))
    h = 1e-5 * t
    slope = (p.snr(t + h) - p.snr(t - h)) / (2 * h)
    row = p.precision_mean(t)
    rate = torch.einsum("nk,nkl,nl->n", row, p.diffusion(t), row)
    torch.testing.assert_close(-slope, rate, rtol=1e-6, atol=0)


@given(
    time=st.floats(-7, 0),
    name=st.sampled_from(sorted(PROCESSES)),
    y=st.floats(-3, 3),
    null=st.floats(-2, 2),
)
def test_kernels_are_covariances_and_the_statistic_is_sufficient(
    time: float, name: str, y: float, null: float
) -> None:
    """For any time: Sigma = L L^T, Sigma^-1 m = L^-T L^-1 m, SNR decreases, t -> sigma -> t."""
    p = make_process(name)
    t = p.t_max * 10**time
    sigma, factor, mean = p.covariance(t), p.cholesky(t), p.mean(t)
    size = sigma.diagonal().sqrt()
    assert ((factor @ factor.mT - sigma).abs() <= 1e-9 * torch.outer(size, size)).all()
    assert float(p.snr(t)) == pytest.approx(float(mean @ p.precision_mean(t)), rel=1e-9)
    assert float(p.snr(t)) > float(p.snr(t * 1.001))
    if t >= p.t_min:
        assert float(p.time_of(p.sigma_eff(t))) == pytest.approx(t, rel=1e-6)
    # u = m y + (null space of the statistic) has the statistic y.
    row = p.precision_mean(t) / p.snr(t)
    off = torch.full((p.k,), null, dtype=torch.float64) * size
    u = mean * (y - float(row @ off)) + off
    scale = float((row.abs() * u.abs()).sum()) + abs(y)
    assert float(row @ u) == pytest.approx(y, abs=1e-9 * max(scale, 1e-3))


@pytest.mark.parametrize(
    ("name", "parameters", "words"),
    [
        ("vpp", {}, ["'vpp'", "'vp'"]),
        ("vp", {"beta_mx": 3}, ["vp.beta_mx", "'beta_max'"]),
        ("ve", {"sigma_min": -1}, ["ve.sigma_min", "-1", "greater than 0"]),
        ("ve", {"sigma_min": 2.0, "sigma_max": 1.0}, ["sigma_max", "raise it"]),
        ("cld", {"objective": "x"}, ["cld.objective", "'hsm' or 'dsm'"]),
        ("vp", {"schedule": "cos"}, ["vp.schedule", "'linear' or 'cosine'"]),
        ("edm", {"sigma_min": 90.0}, ["sigma_max", "raise it"]),
        ("flow", {"eps": 0.0}, ["flow.eps", "greater than 0"]),
        ("psld", {"nu": 0.001}, ["nu = 0.001", "raise nu"]),
        ("hold3", {"omega": -2}, ["hold3.omega", "-2"]),
    ],
)
def test_wrong_parameters_get_one_sentence(
    name: str, parameters: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(UsageError) as error:
        make_process(name, **parameters)
    assert all(word in str(error.value) for word in words), str(error.value)
    assert "\n" not in str(error.value)
