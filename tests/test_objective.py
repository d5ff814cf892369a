"""Losses against their closed forms: every parametrisation, weighting and process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sgm_core.config.process import PROCESSES
from sgm_core.config.training import TrainingConfig
from sgm_core.denoise import Denoiser, Preconditioning, mix, per_item
from sgm_core.nets import make_net
from sgm_core.objective import Objective, training_times
from sgm_core.oracle import gaussian_denoiser
from sgm_core.process import make_process
from sgm_core.train.loop import LoopSettings, TrainState, advance
from sgm_core.weighting import multipliers, spacing

STD, SIGMA_DATA, GAMMA = 0.625, 0.75, 5.0
PARAMETRISATIONS = ["edm", "native", "mixed"]
WEIGHTINGS = ["auto", "edm", "epsilon", "min_snr", "likelihood"]


def posterior_variance(sigma: Tensor) -> Tensor:
    """E|x_0 - D|^2 per dimension for N(0, STD^2) data."""
    return STD**2 * sigma.square() / (STD**2 + sigma.square())


def weight(name: str, frame: Preconditioning, t: Tensor) -> Tensor:
    """w(sigma) on |D - x_0|^2, written a second time."""
    sigma, c_out = frame.output_scale(t)
    if name == "auto":
        return c_out**-2
    if name == "edm":
        return (sigma**2 + SIGMA_DATA**2) / (sigma * SIGMA_DATA) ** 2
    if name == "epsilon":
        return sigma**-2
    if name == "min_snr":
        return torch.minimum(sigma**-2, torch.tensor(GAMMA).double())
    level = sigma.log().numpy()
    # A node stands for 1/n of the times, and for the half cells to its neighbours.
    cells = np.concatenate([[level[0]], (level[1:] + level[:-1]) / 2, [level[-1]]])
    density = 1 / len(t) / np.diff(cells)
    return sigma**-2 / torch.from_numpy(density)


def drawn(frame: Preconditioning, times: Tensor, b: int, **options: Any) -> tuple[Any, Objective]:
    """One batch of b items in float64 and its objective; len(times) divides b."""
    generator = torch.Generator().manual_seed(7)
    objective = Objective(frame, times, dtype=torch.float64, **options)
    x0 = STD * torch.randn(b, 1, generator=generator, dtype=torch.float64)
    return objective.draw(x0, generator), objective


def exact_output(frame: Preconditioning, times: Tensor, batch: Any) -> Tensor:
    """F of the exact denoiser of N(0, STD^2), (b, 1), from what the network sees.

    A batch is stratified: its first b / n items are at the first time.
    """
    inputs = batch.inputs.reshape(len(times), -1, frame.in_channels).mT
    if frame.parametrisation == "edm":
        c_in, c_skip, c_out = (c[:, None] for c in frame.level(frame.output_scale(times)[0]))
        y = inputs[:, 0] / c_in
        best = STD**2 * (c_in**-2 - SIGMA_DATA**2 + STD**2) ** -1 * y
        return ((best - c_skip * y) / c_out).reshape(-1, 1)
    c = frame.coefficients(times)
    u = mix(torch.linalg.inv(c.c_in), inputs)
    best = gaussian_denoiser(0.0, STD, tuple(u.shape[2:]), frame.process)(u, times)
    skip = mix(c.c_skip[:, None], u)[:, 0]
    return ((best - skip) / per_item(c.c_out, best)).reshape(-1, 1)


@pytest.mark.parametrize("parametrisation", PARAMETRISATIONS)
@pytest.mark.parametrize("name", PROCESSES)
def test_loss_of_the_exact_denoiser_is_its_closed_form(name: str, parametrisation: str) -> None:
    """E w |D - x_0|^2 over the table, for every weighting; normalised to a mean multiplier of 1."""
    frame = Preconditioning(make_process(name), SIGMA_DATA, parametrisation)
    times = training_times(frame.process, "lognormal", 256, p_mean=-0.5, p_std=0.8)
    sigma, c_out = frame.output_scale(times)
    for weighting in WEIGHTINGS:
        options = {"weighting": weighting, "min_snr_gamma": GAMMA}
        batch, objective = drawn(frame, times, 25_600, **options)
        w = weight(weighting, frame, times)
        scale = 1.0 if weighting == "auto" else float((w * c_out**2).mean())
        assert objective.normaliser == pytest.approx(scale, rel=1e-9)
        expected = float((w * posterior_variance(sigma)).mean()) / scale
        loss = float(batch.loss(exact_output(frame, times, batch)))
        assert loss == pytest.approx(expected, rel=0.04), weighting
        if weighting == "auto":
            assert batch.weight is None
        else:
            assert float(objective.table.weight.mean()) == pytest.approx(1.0, rel=1e-9)


@pytest.mark.parametrize("parametrisation", ["native", "mixed"])
@pytest.mark.parametrize("name", ["cld", "psld", "hold3"])
def test_drawn_velocities_have_the_same_best_network(name: str, parametrisation: str) -> None:
    """Objective dsm: the target's regression on the input is the marginal's exact denoiser."""
    frame = Preconditioning(make_process(name, objective="dsm"), SIGMA_DATA, parametrisation)
    times = training_times(frame.process, "lognormal", 64, p_mean=-0.5, p_std=0.5)
    batch, _ = drawn(frame, times, 64_000)
    best = exact_output(frame, times, batch)
    error = (batch.target - best).flatten()
    # The error of a regression is uncorrelated with every function of its inputs.
    for function in (best.flatten(), *batch.inputs[..., 0].T, *batch.inputs[..., 0].T ** 3):
        standard = float((error * function).std()) / len(error) ** 0.5
        assert abs(float((error * function).mean())) < 4 * standard


@pytest.mark.parametrize("name", PROCESSES)
def test_maximum_likelihood_is_one_integral_for_every_process_and_law(name: str) -> None:
    """normaliser x loss = 1/2 int -dSNR/dt E|x_0 - D|^2 dt = 1/2 ln (s^2 + sigma^2)/sigma^2 | ..

    That -dSNR/dt is the flow of information, whatever the process, is a test of the kernels.
    """
    process = make_process(name)

    def antiderivative(sigma: Tensor) -> float:
        return float(0.5 * torch.log1p(STD**2 / sigma**2))

    for law in ("lognormal", "loguniform", "uniform"):
        frame = Preconditioning(process, SIGMA_DATA, "edm")
        times = training_times(process, law, 8192)
        sigma, c_out = frame.output_scale(times)
        raw = multipliers(frame, times, "likelihood")
        nats = float((raw * posterior_variance(sigma) / c_out**2).mean())
        assert nats == pytest.approx(antiderivative(sigma[0]) - antiderivative(sigma[-1]), rel=3e-3)


def test_spacing_is_the_trapezoid_rule() -> None:
    nodes = torch.tensor([0.0, 0.5, 2.0, 3.0], dtype=torch.float64)
    values = nodes.exp()
    assert float((spacing(nodes) * values).sum()) == pytest.approx(
        float(torch.trapezoid(values, nodes)), rel=1e-14
    )


@pytest.mark.parametrize("parametrisation", PARAMETRISATIONS)
@pytest.mark.parametrize("name", PROCESSES)
def test_uniform_times_cover_the_whole_process(name: str, parametrisation: str) -> None:
    """Tables are finite to both ends, and times end at t_max."""
    process = make_process(name)
    times = training_times(process, "uniform", 1001)
    assert process.t_min <= times[0] and times[-1] <= process.t_max
    assert float(times[500]) == pytest.approx(0.5 * process.t_max, rel=1e-3)
    frame = Preconditioning(process, SIGMA_DATA, parametrisation)
    for weighting in WEIGHTINGS:
        batch, _ = drawn(frame, times, 1001, weighting=weighting)
        assert bool(torch.isfinite(batch.inputs).all() and torch.isfinite(batch.target).all())
        assert bool(torch.isfinite(batch.loss(torch.zeros_like(batch.target))))


@pytest.mark.parametrize("name", PROCESSES)
def test_untrained_mixed_network_is_the_linear_denoiser(name: str) -> None:
    process = make_process(name)
    frame = Preconditioning(process, SIGMA_DATA, "mixed")
    net = make_net("mlp", shape=(2,), in_channels=process.k, sigma_data=SIGMA_DATA, num_classes=0)
    u = process.prior((4, 2), torch.Generator().manual_seed(0))
    t = float(process.time_of(0.3))
    linear = gaussian_denoiser(0.0, SIGMA_DATA, (2,), process)
    torch.testing.assert_close(Denoiser(net, frame)(u, t), linear(u, t), rtol=1e-9, atol=1e-12)


def test_the_objective_follows_the_training_section() -> None:
    training = TrainingConfig(weighting="min_snr", min_snr_gamma=2.0, time_sampling="loguniform")
    frame = Preconditioning(make_process("vp"), SIGMA_DATA)
    objective = Objective.of(frame, training.model_dump(), 100)
    times = training_times(frame.process, "loguniform", 100)
    raw = multipliers(frame, times, "min_snr", 2.0)
    assert objective.normaliser == pytest.approx(float(raw.mean()))
    assert Objective.of(frame, TrainingConfig().model_dump(), 100).table.weight is None


class Recorder(torch.nn.Module):
    """Remembers the labels that it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.labels: list[Tensor] = []

    def forward(self, inputs: Tensor, sigma: Tensor, labels: Tensor) -> Tensor:
        self.labels.append(labels)
        return self.weight * inputs[:, 0]


