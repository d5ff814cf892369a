"""The gradient of a network that knows its own derivative is autograd's."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sgm_core.nets import make_net
from sgm_core.nets.by_hand import knows_its_derivative
from sgm_core.nets.mlp import MLP
from sgm_core.objective import Batch
from sgm_core.train.flat import FlatWeights


def mlp(num_classes: int, **fields: Any) -> nn.Module:
    """A network whose last layer is not zero, so that every gradient is something."""
    torch.manual_seed(0)
    net = make_net(
        "mlp", shape=(3,), in_channels=2, sigma_data=0.7, num_classes=num_classes, **fields
    )
    for p in net.parameters():
        nn.init.normal_(p, std=0.3)
    return net


@pytest.mark.parametrize("num_classes", [0, 4])
@pytest.mark.parametrize("fields", [{"fourier": 0, "depth": 1}, {"inner": (5, 24), "depth": 2}])
@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_output_loss_and_gradient_equal_autograd_to_1e_6(
    num_classes: int, fields: dict[str, Any], labelled: bool, weighted: bool
) -> None:
    net = mlp(num_classes, width=16, **fields)
    inputs, sigma = torch.randn(40, 2, 3), torch.rand(40) + 0.1
    labels = torch.arange(40) % 5 - 1 if labelled and num_classes else None
    target, weight = torch.randn(40, 2, 3)[:, -1], torch.rand(40) if weighted else None
    batch = Batch(inputs, sigma, target, weight)
    flat = FlatWeights(net)
    loss = batch.loss(net(inputs, sigma, labels))
    expected = flat.gradient(loss)

    written = flat.written_gradient()
    for p in net.parameters():
        p.grad.fill_(9.0)  # written, and not added to what was there
    with torch.no_grad():
        output, pull = net.forward_and_pull(inputs, sigma, labels)
        own, slope = batch.loss_and_slope(output)
        pull(slope)
    torch.testing.assert_close(own, loss.detach(), rtol=1e-6, atol=0)
    assert (written - expected).norm() < 1e-6 * expected.norm()


class Doubled(MLP):
    def forward(self, inputs: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        return 2 * super().forward(inputs, sigma, labels)


def test_what_autograd_has_to_see_is_left_to_it() -> None:
    net = mlp(0, width=16)
    assert knows_its_derivative(net)
    net.leave.bias.requires_grad_(False)
    assert not knows_its_derivative(net)
    fields = {"width": 8, "depth": 1, "fourier": 0, "fourier_scale": 1.0, "inner": ()}
    assert not knows_its_derivative(Doubled((2,), 1, 1.0, 0, **fields))
    assert not knows_its_derivative(nn.Linear(2, 2))
