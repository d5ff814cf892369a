"""Likelihood against closed forms: exact through the twin, the bound's gap, solver, estimator."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sgm_core.config.process import PROCESSES
from sgm_core.denoise import Denoiser, Preconditioning
from sgm_core.divergence import Trace
from sgm_core.errors import SgmError, UsageError
from sgm_core.integrate import dopri5
from sgm_core.levels import times_of
from sgm_core.likelihood import bits_per_dim, bound, log_prob
from sgm_core.model import ScoreModel
from sgm_core.nets import make_net
from sgm_core.oracle import MixtureDenoiser, gaussian_denoiser
from sgm_core.process import make_process
from sgm_core.process.base import ScalarProcess, as_time
from sgm_core.process.ve import VE
from sgm_core.sample import make_sampler
from sgm_core.sample.noise import NoiseStream

CASES: list[tuple[str, dict[str, Any]]] = [(name, {}) for name in PROCESSES]
CASES += [("vp", {"schedule": "cosine"}), ("cld", {"objective": "dsm"})]
AUGMENTED = ["cld", "psld", "hold3"]
WEIGHTS = torch.tensor([0.2, 0.5, 0.3])
MEANS = torch.tensor([[0.5, -0.2], [-0.7, 0.3], [0.1, 0.9]]).double()
STDS = torch.tensor([0.1, 0.3, 0.05])


def mixture(name: str, **parameters: Any) -> MixtureDenoiser:
    return MixtureDenoiser(WEIGHTS, MEANS, STDS, make_process(name, **parameters))


def items(n: int, *shape: int) -> Tensor:
    return 0.5 * torch.randn(n, *shape, generator=torch.Generator().manual_seed(3)).double()


def randomise(net: torch.nn.Module, std: float = 0.3) -> None:
    generator = torch.Generator().manual_seed(0)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=std, generator=generator)


# --- the solver


def rotation(s: Tensor, u: Tensor, index: Tensor) -> Tensor:
    """A stiff-free linear system whose speed depends on the sample."""
    speed = 1.0 + 4.0 * index.double()
    return speed[:, None] * torch.stack([-u[:, 1], u[:, 0]], 1) * s.cos()[:, None]


@pytest.mark.parametrize(("start", "end"), [(0.0, 2.0), (2.0, -1.0)])
def test_dopri5_solves_in_both_directions(start: float, end: float) -> None:
    u = torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]]).double()
    found = dopri5(rotation, u, start, end, rtol=1e-10, atol=1e-10)
    angle = (1.0 + 4.0 * torch.arange(3).double()) * (math.sin(end) - math.sin(start))
    c, s = angle.cos(), angle.sin()
    exact = torch.stack([c * u[:, 0] - s * u[:, 1], s * u[:, 0] + c * u[:, 1]], 1)
    torch.testing.assert_close(found.state, exact, rtol=0, atol=1e-8)
    assert bool(found.finished.all())
    assert found.calls[0] < found.calls[2]  # a fast sample does not cost the slow one anything


def test_a_sample_does_not_depend_on_its_neighbours() -> None:
    u = torch.tensor([[1.0, 0.0], [0.0, 2.0]]).double()
    both = dopri5(rotation, u, 0.0, 2.0, rtol=1e-4, atol=1e-4)
    one = dopri5(rotation, u[:1], 0.0, 2.0, rtol=1e-4, atol=1e-4)
    assert torch.equal(both.state[0], one.state[0])
    assert both.calls[0] == one.calls[0]


def test_a_sample_that_blows_up_leaves_the_others_alone() -> None:
    def square(s: Tensor, u: Tensor, index: Tensor) -> Tensor:
        return torch.where(u > 0.9, torch.nan, u.square())

    found = dopri5(square, torch.tensor([[0.5], [0.2]]).double(), 0.0, 1.5, rtol=1e-8, atol=1e-8)
    assert bool(found.state[0].isnan().all())
    assert found.state[1].item() == pytest.approx(0.2 / (1 - 0.2 * 1.5), rel=1e-6)
    short = dopri5(
        square, torch.full((1, 1), 0.2).double(), 0.0, 1.5, rtol=1e-8, atol=1e-8, max_calls=13
    )
    assert not short.finished[0] and short.calls[0] == 13
    assert not short.state.isnan().any()


@pytest.mark.parametrize("name", ["vp", "cld"])
def test_the_ode_sampler_equals_torchdiffeq(name: str) -> None:
    import torchdiffeq

    from sgm_core.sample.ode import flow_coefficients

    oracle = mixture(name)
    process = oracle.process
    start = 0.7 * process.prior((4, 2), torch.Generator().manual_seed(1))
    run = make_sampler("ode", sigma_min=0.05, rtol=1e-7, atol=1e-7)
    seen: list[Tensor] = []
    run(oracle, (4, 2), seeds=0, start=start, callback=lambda i, t, u, x0: seen.append(u))

    def slope(level: Tensor, u: Tensor) -> Tensor:
        t, linear, gain = flow_coefficients(process, level[None])
        return linear[0] @ u + gain[0][:, None] * oracle(u, t)[:, None]

    ends = torch.tensor([-math.log(process.sigma_range()[1]), -math.log(0.05)], dtype=torch.float64)
    expected = torchdiffeq.odeint(slope, start, ends, method="dopri5", rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(seen[0], expected[-1], rtol=0, atol=1e-6)


def test_the_ode_sampler_takes_labels() -> None:
    """Samples end at different times; the labels must stay with their items."""
    model = ScoreModel(shape=(2,), labels=["a", "b"], net={"kind": "mlp", "width": 8, "depth": 1})
    randomise(model.net)
    tight = {"sampler": "ode", "options": {"rtol": 1e-5, "atol": 1e-5}}
    together = model.sample(6, label=[0, 1, 1, 0, 1, 0], seed=5, **tight).x
    alone, other = (model.sample(1, label=label, seed=7, **tight).x for label in (1, 0))
    np.testing.assert_allclose(together[2:3], alone, atol=1e-3)
    assert abs(alone - other).max() > 0.01


@pytest.mark.parametrize(("name", "parameters"), CASES)
def test_times_of_levels(name: str, parameters: dict[str, Any]) -> None:
    process = make_process(name, **parameters).marginal
    low, high = process.sigma_range()
    level = torch.linspace(math.log(low), math.log(high), 777, dtype=torch.float64)
    found = process.sigma_eff(times_of(process, level)).log()
    torch.testing.assert_close(found, level, rtol=0, atol=1e-10)


@dataclass
class Line(ScalarProcess):
    """m = 1, Sigma = t^2, as a dataclass: equal by value, and so without a hash."""

    t_max: float = 1.05
    kind = "line"

    def alpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def variance(self, t: Tensor) -> Tensor:
        return t.square()

    def rate(self, t: Tensor) -> Tensor:
        return torch.zeros_like(t)

    def noise_rate(self, t: Tensor) -> Tensor:
        return 2 * t

    def transition(self, s: float | Tensor, t: float | Tensor) -> Tensor:
        return torch.ones_like(as_time(t) - as_time(s))[..., None, None]


def test_a_process_need_not_be_hashable() -> None:
    process, other = Line(20.0), Line(30.0)
    for one in (process, other):
        level = torch.tensor([0.01, 1.0, one.t_max]).double()
        torch.testing.assert_close(times_of(one, level.log()), level, rtol=1e-9, atol=0)
    narrow = Line(1.05)
    narrow.t_min = 1.0
    level = torch.tensor(1.02).double()
    torch.testing.assert_close(times_of(narrow, level.log()), level)
    oracle = gaussian_denoiser(0.2, 0.5, (1,), process)
    x = items(2, 1)
    found = log_prob(oracle, x, sigma_min=0.1, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(found.value, oracle.log_density(x, 0.1), rtol=0, atol=1e-6)


def test_levels_that_overflow_are_one_sentence() -> None:
    with pytest.raises(
        UsageError, match="'ve': noise levels from 0.01.* to inf cannot be computed"
    ):
        log_prob(MixtureDenoiser(WEIGHTS, MEANS, STDS, VE(0.01, 1e300)), items(1, 2))


# --- exact likelihood


@pytest.mark.parametrize(("name", "parameters"), CASES)
def test_log_prob_is_exact_under_every_process(name: str, parameters: dict[str, Any]) -> None:
    oracle, x = mixture(name, **parameters), items(4, 2)
    tight = log_prob(oracle, x, rtol=1e-9, atol=1e-9)
    exact = oracle.log_density(x, tight.sigma_eps)
    torch.testing.assert_close(tight.value, exact, rtol=0, atol=1e-6)
    usual = log_prob(oracle, x)
    torch.testing.assert_close(usual.value, exact, rtol=0, atol=0.01)
    assert usual.nfe < tight.nfe
    assert (tight.divergence, tight.probes, tight.terminal) == ("exact", 0, "exact")
    assert tight.sigma_eps == pytest.approx(float(oracle.process.sigma_eff(tight.t_eps)), rel=1e-6)


def test_the_prior_as_terminal_density_is_wrong_by_what_is_left_of_the_data() -> None:
    """N(0, s^2) data under VE: y_T has variance s^2 + sigma_T^2, the prior sigma_T^2."""
    s, sigma = 2.0, 20.0
    oracle = gaussian_denoiser(0.0, s, (1,), make_process("ve", sigma_max=sigma))
    x = torch.tensor([[1.5]]).double()
    exact, prior = (
        log_prob(oracle, x, rtol=1e-9, atol=1e-9, terminal=kind) for kind in ("auto", "prior")
    )
    total = s**2 + sigma**2
    y = 1.5 * math.sqrt(total / (s**2 + exact.sigma_eps**2))
    gap = -0.5 * y**2 * (1 / sigma**2 - 1 / total) + 0.5 * math.log(total / sigma**2)
    assert float(prior.value - exact.value) == pytest.approx(gap, abs=1e-6)


def test_one_network_has_one_likelihood_under_every_process() -> None:
    sizes: Any = {"width": 8, "depth": 1, "fourier": 4}
    net = make_net("mlp", shape=(2,), in_channels=1, sigma_data=0.7, num_classes=0, **sizes)
    randomise(net.double())
    values = []
    for name in ("vp", "edm", "cld"):
        frame = Preconditioning(make_process("vp"), 0.7)
        denoiser = Denoiser(net, frame, make_process(name, **LONG.get(name, {})))
        with torch.no_grad():
            values.append(
                log_prob(denoiser, items(3, 2), sigma_min=0.05, rtol=1e-5, atol=1e-5).value
            )
    for other in values[1:]:
        # What is left of the data at the processes' different largest levels.
        torch.testing.assert_close(other, values[0], rtol=0, atol=5e-3)


LONG = {"edm": {"sigma_max": 200.0}}


def test_items_do_not_depend_on_their_batch() -> None:
    oracle = gaussian_denoiser(0.2, 0.5, (5, 5), make_process("vp"))
    x = items(3, 5, 5)
    together = log_prob(oracle, x, seeds=[4, 7, 2], rtol=1e-4, atol=1e-4)
    alone = log_prob(oracle, x[1:2], seeds=7, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(together.value[1:2], alone.value, rtol=1e-10, atol=1e-10)
    assert together.divergence == "hutchinson"
    # The Jacobian of Gaussian data is a multiple of 1, of which signs give the exact trace.
    exact = log_prob(oracle, x, divergence="exact", rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(exact.value, together.value, rtol=1e-9, atol=1e-9)


def test_signs_estimate_the_trace_without_bias() -> None:
    oracle, n = mixture("cld"), 4000
    process, t = oracle.process, torch.tensor([0.2]).double()
    u = items(1, 2, 2).expand(n, -1, -1)
    weights = torch.tensor([[0.7, -1.3]]).double().expand(n, -1)
    stream, index = NoiseStream(np.arange(n, dtype=np.uint64)), torch.arange(n)
    with torch.no_grad():
        _, exact = Trace(oracle, 2, "exact", 1, stream, 0, {}, n)(u[:1], t, weights[:1], index[:1])
        _, signs = Trace(oracle, 2, "hutchinson", 2, stream, 0, {}, n)(
            u, t.expand(n), weights, index
        )
    step = 1e-5
    parts = []
    for c in range(2):
        for i in range(2):
            moved = u[:1].repeat(2, 1, 1)
            moved[0, c, i] += step
            moved[1, c, i] -= step
            up, down = oracle(moved, t)[:, i]
            parts.append(float(weights[0, c] * (up - down)) / (2 * step))
    assert float(exact) == pytest.approx(sum(parts), rel=1e-6)
    assert process.k == 2
    assert float(signs.mean()) == pytest.approx(float(exact), abs=4 * float(signs.std()) / n**0.5)
    assert float(signs.std()) > 1e-3


def test_conditions_go_with_their_items() -> None:
    class Shifted:
        """Data N(shift, 0.25) with a shift per item."""

        process = make_process("vp")
        inner = gaussian_denoiser(0.0, 0.5, (1,), process)

        def __call__(self, u: Tensor, t: Tensor, shift: Tensor) -> Tensor:
            mean = self.process.mean(t)[:, :, None]
            return self.inner(u - mean * shift[:, None], t) + shift

    x = torch.tensor([[0.3], [-0.4], [2.0]]).double()
    shift = torch.tensor([[0.0], [1.0], [2.0]]).double()
    found = log_prob(Shifted(), x, shift=shift, rtol=1e-8, atol=1e-8)
    expected = Shifted.inner.log_density(x - shift, found.sigma_eps)
    torch.testing.assert_close(found.value, expected, rtol=0, atol=0.03)  # the prior's mean is 0


def test_a_denoiser_that_is_not_finite_gives_nan() -> None:
    class Broken:
        process = make_process("vp")

        def __call__(self, u: Tensor, t: Tensor) -> Tensor:
            return torch.where(u[:, 0] > 0, torch.nan, 0.0) * u[:, 0]

    found = log_prob(Broken(), torch.tensor([[1.0], [-1.0]]).double())
    assert found.value.isnan().tolist() == [True, False]


def test_a_solution_that_no_item_reaches_the_end_of_is_an_error() -> None:
    class Rough:
        process, nfe = make_process("vp"), 0

        def __call__(self, u: Tensor, t: Tensor) -> Tensor:
            self.nfe += 1
            return 1e-2 * (1e9 * u[:, 0]).sin()

    rough = Rough()
    with pytest.raises(SgmError, match="none of 2 items ended in 5000 evaluations at rtol 1e-05"):
        log_prob(rough, items(2, 1))
    assert rough.nfe <= 5000


# --- the papers' bound


@pytest.mark.parametrize("name", AUGMENTED)
def test_the_bound_is_below_and_closes_at_small_times(name: str) -> None:
    oracle, x = mixture(name), items(3, 2)
    close = bound(oracle, x, sigma_min=1e-3, rtol=1e-6, atol=1e-6)
    exact = oracle.log_density(x, close.sigma_eps)
    torch.testing.assert_close(close.value, exact, rtol=0, atol=1e-2)
    n = 60
    far = bound(oracle, x.repeat(n, 1), sigma_min=0.3, rtol=1e-4, atol=1e-4)
    gaps = (oracle.log_density(x, far.sigma_eps) - far.value.reshape(n, 3)).mean(1)
    assert float(gaps.mean()) > -3 * float(gaps.std()) / n**0.5
    assert far.draws == 1 and far.sigma_eps > 0.3


@pytest.mark.parametrize("name", AUGMENTED)
def test_the_gap_of_gaussian_data_is_the_divergence_of_the_auxiliary_law(name: str) -> None:
    """Gap = KL(q(a) || p(a | x')), both Gaussian, in the coordinates (x', a) of the bound."""
    s, n = 0.6, 250
    oracle = gaussian_denoiser(0.0, s, (1,), make_process(name))
    x = torch.tensor([[0.8]]).double()
    found = bound(oracle, x.expand(n, 1), sigma_min=0.8, rtol=1e-5, atol=1e-5, seeds=np.arange(n))
    t = oracle.process.time_of(0.8)
    mean, covariance = oracle.process.mean(t), oracle.process.covariance(t)
    s_aa, m_a = covariance[1:, 1:], mean[1:]
    pull = torch.linalg.solve(s_aa, covariance[0, 1:])
    scale = mean[0] - pull @ m_a
    change = torch.eye(len(mean)).double()
    change[0] = torch.cat([torch.ones(1).double(), -pull]) / scale
    joint = change @ (s**2 * torch.outer(mean, mean) + covariance) @ change.T
    assert found.sigma_eps == pytest.approx(float((joint[0, 0] - s**2).sqrt()), rel=1e-6)
    condition = joint[1:, 0] / joint[0, 0]
    given = torch.distributions.MultivariateNormal(
        (condition * x).flatten(), joint[1:, 1:] - torch.outer(condition, joint[0, 1:])
    )
    law = torch.distributions.MultivariateNormal((m_a * x).flatten(), s_aa)
    gap = float(torch.distributions.kl_divergence(law, given))
    exact = oracle.log_density(x, found.sigma_eps)
    gaps = exact - found.value
    assert gap > 0.01
    assert float(gaps.mean()) == pytest.approx(gap, abs=4 * float(gaps.std()) / n**0.5)
    several = bound(
        oracle, x.expand(5, 1), draws=2, sigma_min=0.8, rtol=1e-5, atol=1e-5, seeds=np.arange(5)
    )
    assert several.draws == 2
    assert not torch.allclose(several.value, found.value[:5])


def test_the_bound_needs_auxiliary_channels() -> None:
    with pytest.raises(UsageError, match="'vp' has no auxiliary channels; use log_prob"):
        bound(mixture("vp"), items(1, 2))


# --- bits per dimension, wrong input, the command line


def test_bits_of_uniform_noise_are_the_bits_of_its_values() -> None:
    """A uniform density over 16 values a step apart codes each in 4 bits, in any units."""
    for step in (1.0, 0.125):
        density = torch.full((3,), -64 * math.log(16 * step)).double()
        assert bits_per_dim(density, 64, step).tolist() == pytest.approx([4.0] * 3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"divergence": "exat"}, "unknown divergence 'exat'; did you mean 'exact'?"),
        ({"probes": 0}, "probes: 0 is not valid"),
        ({"rtol": 0.0}, "rtol: 0.0 is not valid: choose between 1e-10 and 1"),
        ({"atol": 1e-12}, "atol: 1e-12 is not valid: choose between 1e-10 and 1"),
        ({"seeds": -1}, "seeds: -1 is not valid"),
        ({"x": torch.zeros(2, 0)}, "x: shape (2, 0) is not valid"),
        ({"sigma_min": 1e4}, "sigma_min: 10000.0 is not valid: choose between 0 and"),
        ({"terminal": "end"}, "terminal: 'end' is not valid"),
        ({"seeds": [1, 2, 3]}, "seeds: 3 seeds for 2 items"),
        ({"x": torch.full((2, 2), torch.nan)}, "x: holds NaN"),
        ({"x": torch.zeros(2)}, "x: shape (2,) is not valid"),
    ],
)
def test_wrong_options_are_one_sentence(options: dict[str, Any], words: str) -> None:
    arguments = {"x": items(2, 2)} | options
    with pytest.raises(UsageError) as error:
        log_prob(mixture("vp"), **arguments)
    assert words in str(error.value)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("likelihood")
    small = {"kind": "unet", "channels": 4, "multipliers": [1], "blocks": 1}
    ScoreModel(shape=(1, 4, 4), net=small, data_range=(0, 16)).save(root / "images")
    ScoreModel(shape=(2,), net={"kind": "mlp", "width": 4, "depth": 1}, scale=[2.0, 0.5]).save(
        root / "points"
    )
    rng = np.random.default_rng(0)
    np.save(root / "whole.npy", rng.integers(0, 17, (3, 1, 4, 4)))
    np.save(root / "broken.npy", rng.random((3, 1, 4, 4)))
    np.save(root / "large.npy", np.full((3, 1, 4, 4), 255))
    np.save(root / "points.npy", rng.normal(size=(5, 2)))
    np.save(root / "nan.npy", np.full((5, 2), np.nan))
    np.save(root / "words.npy", np.array(["a", "b"]))
    (root / "text.npy").write_text("no array")
    return root


def test_the_command_prints_nats_and_bits(
    folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from flows.likelihood import likelihood_of_file

    likelihood_of_file(str(folders / "images"), folders / "whole.npy", None, 1e-3, False)
    text = capsys.readouterr().out
    assert "3 items" in text and "bits/dim" in text and "exact trace" in text
    likelihood_of_file(str(folders / "images"), folders / "broken.npy", None, 1e-3, True)
    assert "no bits/dim" in capsys.readouterr().out
    out = tmp_path / "lp.npy"
    likelihood_of_file(str(folders / "points"), folders / "points.npy", out, 1e-8, False)
    text = capsys.readouterr().out
    values = np.load(out)
    # The untrained model is the linear denoiser: N(0, 1) in model space, up to its prior.
    x = np.load(folders / "points.npy") / [2.0, 0.5]
    expected = -0.5 * (x**2).sum(1) - math.log(2 * math.pi) - math.log(2.0 * 0.5)
    np.testing.assert_allclose(values, expected, atol=1e-3)
    assert f"mean log p {values.mean():.4f} nats" in text and "bits/dim" not in text


@pytest.mark.parametrize(
    ("model", "file", "out", "words"),
    [
        ("points", "none.npy", None, "none.npy does not exist"),
        ("points", "text.npy", None, "text.npy is not a .npy file of numbers"),
        ("points", "words.npy", None, "words.npy is not a .npy file of numbers"),
        ("points", "whole.npy", None, "shape (3, 1, 4, 4) does not fit; the model takes (n, 2)"),
        ("points", "nan.npy", None, "10 of its values are NaN or infinite"),
        ("images", "large.npy", None, "values from 255 to 255 leave the model's range 0 to 16"),
        ("points", "points.npy", "lp.txt", "--out: 'lp.txt' is not valid; end it in .npy"),
        ("points", "points.npy", "no/lp.npy", "no is not a folder"),
    ],
)
def test_wrong_files_are_one_sentence(
    folders: Path, model: str, file: str, out: str | None, words: str
) -> None:
    from flows.likelihood import likelihood_of_file

    with pytest.raises(UsageError) as error:
        likelihood_of_file(
            str(folders / model), folders / file, None if out is None else Path(out), 1e-3, False
        )
    assert words in str(error.value)