@pytest.mark.parametrize("dropout", [0.0, 0.3, 1.0])
def test_labels_are_dropped_at_the_given_rate(dropout: float) -> None:
    """A share of items is trained without its class, which classifier-free guidance needs."""
    settings = TrainingConfig(steps=20, label_dropout=dropout).model_dump()
    frame = Preconditioning(make_process("vp"), 1.0)
    state = TrainState(Recorder(), Objective.of(frame, settings, 64), LoopSettings.of(settings), 0)
    labels = torch.arange(500) % 7
    for _ in range(20):
        advance(state, torch.zeros(500, 1), labels)
    seen = torch.stack(state.net.labels)  # type: ignore[arg-type]
    assert float((seen == -1).double().mean()) == pytest.approx(dropout, abs=0.015)
    assert torch.equal(labels, torch.arange(500) % 7)
    kept = seen != -1
    assert torch.equal(seen[kept], labels.expand_as(seen)[kept])


@pytest.mark.parametrize("name", ["vp", "cld"])
def test_training_with_the_likelihood_weight_states_its_loss_in_nats(
    name: str, tmp_path: Path
) -> None:
    """A cell's summary: the untrained denoiser is linear, so that its nats are known."""
    from sgm_core.config.data import SwissRollParams
    from sgm_core.data import prepare
    from sgm_core.train.run import train_cell

    meta = prepare("rolls", SwissRollParams(n=4000), tmp_path, tmp_path / "d", lambda _: None)
    training = TrainingConfig(
        steps=1, batch=3200, lr=1e-12, weighting="likelihood", time_sampling="loguniform",
        device="cpu",
    ).model_dump()  # fmt: skip
    net = {"kind": "mlp", "width": 8, "depth": 1}
    spec = {"process": {"kind": name}, "net": net, "training": training, "seed": 0}
    work = tmp_path / "work"
    work.mkdir()
    summary = train_cell(spec, tmp_path / "d", work, lambda _: None)
    low, high = make_process(name).sigma_range()
    variance = meta["sigma_data"] ** 2
    ends = 0.5 * np.log1p(variance / np.array([max(low, 1e-3), high]) ** 2)
    assert summary["final_nats"] == pytest.approx(ends[0] - ends[1], rel=0.03)


