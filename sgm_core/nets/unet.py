"""U-Net for images: GroupNorm, SiLU, optional self-attention and class conditioning.

Any height and width (down-sampling rounds up; up-sampling takes the skip's size), 1 to 4 channels,
square or not. The second convolution of every residual block and the last layer start at zero.

patch p: blocks of p x p pixels become p^2 channels (arXiv 1609.05158), so that the finest level has
1 / p^2 of the positions and each of its convolutions 1 / p^2 of the cost.

group g: channels per group of the normalisation. Where g is a multiple of 16 activations are laid
out with channels last on the CPU: convolutions then run without reordering, and the normalisation's
kernel with full vectors (with fewer channels a group it would be several times slower there).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sgm_core.nets.embeddings import ClassEmbedding, NoiseEmbedding, labels_or_none

VECTOR = 16  # float32 numbers in the widest CPU register


def groups_of(channels: int, group: int = 0) -> int:
    """Return the number of groups of `group` channels; 0, or where it does not divide (pruned
    blocks): the largest number <= 8 that divides the channels."""
    if group and channels % group == 0:
        return channels // group
    return next(g for g in (8, 6, 4, 3, 2, 1) if channels % g == 0)


def _norm(channels: int, group: int) -> nn.GroupNorm:
    return nn.GroupNorm(groups_of(channels, group), channels)


def _zero(module: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(module.weight)
    if module.bias is not None:
        nn.init.zeros_(module.bias)
    return module


class _Upsampled(torch.autograd.Function):
    """Nearest neighbours, with the sum over each block of 2 x 2 as its derivative.

    The library's own derivative copies both gradients out of channels_last and back.
    """

    @staticmethod
    def forward(context: Any, h: Tensor, size: tuple[int, int]) -> Tensor:
        return functional.interpolate(h, size=size, mode="nearest")

    @staticmethod
    def backward(context: Any, slope: Tensor) -> tuple[Tensor, None]:
        return functional.avg_pool2d(slope, 2, ceil_mode=True, divisor_override=1), None


class ResidualBlock(nn.Module):
    """Two convolutions, `inner` channels between them; the embedding scales and shifts the second
    normalisation."""

    def __init__(
        self, inputs: int, inner: int, outputs: int, embedding: int, dropout: float, group: int
    ) -> None:
        super().__init__()
        self.norm1 = _norm(inputs, group)
        self.conv1 = nn.Conv2d(inputs, inner, 3, padding=1)
        self.condition = nn.Linear(embedding, 2 * inner)
        self.norm2 = _norm(inner, group)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = _zero(nn.Conv2d(inner, outputs, 3, padding=1))
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = self.conv1(functional.silu(self.norm1(x)))
        scale, shift = self.condition(embedding)[:, :, None, None].chunk(2, dim=1)
        h = functional.silu(torch.addcmul(shift, self.norm2(h), 1 + scale))
        return self.skip(x) + self.conv2(self.dropout(h))  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Self-attention over the pixels of one resolution."""

    def __init__(self, channels: int, heads: int, group: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = _norm(channels, group)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = _zero(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        b, c, height, width = x.shape
        qkv = self.qkv(self.norm(x)).reshape(b, 3, self.heads, c // self.heads, height * width)
        q, k, v = qkv.transpose(-1, -2).unbind(1)
        h = functional.scaled_dot_product_attention(q, k, v)
        return x + self.out(h.transpose(-1, -2).reshape(b, c, height, width))  # type: ignore[no-any-return]


class UNet(nn.Module):
    """The network F(inputs, sigma, labels) for images.

    Args:
        shape: data shape (C, H, W).
        in_channels: channels of the whitened state that are fed (1, or k).
        sigma_data: unused here; part of the contract of all networks.
        num_classes: 0 for unconditional.
        channels, multipliers, blocks, attention, heads, dropout, inner, patch, group: see
            sgm_core.config.net.UNetParams.

    Shapes: inputs (B, in_channels, C, H, W), sigma (B,), labels (B,) or None -> (B, C, H, W).
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        in_channels: int,
        sigma_data: float,
        num_classes: int,
        channels: int,
        multipliers: tuple[int, ...],
        blocks: int,
        attention: tuple[int, ...],
        heads: int,
        dropout: float,
        inner: tuple[int, ...],
        patch: int = 1,
        group: int = 0,
    ) -> None:
        super().__init__()
        self.patch, self.group = patch, group
        self.last = group > 0 and group % VECTOR == 0
        width, inside = 4 * channels, iter(inner)
        self.noise = NoiseEmbedding(channels)
        self.embed = nn.Sequential(nn.Linear(channels, width), nn.SiLU(), nn.Linear(width, width))
        self.classes = ClassEmbedding(num_classes, width) if num_classes else None
        self.enter = nn.Conv2d(in_channels * shape[0] * patch**2, channels, 3, padding=1)

        def stage(inputs: int, outputs: int, level: int) -> nn.ModuleList:
            block = ResidualBlock(inputs, next(inside, outputs), outputs, width, dropout, group)
            attend = Attention(outputs, heads, group) if level in attention else nn.Identity()
            return nn.ModuleList([block, attend])

        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        skips, current = [channels], channels
        self.levels = len(multipliers)
        self.blocks = blocks
        for level, multiplier in enumerate(multipliers):
            for _ in range(blocks):
                self.down.append(stage(current, channels * multiplier, level))
                current = channels * multiplier
                skips.append(current)
            if level < self.levels - 1:
                skips.append(current)
        self.middle = stage(current, current, self.levels - 1)
        for level in reversed(range(self.levels)):
            for _ in range(blocks + 1):
                outputs = channels * multipliers[level]
                self.up.append(stage(current + skips.pop(), outputs, level))
                current = outputs
        self.norm = _norm(current, group)
        self.leave = _zero(nn.Conv2d(current, shape[0] * patch**2, 3, padding=1))
        self._lay_out()

    def _lay_out(self) -> None:
        """Order the weights as the activations: otherwise each call copies them, 20 % of sampling."""
        for module in self.modules() if self.last else ():
            if isinstance(module, nn.Conv2d):
                weight, cpu = module.weight, module.weight.device.type == "cpu"
                order = torch.channels_last if cpu else torch.contiguous_format
                weight.data = weight.data.contiguous(memory_format=order)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        before = self.leave.weight.device.type
        moved = super()._apply(fn, recurse)  # to another device, type or order
        if "cpu" in (before, self.leave.weight.device.type):  # on a GPU: as asked for
            self._lay_out()
        return moved

    def _embedding(self, sigma: Tensor, labels: Tensor | None) -> Tensor:
        embedding = self.embed(self.noise(sigma.log() / 4))
        if self.classes is not None:
            embedding = embedding + self.classes(labels_or_none(labels, sigma))
        return functional.silu(embedding)

    def _unshuffled(self, image: Tensor) -> Tensor:
        """Blocks of pixels as channels (sides that do not divide are padded), in the fast layout."""
        if self.patch > 1:
            height, width = (-side % self.patch for side in image.shape[-2:])
            image = functional.pad(image, (0, width, 0, height), mode="replicate")
            image = functional.pixel_unshuffle(image, self.patch)
        if self.last and image.device.type == "cpu":
            image = image.contiguous(memory_format=torch.channels_last)
        return image

    def forward(self, inputs: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        embedding = self._embedding(sigma, labels)

        def run(pair: nn.Module, h: Tensor) -> Tensor:
            block, attend = pair.children()
            return attend(block(h, embedding))  # type: ignore[no-any-return]

        h = self.enter(self._unshuffled(inputs.flatten(1, 2)))
        skips = [h]
        stages = iter(self.down)
        for level in range(self.levels):
            for _ in range(self.blocks):
                h = run(next(stages), h)
                skips.append(h)
            if level < self.levels - 1:
                h = functional.avg_pool2d(h, 2, ceil_mode=True)
                skips.append(h)
        h = run(self.middle, h)
        for stage in self.up:
            skip = skips.pop()
            if h.shape[-2:] != skip.shape[-2:]:
                size = (skip.shape[-2], skip.shape[-1])
                if self.training:
                    h = _Upsampled.apply(h, size)
                else:
                    h = functional.interpolate(h, size=size, mode="nearest")
            h = run(stage, torch.cat([h, skip], dim=1))
        h = self.leave(functional.silu(self.norm(h)))
        if self.patch > 1:
            height, width = inputs.shape[-2:]
            h = functional.pixel_shuffle(h, self.patch)[..., :height, :width]
        return h  # type: ignore[no-any-return]
