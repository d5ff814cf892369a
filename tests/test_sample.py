"""Samplers are tested by their law: exactness, measured order, two-sample tests, streams."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sgm_core.errors import UsageError
from sgm_core.oracle import MixtureDenoiser, gaussian_denoiser
from sgm_core.process import make_process
from sgm_core.sample import SAMPLERS, make_sampler
from sgm_core.sample.grids import GRIDS, make_grid
from sgm_core.sample.noise import NoiseStream, philox4x32

PROCESSES = ["vp", "subvp", "ve", "cld"]
# SSCS splits a Langevin process; Heun is for one channel.
PAIRS = [
    (process, sampler)
    for process in PROCESSES
    for sampler in SAMPLERS
    if not (sampler == "sscs" and process != "cld") and not (sampler == "heun" and process == "cld")
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
    assert times[0] == 1 and bool((times.diff() < 0).all())
    assert process.sigma_eff(times[-1]).item() == pytest.approx(0.02, rel=1e-8)
    assert len(make_grid(process, 1, kind, 0.02)) == 1


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
    steps = {"euler_maruyama": 300, "ancestral": 300, "ddim": 300, "sscs": 150}.get(sampler, 60)
    found = make_sampler(sampler, steps=steps, sigma_min=0.01)(oracle, (DRAWS, 2), seeds=7)
    assert energy(found, exact_draws(1000)) < null_limit


def gaussian_error(process: str, sampler: str, steps: int) -> float:
    """|std - exact std| of the position for N(0, 0.25) data, from the moments, without noise.

    Every sampler is linear on Gaussian data: the state's covariance is carried exactly by feeding
    unit vectors, so that the discretisation error is seen without Monte-Carlo noise.
    """
    s = 0.5
    forward = make_process(process)
    oracle = gaussian_denoiser(0.0, s, (1,), forward)
    run = make_sampler(sampler, steps=steps, sigma_min=0.05)
    draws: list[Tensor] = []

    class Columns:
        """A noise stream whose draws are one-hot over the "samples"."""

        def __init__(self, total: int) -> None:
            self.total, self.used = total, 0

        def draw(self, index: int, shape: tuple[int, ...]) -> Tensor:
            size = int(np.prod(shape))
            block = torch.zeros(self.total, size, dtype=torch.float64)
            block[self.used : self.used + size] = torch.eye(size, dtype=torch.float64)
            self.used += size
            draws.append(block)
            return block.reshape(self.total, *shape)

    total = forward.k * (2 * steps + 2)
    columns = Columns(total)
    run.draw = lambda shape: columns.draw(0, tuple(shape))  # type: ignore[method-assign,assignment]
    final: list[Tensor] = []
    run(oracle, (total, 1), seeds=0, callback=lambda i, t, u, x0: final.append(u))
    u = final[-1]
    t = float(run.times[-1])
    found = torch.einsum("nk,nl->kl", u[..., 0], u[..., 0])
    mean = forward.mean(t)
    exact = forward.covariance(t) + s**2 * torch.outer(mean, mean)
    return abs(found[0, 0].sqrt() - exact[0, 0].sqrt()).item()


ORDERS = [
    ("vp", "ddim", 1), ("vp", "multistep", 2), ("vp", "heun", 2), ("vp", "ancestral", 1),
    ("vp", "multistep_sde", 2), ("ve", "multistep", 2), ("subvp", "heun", 2),
    ("vp", "euler_maruyama", 1), ("cld", "ddim", 1), ("cld", "multistep", 2),
    ("cld", "ancestral", 1), ("cld", "multistep_sde", 2), ("cld", "euler_maruyama", 1),
    ("cld", "sscs", 1),
]  # fmt: skip


@pytest.mark.parametrize(("process", "sampler", "order"), ORDERS)
def test_measured_order_of_convergence(process: str, sampler: str, order: int) -> None:
    coarse, fine = (gaussian_error(process, sampler, n) for n in (161, 321))
    measured = float(np.log2(coarse / fine))
    assert measured > order - 0.2, f"{process} {sampler}: measured order {measured:.2f}"


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("sampler", ["ddim", "multistep", "ancestral", "multistep_sde"])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_exponential_integrators_are_exact_on_point_data(
    process: str, sampler: str, steps: int
) -> None:
    forward = make_process(process)
    point = torch.tensor([[0.3, -1.2]])
    oracle = MixtureDenoiser(torch.ones(1), point, torch.zeros(1), forward)
    states: list[tuple[float, Tensor]] = []
    run = make_sampler(sampler, steps=steps)
    x = run(oracle, (2000, 2), seeds=0, callback=lambda i, t, u, x0: states.append((t, u)))
    torch.testing.assert_close(x, point.double().expand(2000, 2))
    assert run.nfe == oracle.nfe == steps
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
    alone = torch.cat([run(oracle, (1, 3), seeds=[s]) for s in (9, 4, 1, 7, 2)])
    torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-9)
    assert not torch.allclose(together[0], together[1])


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
        (lambda: _run("cld", "heun"), ["'heun'", "'cld'", "'sscs'"]),
        (lambda: _run("vp", "sscs"), ["'sscs'", "'vp'", "'multistep'"]),
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