def test_tails_widen_the_noise_of_their_share_and_no_target() -> None:
    """Inputs and target still belong to one x_0 and its noise; that noise is TAIL times as wide."""
    frame = Preconditioning(make_process("vp"), SIGMA_DATA)
    times = training_times(frame.process, "lognormal", 256, p_mean=-0.5, p_std=0.8)
    x0, b = torch.zeros(256 * 80, 1, dtype=torch.float64), 256 * 80
    for share in (0.0, 0.25, 1.0):
        objective = Objective(frame, times, dtype=torch.float64, tails=share)
        batch = objective.draw(x0, torch.Generator().manual_seed(3))
        c_in, c_skip, c_out = (c[:, None] for c in frame.level(batch.sigma))
        y = batch.inputs[:, 0] / c_in
        assert torch.allclose(c_out * batch.target, -c_skip * y, atol=1e-9)  # x_0 = 0
        second = float((y[:, 0] / batch.sigma).square().mean())
        assert second == pytest.approx(1 + 3 * share, abs=5 * (2 * (1 + 15 * share) / b) ** 0.5)


def test_tails_and_likelihood_exclude_each_other() -> None:
    with pytest.raises(ValueError, match=r"(?s)tails.*write 0"):
        TrainingConfig.model_validate({"weighting": "likelihood", "tails": 0.1})
