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

from sgm_core.nets.doubled import conv_of_doubled, doubled, spreading
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


def _silu(x: Tensor) -> Tensor:
    """SiLU; without a derivative in the memory of x, which nobody else may need."""
    return functional.silu(x, inplace=not torch.is_grad_enabled())


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
        h = self.conv1(_silu(self.norm1(x)))
        return self._second(h, self.skip(x), embedding)

    def after_doubling(
        self, low: Tensor, high: Tensor, embedding: Tensor, spread: Tensor
    ) -> Tensor:
        """Return self(cat([double(low), high]), embedding), with fewer operations (see doubled.py).

        Shapes: low (B, C, H, W), high (B, D, 2 H, 2 W); spread: see `conv_of_doubled`.
        """
        channels = low.shape[1]
        first, norm = self.conv1, self.norm1
        a, b = (
            _silu(functional.group_norm(x, x.shape[1] // self._size, weight, bias, norm.eps))
            for x, weight, bias in zip(
                (low, high),
                norm.weight.tensor_split([channels]),
                norm.bias.tensor_split([channels]),
                strict=True,
            )
        )
        h = functional.conv2d(b, first.weight[:, channels:], first.bias, padding=1)
        h = h.add_(conv_of_doubled(a, first.weight[:, :channels], spread))
        skip: Any = self.skip
        shortcut = functional.conv2d(high, skip.weight[:, channels:], skip.bias)
        part = functional.conv2d(low, skip.weight[:, :channels])
        size = (high.shape[-2], high.shape[-1])
        return self._second(h, shortcut + doubled(part, size, self.training), embedding)

    def can_double(self, low: Tensor, high: Tensor) -> bool:
        """Whether `after_doubling` is the same: sides are even, and no group has channels of both."""
        even = all(2 * a == b for a, b in zip(low.shape[-2:], high.shape[-2:], strict=True))
        return even and low.shape[1] % self._size == 0 and isinstance(self.skip, nn.Conv2d)

    @property
    def _size(self) -> int:
        """Channels per group of the first normalisation."""
        return self.norm1.num_channels // self.norm1.num_groups

    def _second(self, h: Tensor, shortcut: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.condition(embedding)[:, :, None, None].chunk(2, dim=1)
        h = _silu(torch.addcmul(shift, self.norm2(h), 1 + scale))
        return self.conv2(self.dropout(h)).add_(shortcut)  # type: ignore[no-any-return]


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
        self.spread: Tensor
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
        self.register_buffer("spread", spreading(), persistent=False)
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
        """Blocks of pixels as channels; sides that do not divide are padded."""
        if self.patch > 1:
            height, width = (-side % self.patch for side in image.shape[-2:])
            image = functional.pad(image, (0, width, 0, height), mode="replicate")
            image = functional.pixel_unshuffle(image, self.patch)
        return image

    def _up(self, stage: nn.Module, h: Tensor, skip: Tensor, embedding: Tensor) -> Tensor:
        block: Any
        block, attend = stage.children()
        size = (skip.shape[-2], skip.shape[-1])
        if h.shape[-2:] != size:
            # A published graph keeps the plain operations: they can be quantised. On a GPU they are faster.
            plain = torch.compiler.is_exporting() or h.device.type != "cpu"
            if not plain and block.can_double(h, skip):
                return attend(block.after_doubling(h, skip, embedding, self.spread))  # type: ignore[no-any-return]
            h = doubled(h, size, self.training)
        return attend(block(torch.cat([h, skip], dim=1), embedding))  # type: ignore[no-any-return]

    def forward(self, inputs: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        embedding = self._embedding(sigma, labels)

        def run(pair: nn.Module, h: Tensor) -> Tensor:
            block, attend = pair.children()
            return attend(block(h, embedding))  # type: ignore[no-any-return]

        h = self.enter(self._unshuffled(inputs.flatten(1, 2)))
        if self.last and h.device.type == "cpu":
            h = h.contiguous(memory_format=torch.channels_last)  # all that follows keeps this order
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
            h = self._up(stage, h, skips.pop(), embedding)
        h = self.leave(_silu(self.norm(h)))
        if self.patch > 1:
            height, width = inputs.shape[-2:]
            h = functional.pixel_shuffle(h, self.patch)[..., :height, :width]
        return h  # type: ignore[no-any-return]
