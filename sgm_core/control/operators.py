r"""Linear measurements obs = A x of an item: what is known of it.

Each operator has `forward`, A x, and `adjoint`, A^T obs, on batches, with
<A x, z> = <x, A^T z>. Values are those of model space.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from sgm_core.errors import UsageError


class Operator(Protocol):
    """A linear map between batches of items and batches of observations."""

    def forward(self, x: Tensor) -> Tensor:
        """Return A x of shape (B, *observation) for x (B, *shape)."""
        ...

    def adjoint(self, obs: Tensor) -> Tensor:
        """Return A^T obs of shape (B, *shape) for obs (B, *observation)."""
        ...


class Mask:
    """Known coordinates: A x = mask * x (inpainting); unknown ones are observed as zero.

    Args:
        mask: 1 or True where a coordinate is known, broadcastable to (*shape) or (B, *shape).

    Raises:
        UsageError: the mask holds other values than 0 and 1.
    """

    def __init__(self, mask: Tensor) -> None:
        self.mask = torch.as_tensor(mask).double()
        if not bool(((self.mask == 0) | (self.mask == 1)).all()):
            raise UsageError("mask: holds values other than 0 and 1; write 1 where it is known")

    def forward(self, x: Tensor) -> Tensor:
        return self.mask.to(x) * x

    def adjoint(self, obs: Tensor) -> Tensor:
        return self.mask.to(obs) * obs


class Gray:
    """The mean over channels: A x = 1/C sum_c x_c, (B, C, H, W) -> (B, 1, H, W) (colourisation).

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1, keepdim=True)

    def adjoint(self, obs: Tensor) -> Tensor:
        return (obs / self.channels).expand(-1, self.channels, *obs.shape[2:])


class Downsample:
    """Means over blocks of factor x factor pixels, (B, C, H, W) -> (B, C, H/f, W/f).

    Args:
        factor: edge of a block; it must divide height and width.
    """

    def __init__(self, factor: int) -> None:
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        if any(side % self.factor for side in x.shape[2:]):
            raise UsageError(
                f"factor: {self.factor} does not divide the size {tuple(x.shape[2:])}; "
                "choose a common divisor of height and width"
            )
        return torch.nn.functional.avg_pool2d(x, self.factor)

    def adjoint(self, obs: Tensor) -> Tensor:
        wide = obs.repeat_interleave(self.factor, 2).repeat_interleave(self.factor, 3)
        return wide / self.factor**2
