"""Weights in one block of memory: the loss curve of plain AdamW on a list of tensors."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from sgm_core.config.training import TrainingConfig
from sgm_core.nets import make_net
from sgm_core.objective import Objective
from sgm_core.preconditioning import Preconditioning
from sgm_core.process import make_process
from sgm_core.train.flat import FlatWeights
from sgm_core.train.loop import LoopSettings, TrainState, advance

STEPS = 30


@pytest.mark.parametrize("process", ["vp", "cld"])
def test_the_loss_curve_is_that_of_the_libraries_own_loop(process: str) -> None:
    """To 1e-5 relative: the gradient's norm is summed in another order, all else is the same."""
    fields = TrainingConfig(steps=STEPS, batch=64, lr=2e-3, warmup=3, grad_clip=0.3).model_dump()
    settings = LoopSettings.of(fields)
    frame = Preconditioning(make_process(process), 1.0, "mixed")
    objective = Objective.of(frame, fields, 512)
    torch.manual_seed(0)
    net = make_net("mlp", shape=(2,), in_channels=frame.in_channels, sigma_data=1.0, num_classes=0)
    plain, x0 = copy.deepcopy(net), torch.randn(64, 2)
    state = TrainState(net, objective, settings, seed=1)
    curve = [
        (float(r.loss), float(r.grad_norm)) for r in (advance(state, x0) for _ in range(STEPS))
    ]

    weights = list(plain.parameters())
    average = [p.detach().clone() for p in weights]
    adamw = torch.optim.AdamW(weights, betas=settings.betas, weight_decay=0.0, fused=True)
    generator = torch.Generator().manual_seed(1)
    expected = []
    for step in range(STEPS):
        batch = objective.draw(x0, generator)
        loss = batch.loss(plain(batch.inputs, batch.sigma, None))
        adamw.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(weights, settings.grad_clip)
        state.step = step
        adamw.param_groups[0]["lr"] = state.learning_rate()
        adamw.step()
        decay = min(settings.ema, (step + 1) / (11 + step))
        torch._foreach_lerp_(average, weights, 1 - decay)
        expected.append((float(loss.detach()), float(norm)))
    torch.testing.assert_close(torch.tensor(curve), torch.tensor(expected), rtol=1e-5, atol=0)
    for mine, theirs in zip(state.ema_net.parameters(), average, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)


def test_parameters_are_views_of_the_vector_and_keep_their_values() -> None:
    net = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 2))
    before = copy.deepcopy(net)
    flat = FlatWeights(net)
    for p, q in zip(net.parameters(), before.parameters(), strict=True):
        assert torch.equal(p, q)
        assert p.data_ptr() % 64 == flat.vector.data_ptr() % 64
    flat.vector.fill_(1.0)
    assert all(bool((p == 1).all()) for p in net.parameters())


def test_weights_with_channels_last_stay_so_and_get_their_own_gradient() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1)).to(
        memory_format=torch.channels_last
    )
    x, before = torch.randn(2, 3, 5, 5), copy.deepcopy(net)
    expected = torch.autograd.grad(before(x).square().sum(), list(before.parameters()))
    flat = FlatWeights(net)
    assert net[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert not net[0].weight.is_contiguous()
    gradient = flat.gradient(net(x).square().sum())
    views = flat.written_gradient()
    views.copy_(gradient)
    for p, q, g in zip(net.parameters(), before.parameters(), expected, strict=True):
        assert torch.equal(p, q)
        torch.testing.assert_close(p.grad, g)


def test_the_gradient_is_zero_where_the_loss_does_not_look() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    flat = FlatWeights(net)
    gradient = flat.gradient(net[0](torch.ones(1, 2)).sum())
    assert gradient.shape == flat.vector.shape
    assert int((gradient != 0).sum()) == 6
    assert all(p.grad is None for p in net.parameters())


class _Fails(torch.autograd.Function):
    """Passes its input on, and fails on the way back."""

    @staticmethod
    def forward(context: object, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(context: object, slope: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("on the way back")


def test_a_backward_pass_that_failed_leaves_nothing_to_the_next() -> None:
    first, last = nn.Linear(3, 5), nn.Linear(5, 2)
    flat, x = FlatWeights(nn.Sequential(first, last)), torch.randn(4, 3)
    expected = flat.gradient(last(first(x)).square().sum())
    with pytest.raises(RuntimeError, match="on the way back"):
        flat.gradient(last(_Fails.apply(first(x))).square().sum())
    assert torch.equal(flat.gradient(last(first(x)).square().sum()), expected)
