"""The scalar twin, Tweedie's formula and the preconditioning, against exact posteriors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from sgm_core.config.process import PROCESSES as REGISTRY
from sgm_core.denoise import Denoiser, Preconditioning, mix, outer_state, per_item, score, whitening
from sgm_core.nets import make_net
from sgm_core.objective import Objective, training_times
from sgm_core.oracle import MixtureDenoiser, gaussian_denoiser
from sgm_core.preconditioning import statistic_row
from sgm_core.process import make_process
from sgm_core.process.base import as_time
from sgm_core.process.cld import CLD

PROCESSES = list(REGISTRY)


def mixture(process: Any) -> MixtureDenoiser:
    means = torch.tensor([[0.5, -0.2], [-0.7, 0.3], [0.1, 0.9]])
    return MixtureDenoiser(
        torch.tensor([0.2, 0.5, 0.3]), means, torch.tensor([0.1, 0.3, 0.05]), process
    )


def log_density(oracle: MixtureDenoiser, u: Tensor, t: float) -> Tensor:
    """log p_t(u) of the mixture from scratch: Gaussians with covariance m m^T s^2 + Sigma."""
    p = oracle.process
    mean, covariance = p.mean(t), p.covariance(t)
    terms = []
    for weight, mu, variance in zip(
        oracle.log_weights, oracle.means, oracle.variances, strict=True
    ):
        total = covariance + variance * torch.outer(mean, mean)
        normal = torch.distributions.MultivariateNormal(torch.zeros(p.k).double(), total)
        centred = u - outer_state(mean, mu[None])
        terms.append(weight + normal.log_prob(centred.mT).sum(-1))
    return torch.stack(terms, -1).logsumexp(-1)


@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.parametrize("t", [0.02, 0.3, 0.9])
def test_tweedie_twin_and_likelihood_agree(name: str, t: float) -> None:
    """Sigma^-1 (m D - u) from the oracle equals the gradient of an independent log density."""
    oracle = mixture(make_process(name))
    u = oracle.process.prior((6, 2), torch.Generator().manual_seed(1))
    u = (u * 0.3).requires_grad_()
    (gradient,) = torch.autograd.grad(log_density(oracle, u, t).sum(), u)
    torch.testing.assert_close(score(oracle, u.detach(), t), gradient, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("parametrisation", ["edm", "native", "mixed"])
@pytest.mark.parametrize("changed", ["snr", "precision_mean", "cholesky", "sigma_eff"])
def test_what_a_process_of_ones_own_says_of_itself_is_asked(
    changed: str, parametrisation: str
) -> None:
    """Levels and rows that share their work with each other: a subclass's own formula goes first."""

    def twice(self: Any, t: Any) -> Tensor:
        return 2 * getattr(CLD, changed)(self, t)

    process = type("Own", (CLD,), {changed: twice})()
    for t in (torch.tensor([0.01]).double(), torch.tensor([0.02, 0.9]).double()):
        frame = Preconditioning(process, 1.0, parametrisation)
        torch.testing.assert_close(frame.coefficients(t).sigma, process.sigma_eff(t))
        torch.testing.assert_close(frame.output_scale(t)[0], process.sigma_eff(t))
        row, snr = process.precision_mean(t), process.snr(t)
        torch.testing.assert_close(statistic_row(process, t), row / snr[:, None])


