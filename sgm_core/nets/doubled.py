"""A doubled image that goes into a convolution is never made.

Doubling (nearest neighbours, each pixel becomes 2 x 2) commutes with all that acts on single pixels or on
means over the image: SiLU, a 1 x 1 convolution, a normalisation by groups of channels. And a 3 x 3
convolution of the doubled image is a transposed convolution of the image itself with a kernel of 4 x 4 and
stride 2: of the nine products for an output pixel only four are different numbers,

    conv3x3(double(x), W) = conv_transpose(x, W * ones(2, 2), stride 2),

with 4 / 9 of the multiplications, and the norm and the activation on a quarter of the pixels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


class _Doubled(torch.autograd.Function):
    """Nearest neighbours, with the sum over each block of 2 x 2 as its derivative.

    The library's own derivative copies both gradients out of channels_last and back.
    """

    @staticmethod
    def forward(context: Any, x: Tensor, size: tuple[int, int]) -> Tensor:
        return functional.interpolate(x, size=size, mode="nearest")

    @staticmethod
    def backward(context: Any, slope: Tensor) -> tuple[Tensor, None]:
        return functional.avg_pool2d(slope, 2, ceil_mode=True, divisor_override=1), None


def doubled(x: Tensor, size: tuple[int, int], training: bool) -> Tensor:
    """Return x (B, C, H, W) with every pixel as 2 x 2, cut to `size`: 2 H or 2 H - 1 by 2 W or 2 W - 1.

    training: take the derivative above, which only first order and the usual kind of graph have.
    """
    if training:
        return _Doubled.apply(x, size)  # type: ignore[no-any-return]
    return functional.interpolate(x, size=size, mode="nearest")


def spreading() -> Tensor:
    """Return the matrix (16, 9) from the taps of a 3 x 3 kernel to those of its product with ones(2, 2)."""
    line = torch.zeros(4, 3)
    line[:3] += torch.eye(3)
    line[1:] += torch.eye(3)
    return torch.kron(line, line).flip(1)  # a transposed convolution reads its kernel backwards


def conv_of_doubled(x: Tensor, weight: Tensor, spread: Tensor) -> Tensor:
    """Return conv2d(double(x), weight, padding=1).

    Args:
        x: (B, I, H, W).
        weight: (O, I, 3, 3).
        spread: `spreading()`, of their type and device.

    Shapes: (B, O, 2 H, 2 W).
    """
    outputs, inputs = weight.shape[:2]
    taps = weight.permute(0, 2, 3, 1).reshape(outputs, 9, inputs)  # a view, with channels last
    kernel = torch.matmul(spread, taps).view(outputs, 4, 4, inputs).permute(3, 0, 1, 2)
    return functional.conv_transpose2d(x, kernel, stride=2, padding=1)
