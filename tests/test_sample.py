"""Samplers are tested by their law: exactness, measured order, two-sample tests, streams."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gaussian_laws import w2_error
from rolls_oracle import quality, rolls_oracle
from torch import Tensor

from sgm_core.config.process import PROCESSES
from sgm_core.errors import SgmError, UsageError
from sgm_core.oracle import MixtureDenoiser, gaussian_denoiser
from sgm_core.process import make_process
from sgm_core.sample import SAMPLERS, make_sampler
from sgm_core.sample.grids import GRIDS, make_grid
from sgm_core.sample.names import OPTIONS, sampler_fits
from sgm_core.sample.noise import NoiseStream, philox4x32, seed_list
from sgm_core.sample.ode import ProbabilityFlowODE

PAIRS = [
    (process, sampler)
    for process, params in PROCESSES.items()
    for sampler in SAMPLERS
    if sampler_fits(sampler, params.langevin)
]


def words(*values: int) -> list[np.ndarray]:
    return [np.array([[v]], dtype=np.uint64) for v in values]


def test_philox_equals_the_published_vectors() -> None:
    """Known-answer tests of Random123 for philox4x32-10."""
    zero = philox4x32(words(0, 0, 0, 0), words(0, 0))
    assert [int(w[0, 0]) for w in zero] == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    ones = 0xFFFFFFFF
    full = philox4x32(words(ones, ones, ones, ones), words(ones, ones))
    assert [int(w[0, 0]) for w in full] == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]


def test_noise_is_standard_normal_and_independent_across_seeds_and_draws() -> None:
    stream = NoiseStream(np.arange(20_000, dtype=np.uint64))
    first, second = stream.draw(0, (3,)), stream.draw(1, (3,))
    every = torch.cat([first, second], 1)
    torch.testing.assert_close(every.T.cov(), torch.eye(6).double(), rtol=0, atol=0.03)
    assert every.mean().abs().item() < 0.01
    assert every.pow(4).mean().item() == pytest.approx(3.0, abs=0.1)
    big = NoiseStream([2**64 - 1]).draw(0, (2,))
    assert not torch.equal(big, NoiseStream([2**32 - 1]).draw(0, (2,)))


@pytest.mark.parametrize("kind", GRIDS)
@pytest.mark.parametrize("name", PROCESSES)
def test_grids_go_from_one_to_sigma_min(name: str, kind: str) -> None:
    process = make_process(name)
    times = make_grid(process, 20, kind, sigma_min=0.02)
    assert times[0] == process.t_max and bool((times.diff() < 0).all())
    assert process.sigma_eff(times[-1]).item() == pytest.approx(0.02, rel=1e-8)
    assert len(make_grid(process, 1, kind, 0.02)) == 1
    short = make_grid(process, 20, kind, sigma_min=0.02, sigma_max=3.0)
    assert process.sigma_eff(short[0]).item() == pytest.approx(3.0, rel=1e-8)
    assert process.sigma_eff(short[-1]).item() == pytest.approx(0.02, rel=1e-8)


WEIGHTS = torch.tensor([0.3, 0.7]).double()
MEANS = torch.tensor([[0.6, -0.3], [-0.5, 0.4]]).double()
STDS = torch.tensor([0.25, 0.15]).double()
DRAWS = 1500


def exact_draws(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    which = torch.multinomial(WEIGHTS, DRAWS, replacement=True, generator=generator)
    noise = torch.randn(DRAWS, 2, generator=generator, dtype=torch.float64)
    return MEANS[which] + STDS[which, None] * noise


def energy(a: Tensor, b: Tensor) -> float:
    """Energy distance 2 E|a - b| - E|a - a'| - E|b - b'|, unbiased."""
    n = len(a)
    same = (torch.cdist(a, a).sum() + torch.cdist(b, b).sum()) / (n * (n - 1))
    return float(2 * torch.cdist(a, b).mean() - same)


@pytest.fixture(scope="module")
def null_limit() -> float:
    """The 99.9 % limit of the energy distance between two exact samples."""
    null = [energy(exact_draws(2 * i), exact_draws(2 * i + 1)) for i in range(40)]
    return float(np.mean(null) + 4 * np.std(null))


@pytest.mark.parametrize(("process", "sampler"), PAIRS)
def test_two_sample_test_on_a_mixture(process: str, sampler: str, null_limit: float) -> None:
    """Samples cannot be told from exact draws by their energy distance (the 1e-3 level)."""
    forward = make_process(process, **({"sigma_min": 0.005} if process == "ve" else {}))
    oracle = MixtureDenoiser(WEIGHTS, MEANS, STDS, forward)
    # First-order samplers need a fine grid for their bias to vanish in the test's noise.
    fine = {"euler_maruyama": 300, "ancestral": 300, "ddim": 300, "predictor_corrector": 300}
    steps = (fine | {"sscs": 200, "sscs2": 80}).get(sampler, 60)
    found = make_sampler(sampler, steps=steps, sigma_min=0.01)(oracle, (DRAWS, 2), seeds=7)
    assert energy(found, exact_draws(1000)) < null_limit


# Sampler, its options, the order of its law in the number of steps. The order of a stochastic
# multistep method is 2 whatever it extrapolates: its noise is exact for a constant D only.
LAWS: list[tuple[str, dict[str, float], int]] = [
    ("euler_maruyama", {}, 1),
    ("predictor_corrector", {}, 1),
    ("ancestral", {}, 1),
    ("ddim", {}, 1),
    ("ddim", {"eta": 0.5}, 1),
    ("multistep", {}, 2),
    ("multistep", {"eta": 0.5}, 2),
    ("multistep", {"order": 3}, 3),
    ("multistep", {"order": 4}, 4),
    ("multistep_sde", {}, 2),
    ("multistep_sde", {"order": 3}, 2),
    ("heun", {}, 2),
    ("heun", {"s_churn": 20.0}, 2),
    ("sscs", {}, 1),
    ("sscs2", {}, 2),
]
ORDERS = [
    # Third-order Langevin has the matrices of no other sampler: two of its laws are always measured.
    pytest.param(
        process,
        *law,
        marks=pytest.mark.slow
        if process == "hold3" and (law[:2] not in [("multistep", {}), ("sscs2", {})])
        else (),
    )
    for law in LAWS
    for process in ("vp", "flow", "cld", "hold3")
    if sampler_fits(law[0], PROCESSES[process].langevin)
    # Third order is superconvergent (3.3 to 3.5) on scalar processes at these numbers of steps.
    and not (law[2] == 3 and process in ("vp", "flow"))
]


def test_every_sampler_has_its_law() -> None:
    assert {law[0] for law in LAWS} | {"ode"} == set(SAMPLERS)


@pytest.mark.parametrize(("process", "sampler", "options", "order"), ORDERS)
def test_measured_order_of_convergence(
    process: str, sampler: str, options: dict[str, float], order: int
) -> None:
    """W2 on Gaussian data falls as steps^-order, within 0.15 of the theory."""
    forward = make_process(process)
    coarse, fine = (w2_error(forward, sampler, n, sigma_min=0.05, **options)[0] for n in (160, 320))
    measured = float(np.log2(coarse / fine))
    assert abs(measured - order) < 0.15, f"{process} {sampler} {options}: order {measured:.2f}"


@pytest.mark.parametrize("process", ["vp", "flow", "cld", "hold3"])
def test_the_adaptive_solver_keeps_its_tolerance(process: str) -> None:
    """The error of the ODE sampler on a mixture follows its tolerance."""
    oracle = MixtureDenoiser(WEIGHTS, MEANS, STDS, make_process(process))

    def run(tolerance: float) -> Tensor:
        walk = make_sampler("ode", rtol=tolerance, atol=tolerance, sigma_min=0.01)
        return walk(oracle, (20, 2), seeds=0)

    exact = run(1e-8)
    for tolerance in (1e-3, 1e-6):
        # The median: a start between two modes is stretched without bound.
        assert (run(tolerance) - exact).abs().median().item() < 10 * tolerance


# W2 of x, Gaussian data N(0.5, 0.25), exact score, CLD, quadratic grid to t = 1e-3, steps 16 to 256.
TABLE: list[tuple[str, dict[str, float], list[float]]] = [
    ("euler_maruyama", {}, [6.7e-2, 2.75e-2, 1.3e-2, 6.1e-3, 3.0e-3]),
    ("sscs", {}, [2.81e-2, 1.6e-2, 8.1e-3, 4.15e-3, 2.1e-3]),
    ("sscs2", {}, [8.95e-3, 2.1e-3, 5.05e-4, 1.25e-4, 3.2e-5]),
    ("multistep", {}, [1.7e-1, 3.05e-2, 6.1e-3, 1.41e-3, 3.5e-4]),
]


@pytest.mark.parametrize(("sampler", "options", "limits"), TABLE)
def test_cld_samplers_reach_the_known_errors(
    sampler: str, options: dict[str, float], limits: list[float]
) -> None:
    process = make_process("cld")
    sigma_min = float(process.sigma_eff(1e-3))
    for steps, limit in zip((16, 32, 64, 128, 256), limits, strict=True):
        settings = {"prior": True, "grid": "quadratic", "sigma_min": sigma_min}
        found, _ = w2_error(process, sampler, steps, **settings, **options)  # type: ignore[arg-type]
        assert found <= limit, (sampler, steps)


@pytest.mark.parametrize("options", [{}, {"order": 3}])
def test_cld_draws_fine_structure_in_25_evaluations(options: dict[str, float]) -> None:
    """The exact denoiser of the swiss rolls: the floor of `local` is 0.004, order 1 has 0.013."""
    run = make_sampler("multistep", steps=25, **options)
    off, local = quality(run(rolls_oracle(make_process("cld")), (1000, 2), seeds=0))
    assert run.nfe == 25
    assert off < 0.0025 and local < 0.005


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["multistep", "multistep_sde"])
def test_cld_reaches_the_floor_in_50_evaluations(sampler: str) -> None:
    run = make_sampler(sampler, steps=50)
    off, local = quality(run(rolls_oracle(make_process("cld")), (10_000, 2), seeds=0))
    assert off < 0.0022 and local < 0.002


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize(
    ("sampler", "options"),
    [
        ("ddim", {}),
        ("ddim", {"eta": 0.5}),
        ("multistep", {}),
        ("multistep", {"order": 4, "eta": 0.7}),
        ("ancestral", {}),
        ("multistep_sde", {}),
        ("predictor_corrector", {}),
    ],
)
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_exponential_integrators_are_exact_on_point_data(
    process: str, sampler: str, options: dict[str, float], steps: int
) -> None:
    forward = make_process(process)
    point = torch.tensor([[0.3, -1.2]])
    oracle = MixtureDenoiser(torch.ones(1), point, torch.zeros(1), forward)
    states: list[tuple[float, Tensor]] = []
    run = make_sampler(sampler, steps=steps, **options)
    x = run(oracle, (2000, 2), seeds=0, callback=lambda i, t, u, x0: states.append((t, u)))
    torch.testing.assert_close(x, point.double().expand(2000, 2))
    assert run.nfe == oracle.nfe == (2 * steps - 1 if sampler == "predictor_corrector" else steps)
    for t, u in states:  # every state on the way has the exact law
        centred = u - forward.mean(t)[:, None] * point
        found = torch.einsum("nkd,nld->kl", centred, centred) / (2000 * 2)
        exact = forward.covariance(t)
        scale = exact.diagonal().sqrt()
        torch.testing.assert_close(
            found / torch.outer(scale, scale), exact / torch.outer(scale, scale), rtol=0, atol=0.1
        )


@pytest.mark.parametrize(("process", "sampler"), PAIRS)
def test_a_seed_gives_the_same_sample_at_any_batch_size(process: str, sampler: str) -> None:
    oracle = gaussian_denoiser(0.2, 0.5, (3,), make_process(process))
    run = make_sampler(sampler, steps=9, sigma_min=0.02)
    together = run(oracle, (5, 3), seeds=[9, 4, 1, 7, 2])
    alone = torch.cat([run(oracle, (1, 3), seeds=[s]) for s in (9, 2)])
    torch.testing.assert_close(together[[0, 4]], alone, rtol=1e-9, atol=1e-9)
    assert not torch.allclose(together[0], together[1])


@pytest.mark.parametrize("process", ["vp", "cld", "hold3"])
def test_a_state_can_be_given_and_the_noise_after_it_stays_the_same(process: str) -> None:
    forward = make_process(process)
    oracle = gaussian_denoiser(0.2, 0.5, (3,), forward)
    drawn = NoiseStream([4, 5]).draw(0, (forward.k, 3))
    start = torch.einsum("kl,nl...->nk...", forward.cholesky(forward.t_max), drawn)
    run = make_sampler("multistep_sde", steps=9)
    torch.testing.assert_close(
        run(oracle, (2, 3), seeds=4), run(oracle, (2, 3), seeds=4, start=start)
    )


@pytest.mark.parametrize("name", ["ddim", "sscs2", "multistep_sde"])
def test_the_state_can_be_float32(name: str) -> None:
    oracle = gaussian_denoiser(0.2, 0.5, (3,), make_process("cld"))
    results = [
        make_sampler(name, steps=30, sigma_min=0.01, dtype=dtype)(oracle, (4, 3), seeds=0)
        for dtype in (torch.float32, torch.float64)
    ]
    assert results[0].dtype == torch.float32
    torch.testing.assert_close(results[0].double(), results[1], rtol=1e-3, atol=1e-3)


class InFloat32:
    """A denoiser of the user's own, which answers in its network's precision."""

    def __init__(self, process: str) -> None:
        self.inner = gaussian_denoiser(0.2, 0.5, (3,), make_process(process))
        self.process = self.inner.process

    def __call__(self, u: Tensor, t: Tensor) -> Tensor:
        return self.inner(u, t).float()


@pytest.mark.parametrize(("process", "sampler"), [("vp", "heun"), ("cld", "ode"), ("vp", "ddim")])
def test_the_denoiser_may_answer_in_another_precision(process: str, sampler: str) -> None:
    wrapped = InFloat32(process)
    found = make_sampler(sampler, steps=9)(wrapped, (4, 3), seeds=0)
    exact = make_sampler(sampler, steps=9)(wrapped.inner, (4, 3), seeds=0)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-4)


def test_the_adaptive_solver_gives_up() -> None:
    """A denoiser whose rounding is above the tolerance costs a bounded number of evaluations."""

    class Rough:
        process, nfe = make_process("vp"), 0

        def __call__(self, u: Tensor, t: Tensor) -> Tensor:
            self.nfe += 1
            return 1e-2 * (1e9 * u[:, 0]).sin()

    rough = Rough()
    with pytest.raises(SgmError, match="2 of 2 samples did not end in 5000 evaluations at rtol 1e"):
        make_sampler("ode", rtol=1e-9, atol=1e-9)(rough, (2, 1), seeds=0)
    assert rough.nfe <= 5000


@pytest.mark.parametrize("one", [3, np.int64(3), np.uint64(3), np.asarray(3)])
def test_seeds_are_whole_numbers_of_any_kind(one: Any) -> None:
    last = 2**64 - 1
    assert seed_list(one, 2).tolist() == [3, 4]
    assert seed_list([one, last], 2).tolist() == seed_list((3, last), 2).tolist() == [3, last]
    assert seed_list(last, 1).tolist() == [last]
    oracle = gaussian_denoiser(0.2, 0.5, (3,), make_process("vp"))
    run = make_sampler("ddim", steps=3)
    assert torch.equal(run(oracle, (2, 3), seeds=one), run(oracle, (2, 3), seeds=[3, 4]))


@pytest.mark.parametrize(
    ("seeds", "words"),
    [
        (-1, "seeds: -1 is not valid: write whole numbers from 0 to 18446744073709551615"),
        ([0, -1], "seeds: -1 is not valid"),
        ([0, 2**64], "seeds: 18446744073709551616 is not valid"),
        (2**64 - 1, "seeds: 18446744073709551615 leaves no 2 seeds below 2^64"),
        (1.0, "seeds: 1.0 is not valid"),
        (True, "seeds: True is not valid"),
        ("3", "seeds: 3 is not valid"),
        (None, "seeds: None is not valid"),
        ([1.5, 2.0], "seeds: 1.5 is not valid"),
        ([1, 2, 3], "seeds: 3 seeds for 2 samples; give one per sample"),
        ([[1], [2]], "seeds: shape (2, 1) is not valid: give one per sample"),
    ],
)
def test_wrong_seeds_get_one_sentence(seeds: Any, words: str) -> None:
    oracle = gaussian_denoiser(0.0, 1.0, (1,), make_process("vp"))
    with pytest.raises(UsageError) as error:
        make_sampler("ddim", steps=3)(oracle, (2, 1), seeds=seeds)
    assert str(error.value).startswith(words)


@pytest.mark.parametrize("shape", [(0, 1), (2, 0), (2,), (-1, 1)])
def test_wrong_shapes_get_one_sentence(shape: tuple[int, ...]) -> None:
    oracle = gaussian_denoiser(0.0, 1.0, (1,), make_process("vp"))
    with pytest.raises(UsageError, match="is not valid: give .n, .data shape., all from 1"):
        make_sampler("ddim", steps=3)(oracle, shape)


def test_options_are_those_of_the_classes() -> None:
    """The table that is read without torch names the same options, with the same defaults."""
    for name, options in OPTIONS.items():
        run = make_sampler(name)
        for option, described in options.items():
            assert getattr(run, option) == described.default, (name, option)


def test_nfe_is_counted() -> None:
    for sampler, expected in [("ddim", 12), ("heun", 23), ("euler_maruyama", 12)]:
        oracle = gaussian_denoiser(0.0, 1.0, (1,), make_process("vp"))
        run = make_sampler(sampler, steps=12)
        run(oracle, (3, 1), seeds=0)
        assert run.nfe == oracle.nfe == expected
    points = torch.tensor([[-1.0], [1.0]])
    oracle = MixtureDenoiser(
        torch.tensor([0.5, 0.5]), points, torch.full((2,), 0.05), oracle.process
    )
    tight, loose = make_sampler("ode", rtol=1e-8, atol=1e-8), make_sampler("ode", rtol=1e-2)
    tight(oracle, (3, 1), seeds=0)
    calls = oracle.nfe
    assert tight.nfe == calls
    loose(oracle, (3, 1), seeds=0)
    assert loose.nfe == oracle.nfe - calls < tight.nfe


def test_a_callback_can_stop() -> None:
    oracle = gaussian_denoiser(0.0, 1.0, (1,), make_process("cld"))
    seen: list[int] = []

    def stop_at_three(step: int, t: float, u: Tensor, x0: Tensor) -> bool:
        seen.append(step)
        return step < 3

    run = make_sampler("sscs", steps=50)
    assert run(oracle, (2, 1), seeds=0, callback=stop_at_three).shape == (2, 1)
    assert seen == [1, 2, 3] and oracle.nfe == 3


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: make_sampler("ddimm"), ["'ddimm'", "'ddim'"]),
        (lambda: make_sampler("ddim", step=3), ["'step'", "'steps'"]),
        (lambda: make_sampler("ddim", steps=0), ["steps: 0"]),
        (lambda: make_sampler("ode", rtl=0.1), ["'rtl'", "'rtol'"]),
        (lambda: make_sampler("ddim", eta=1.5), ["eta: 1.5", "from 0 to 1"]),
        (lambda: make_sampler("multistep", order=2.5), ["order: 2.5", "whole number from 1 to 4"]),
        (lambda: _run("vp", "ddim", sigma_max=500.0), ["sigma_max: 500.0", "152"]),
        (lambda: _run("cld", "heun"), ["'heun'", "'cld'", "'sscs'"]),
        (lambda: _run("vp", "sscs"), ["'sscs'", "'vp'", "'multistep'"]),
        (lambda: _run("vp", "sscs2"), ["'sscs2' split a Langevin process and 'vp' is none"]),
        (lambda: make_sampler("ode", steps=0), ["steps: 0"]),
        (lambda: make_sampler("ode", grid="lg"), ["'lg'", "'log'"]),
        (lambda: ProbabilityFlowODE(rtol=1e-13), ["rtol: 1e-13", "between 1e-10 and 1"]),
        (lambda: _run("vp", "ddim", grid="lg"), ["'lg'", "'log'"]),
        (lambda: _run("ve", "ddim", sigma_min=60.0), ["sigma_min: 60.0", "50"]),
    ],
)
def test_wrong_options_get_one_sentence(build: Any, words: list[str]) -> None:
    with pytest.raises(UsageError) as error:
        build()
    assert all(word in str(error.value) for word in words), str(error.value)


def _run(process: str, sampler: str, **options: Any) -> Tensor:
    oracle = gaussian_denoiser(0.0, 1.0, (1,), make_process(process))
    return make_sampler(sampler, **options)(oracle, (2, 1), seeds=0)