def test_one_posterior_for_every_process() -> None:
    """States of different processes with the same y and sigma have the same posterior mean."""
    y = torch.randn(5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    results = []
    for name in PROCESSES:
        process = make_process(name)
        t = float(process.time_of(0.7))
        noise = process.prior((5, 2), torch.Generator().manual_seed(2))
        row = statistic_row(process, t)
        # Add noise in the null space of the statistic: it must not matter.
        null = noise - outer_state(process.mean(t), mix(row[None, None], noise)[:, 0])
        results.append(mixture(process)(outer_state(process.mean(t), y) + null, t))
    for other in results[1:]:
        torch.testing.assert_close(results[0], other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", PROCESSES)
def test_whitening_whitens_and_its_first_row_is_the_statistic(name: str) -> None:
    process, sigma_data = make_process(name), 0.7
    t = torch.tensor([1e-4, 0.01, 0.2, 0.99], dtype=torch.float64)
    white = whitening(process, t, sigma_data)
    mean = process.mean(t)
    covariance = sigma_data**2 * mean[..., None] * mean[:, None] + process.covariance(t)
    eye = torch.eye(process.k, dtype=torch.float64).expand(4, -1, -1)
    torch.testing.assert_close(white @ covariance @ white.mT, eye, rtol=0, atol=1e-9)
    frame = Preconditioning(process, sigma_data)
    expected = frame.level(process.sigma_eff(t))[0][:, None] * statistic_row(process, t)
    torch.testing.assert_close(white[:, 0], expected, rtol=1e-7, atol=1e-9)


class Answer(torch.nn.Module):
    """Returns the output that makes a denoiser exact, from the sample's own target."""

    def __init__(self) -> None:
        super().__init__()
        self.anchor = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
        self.answer = torch.zeros(0)

    def forward(self, inputs: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.answer


@pytest.mark.parametrize("parametrisation", ["edm", "native", "mixed"])
@pytest.mark.parametrize("name", PROCESSES)
def test_a_network_that_returns_the_target_recovers_the_data(
    name: str, parametrisation: str
) -> None:
    """Objective and denoiser use one frame: F = target gives D = x_0 (for k = 1 and HSM)."""
    process = make_process(name)
    frame = Preconditioning(process, 1.0, parametrisation)
    generator = torch.Generator().manual_seed(0)
    x0 = torch.randn(4, 3, generator=generator, dtype=torch.float64)
    xi = torch.randn(4, process.k, 3, generator=generator, dtype=torch.float64)
    t = 0.37
    u = outer_state(process.mean(t), x0) + mix(process.noise_factor(t)[None], xi)
    net = Answer()
    c = frame.coefficients(t)
    if parametrisation == "native":
        net.answer = xi[:, -1]
    elif parametrisation == "mixed":
        net.answer = xi[:, -1] - mix(frame.linear(as_time([t]))[:, None], u)[:, 0]
    else:
        net.answer = (x0 - mix(c.c_skip[:, None], u)[:, 0]) / per_item(c.c_out, x0)
    torch.testing.assert_close(Denoiser(net, frame)(u, t), x0, rtol=1e-9, atol=1e-9)


def test_dsm_and_hsm_have_the_same_law_of_states() -> None:
    x0 = torch.full((40_000, 1), 0.8)
    moments = []
    for objective in ("hsm", "dsm"):
        process = make_process("cld", objective=objective)
        frame = Preconditioning(process, 1.0, "native")
        times = torch.full((16,), 0.15, dtype=torch.float64)
        drawn = Objective(frame, times).draw(x0, torch.Generator().manual_seed(5))
        assert drawn.inputs.shape == (40_000, 2, 1)
        moments.append((drawn.inputs.mean(0).flatten(), drawn.inputs[..., 0].T.cov()))
    torch.testing.assert_close(moments[0][0], moments[1][0], rtol=0, atol=0.03)
    torch.testing.assert_close(moments[0][1], moments[1][1], rtol=0, atol=0.03)


@pytest.mark.parametrize("name", PROCESSES)
def test_loss_of_the_exact_denoiser_is_its_closed_form(name: str) -> None:
    """For N(0, s^2) data the best F has E|F - target|^2 = (posterior variance) / c_out^2."""
    s, sigma_data = 0.6, 1.0
    process = make_process(name)
    frame = Preconditioning(process, sigma_data)
    t = float(process.time_of(0.5))
    sigma = torch.tensor([0.5], dtype=torch.float64)
    generator = torch.Generator().manual_seed(3)
    x0 = s * torch.randn(60_000, 1, generator=generator)
    drawn = Objective(frame, torch.full((8,), t, dtype=torch.float64)).draw(x0, generator)
    c_in, c_skip, c_out = (c.item() for c in frame.level(sigma))
    y = drawn.inputs[:, 0] / c_in
    best = (y * s**2 / (s**2 + 0.25) - c_skip * y) / c_out
    expected = s**2 * 0.25 / (s**2 + 0.25) / c_out**2
    assert (best - drawn.target).square().mean().item() == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("law", ["lognormal", "loguniform", "uniform"])
def test_training_times_follow_their_law(law: str) -> None:
    process = make_process("ve")
    times = training_times(process, law, 4001, p_mean=-1.0, p_std=0.8)
    assert bool((times.diff() > 0).all()) and times[0] > 0 and times[-1] <= 1
    level = process.sigma_eff(times).log()
    if law == "lognormal":
        assert level.median().item() == pytest.approx(-1.0, abs=0.01)
        assert level.std().item() == pytest.approx(0.8, abs=0.02)
    elif law == "uniform":
        assert times.median().item() == pytest.approx(0.5, abs=1e-3)
    else:
        spacing = level.diff()
        torch.testing.assert_close(spacing, torch.full_like(spacing, spacing.mean().item()))


def test_untrained_denoiser_is_the_linear_one() -> None:
    """The zero last layer makes D = c_skip y, the best linear estimate for the data's variance."""
    process = make_process("cld")
    net = make_net("mlp", shape=(2,), in_channels=1, sigma_data=1.0, num_classes=0)
    denoiser = Denoiser(net, Preconditioning(process, 1.0))
    linear = gaussian_denoiser(0.0, 1.0, (2,), process)
    u = process.prior((4, 2), torch.Generator().manual_seed(0))
    torch.testing.assert_close(denoiser(u, 0.4), linear(u, 0.4), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 7, 12), (4, 9, 5), (2, 28, 28)])
def test_unet_fits_any_image(shape: tuple[int, ...]) -> None:
    net = make_net(
        "unet", shape=shape, in_channels=2, sigma_data=0.5, num_classes=3,
        channels=8, multipliers=(1, 2, 2), attention=(2,),
    )  # fmt: skip
    inputs, sigma = torch.randn(2, 2, *shape), torch.tensor([0.1, 2.0])
    for parameter in net.parameters():  # at the start whole branches are zero
        torch.nn.init.normal_(parameter, std=0.2)
    with_label = net(inputs, sigma, torch.tensor([0, 2]))
    assert with_label.shape == (2, *shape)
    assert not torch.equal(with_label, net(inputs, sigma, torch.tensor([1, 2])))
    torch.testing.assert_close(net(inputs, sigma, torch.tensor([-1, -1])), net(inputs, sigma))
