"""On a GPU: recorded steps are the plain steps, and a recorded training can be stopped and resumed.

Skipped without one; nothing else here knows what a CUDA graph is.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sgm_core.config.training import TrainingConfig
from sgm_core.nets import make_net
from sgm_core.objective import Objective
from sgm_core.preconditioning import Preconditioning
from sgm_core.process import make_process
from sgm_core.train import captured, loop
from sgm_core.train.checkpoint import load_checkpoint, save_checkpoint
from sgm_core.train.feed import Feed
from sgm_core.train.loop import LoopSettings, TrainState, train
from sgm_core.train.stack import train_together

STEPS = 80
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
CASES = {
    "mlp": ((2,), "mlp", {"width": 32, "depth": 2}, "float32"),
    "unet": ((1, 12, 12), "unet", {"channels": 16, "multipliers": (1, 2), "group": 16}, "float32"),
    "unet_dropout": (
        (1, 12, 12),
        "unet",
        {"channels": 16, "multipliers": (1, 2), "dropout": 0.2},
        "bf16",
    ),
    "unet_bf16": ((1, 12, 12), "unet", {"channels": 16, "multipliers": (1, 2)}, "bf16"),
}


def state_of(case: str, process: str = "vp", seed: int = 0, device: str = "cuda") -> TrainState:
    shape, kind, fields, precision = CASES[case]
    training = TrainingConfig(
        steps=STEPS, batch=32, tails=0.1, warmup=10, grad_clip=0.5, precision=precision
    ).model_dump()
    torch.manual_seed(seed)
    net = make_net(kind, shape=shape, in_channels=1, sigma_data=1.0, num_classes=3, **fields)
    net.to(device)
    objective = Objective.of(Preconditioning(make_process(process), 1.0), training, 256, device)
    return TrainState(net, objective, LoopSettings.of(training), seed)


def data(case: str, device: str = "cuda") -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    items = torch.randn(100, *CASES[case][0], generator=generator)
    return items.to(device), (torch.arange(100) % 3).to(device)


def same(x: Tensor) -> Tensor:
    return x


def curve(state: TrainState, case: str, last: int = STEPS) -> Tensor:
    reports = itertools.islice(train(state, *data(case), same), last - state.step)
    return torch.tensor([(float(r.loss), float(r.grad_norm)) for r in reports])


@needs_gpu
@pytest.mark.parametrize("case", CASES)
def test_recorded_steps_are_the_plain_ones(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = curve(state_of(case), case)
    monkeypatch.setattr(loop, "can_capture", lambda state, last: False)
    plain = curve(state_of(case), case)
    print(case, "largest relative difference", float(((recorded - plain) / plain).abs().max()))
    tolerance = 1e-4 if case == "mlp" else 2e-2  # atomics in a convolution's derivative
    torch.testing.assert_close(recorded, plain, rtol=tolerance, atol=1e-5)


@needs_gpu
def test_a_step_is_really_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    replays: list[object] = []
    original = captured.CapturedStep.__call__

    def counted(self: captured.CapturedStep, *given: object) -> object:
        replays.append(1)
        return original(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(captured.CapturedStep, "__call__", counted)
    curve(state_of("unet"), "unet")
    assert len(replays) == STEPS - loop.EAGER_STEPS


@needs_gpu
@pytest.mark.parametrize("case", ["mlp", "unet", "unet_dropout"])
def test_a_resumed_training_has_the_curve_of_an_uninterrupted_one(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = curve(state_of(case), case)
    first = state_of(case)
    curve(first, case, 40)
    save_checkpoint(tmp_path, first, [])
    resumed = state_of(case)
    load_checkpoint(tmp_path, resumed, print)
    monkeypatch.setattr(loop, "WORTH_CAPTURING", 10)
    rest = curve(resumed, case)
    tolerance = 1e-4 if case == "mlp" else 2e-2  # other masks change the loss by more
    torch.testing.assert_close(rest, whole[40:], rtol=tolerance, atol=1e-5)


@needs_gpu
def test_a_recorded_stack_has_the_curves_of_the_cells_alone() -> None:
    members = [("vp", 0), ("ve", 1), ("cld", 2)]
    items, labels = data("mlp")
    states = [state_of("mlp", p, s) for p, s in members]
    together = [
        [float(report.loss) for report in reports]
        for reports in train_together(states, items, labels, same)
    ]
    for i, (process, seed) in enumerate(members):
        alone = curve(state_of("mlp", process, seed), "mlp")[:, 0]
        own = torch.tensor([row[i] for row in together])
        torch.testing.assert_close(own, alone, rtol=2e-3, atol=1e-5)


@needs_gpu
def test_what_cannot_be_recorded_is_run_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    def waits(x: Tensor) -> Tensor:
        return x * float((x * 0).sum() + 1)  # a number that the processor has to wait for

    items, labels = data("mlp")
    with pytest.warns(UserWarning, match="not recorded as a CUDA graph"):
        told = [float(r.loss) for r in train(state_of("mlp"), items, labels, waits)]
    monkeypatch.setattr(loop, "can_capture", lambda state, last: False)
    plain = curve(state_of("mlp"), "mlp")[:, 0]
    torch.testing.assert_close(torch.tensor(told), plain, rtol=1e-4, atol=1e-5)


@needs_gpu
def test_items_on_the_host_give_the_same_batches() -> None:
    items, labels = data("mlp", "cpu")
    there = Feed(items.cuda(), labels.cuda(), [0, 1], 16, torch.device("cuda", 0))
    here = Feed(items, labels, [0, 1], 16, torch.device("cuda", 0))
    for step in range(20):
        for one, other in zip(there(step), here(step), strict=True):
            assert one is not None and other is not None
            assert one.device == other.device and torch.equal(one, other)


@needs_gpu
def test_a_training_from_items_on_the_host_has_the_same_curve() -> None:
    """While steps are recorded, the thread that gathers the next batch goes on."""
    here = [float(r.loss) for r in train(state_of("mlp"), *data("mlp", "cpu"), same)]
    torch.testing.assert_close(torch.tensor(here), curve(state_of("mlp"), "mlp")[:, 0])


@pytest.mark.parametrize("seeds", [[0], [0, 5]])
def test_a_feed_gives_the_items_of_its_orders(seeds: list[int]) -> None:
    items = torch.arange(10.0)[:, None]
    feed = Feed(items, torch.arange(10), seeds, 4, torch.device("cpu"))
    for step in (0, 1, 2, 7):
        x, labels = feed(step)
        index = torch.cat([order(step) for order in feed.orders])
        assert torch.equal(x[:, 0], index.float())
        assert labels is not None and torch.equal(labels, index)
