"""The options of the networks that make them fast change the layout, not the function."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from sgm_core.config.net import UNetParams
from sgm_core.nets import make_net


def unet(shape: tuple[int, ...], in_channels: int = 1, **fields: Any) -> nn.Module:
    net = make_net(
        "unet", shape=shape, in_channels=in_channels, sigma_data=0.5, num_classes=0, **fields
    )
    generator = torch.Generator().manual_seed(0)
    for p in net.parameters():  # also the layers that start at zero
        p.data.copy_(0.2 * torch.randn(p.shape, generator=generator))
    return net


def test_channels_last_computes_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    net = unet((3, 12, 10), channels=16, multipliers=(1, 2), attention=(1,), group=16, patch=2)
    x, sigma = torch.randn(4, 1, 3, 12, 10), torch.rand(4) + 0.1
    fast = net(x, sigma)
    fast.square().sum().backward()
    gradients = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    monkeypatch.setattr(net, "last", False)
    plain = net(x, sigma)
    plain.square().sum().backward()
    torch.testing.assert_close(fast, plain, rtol=1e-4, atol=1e-4)
    for a, p in zip(gradients, net.parameters(), strict=True):
        scale = float(p.grad.abs().max())
        torch.testing.assert_close(a, p.grad, rtol=1e-3, atol=1e-4 * scale)


@pytest.mark.parametrize("side", [(9, 7), (8, 8), (5, 12)])
@pytest.mark.parametrize("patch", [1, 2, 4])
def test_patches_fit_any_size(side: tuple[int, int], patch: int) -> None:
    net = unet((2, *side), in_channels=2, channels=8, multipliers=(1, 2), patch=patch)
    assert net(torch.randn(3, 2, 2, *side), torch.ones(3)).shape == (3, 2, *side)


def test_a_patch_sees_each_pixel_in_its_place() -> None:
    """Patch p moves pixels between places and channels: the output depends on every pixel."""
    net = unet((1, 4, 4), channels=8, multipliers=(1,), patch=2)
    x = torch.randn(1, 1, 1, 4, 4, requires_grad=True)
    net(x, torch.ones(1))[0, 0, 3, 2].backward()
    assert int((x.grad != 0).sum()) == 16


def test_a_group_that_does_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="group = 16 does not divide channels = 24"):
        UNetParams(channels=24, group=16)


@pytest.mark.parametrize("size", [(8, 6), (7, 5), (2, 1), (13, 14)])
def test_the_upsamplings_derivative_is_the_librarys(size: tuple[int, int]) -> None:
    """To 1e-6: four numbers are summed in another order."""
    from sgm_core.nets.unet import _Upsampled

    small = [-(-side // 2) for side in size]
    h = torch.randn(2, 3, *small, requires_grad=True)
    slope = torch.randn(2, 3, *size)
    expected = torch.nn.functional.interpolate(h, size=size, mode="nearest")
    (gradient,) = torch.autograd.grad(expected, h, slope)
    own = _Upsampled.apply(h, size)
    assert torch.equal(own, expected)
    torch.testing.assert_close(
        torch.autograd.grad(own, h, slope)[0], gradient, rtol=1e-6, atol=1e-6
    )


def test_weights_lie_as_the_activations_and_are_saved_as_ever() -> None:
    fields = {"channels": 16, "multipliers": (1, 2), "blocks": 1}
    shape = {"shape": (1, 8, 8), "in_channels": 1, "sigma_data": 0.5, "num_classes": 0}
    net = make_net("unet", **shape, **fields, group=16)
    assert net.leave.weight.is_contiguous(memory_format=torch.channels_last)
    assert net.double().leave.weight.is_contiguous(memory_format=torch.channels_last)
    assert make_net("unet", **shape, **fields).leave.weight.is_contiguous()
