"""The options of the networks that make them fast change the layout, not the function."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from sgm_core.config.net import UNetParams
from sgm_core.nets import make_net
from sgm_core.nets.doubled import conv_of_doubled, doubled, spreading
from sgm_core.nets.unet import ResidualBlock


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
    small = [-(-side // 2) for side in size]
    h = torch.randn(2, 3, *small, requires_grad=True)
    slope = torch.randn(2, 3, *size)
    expected = torch.nn.functional.interpolate(h, size=size, mode="nearest")
    (gradient,) = torch.autograd.grad(expected, h, slope)
    own = doubled(h, size, training=True)
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


@pytest.mark.parametrize("last", [False, True])
def test_a_convolution_of_a_doubled_image_without_the_image(last: bool) -> None:
    order = torch.channels_last if last else torch.contiguous_format
    x = torch.randn(2, 5, 6, 3, dtype=torch.float64).contiguous(memory_format=order)
    weight = torch.randn(4, 9, 3, 3, dtype=torch.float64).contiguous(memory_format=order)[:, :5]
    expected = torch.nn.functional.conv2d(doubled(x, (12, 6), False), weight, padding=1)
    own = conv_of_doubled(x, weight, spreading().double())
    torch.testing.assert_close(own, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("channels", [16, 32])
def test_a_block_after_doubling_is_the_block_of_the_doubled_image(channels: int) -> None:
    """Values and all derivatives, to the rounding of float64."""
    torch.manual_seed(0)
    block = ResidualBlock(channels + 16, 24, 8, embedding=6, dropout=0.0, group=16).double()
    for p in block.parameters():  # also the layer that starts at zero
        nn.init.normal_(p, std=0.3)
    low = torch.randn(3, channels, 4, 5, dtype=torch.float64, requires_grad=True)
    high = torch.randn(3, 16, 8, 10, dtype=torch.float64, requires_grad=True)
    embedding = torch.randn(3, 6, dtype=torch.float64, requires_grad=True)
    assert block.can_double(low, high)
    given = [low, high, embedding, *block.parameters()]
    plain = block(torch.cat([doubled(low, (8, 10), True), high], dim=1), embedding)
    own = block.after_doubling(low, high, embedding, spreading().double())
    torch.testing.assert_close(own, plain, rtol=1e-10, atol=1e-10)
    slope = torch.randn_like(own)
    for a, b in zip(*(torch.autograd.grad(y, given, slope) for y in (own, plain)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("low", "sides", "outputs", "why"),
    [
        (16, (8, 9), 8, "an odd side ends in half a pair"),
        (8, (8, 10), 8, "a group has channels of both"),
        (16, (8, 10), 32, "without a shortcut's convolution there is nothing to split"),
    ],
)
def test_where_doubling_does_not_commute(
    low: int, sides: tuple[int, int], outputs: int, why: str
) -> None:
    block = ResidualBlock(32, 24, outputs, embedding=6, dropout=0.0, group=16)
    small = [-(-side // 2) for side in sides]
    assert not block.can_double(torch.ones(1, low, *small), torch.ones(1, 32 - low, *sides)), why


@pytest.mark.parametrize("side", [(12, 8), (12, 9), (7, 7)])
def test_a_network_is_the_same_without_the_short_cut(
    side: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where nothing is differentiated, and memory is written over."""
    net = unet((1, *side), channels=16, multipliers=(1, 2, 2), attention=(1,), group=16)
    x, sigma = torch.randn(4, 1, 1, *side), torch.rand(4) + 0.1
    with torch.no_grad():
        written_over = net(x, sigma)
    short = net(x, sigma)
    monkeypatch.setattr(ResidualBlock, "can_double", lambda *_: False)
    plain = net(x, sigma)
    scale = float(plain.detach().abs().max())
    torch.testing.assert_close(short, plain, rtol=1e-4, atol=1e-5 * scale)
    torch.testing.assert_close(written_over, plain, rtol=1e-4, atol=1e-5 * scale)
