"""The weights of a network in one block of memory: the optimiser, the average and the gradient norm
then each take one pass over one tensor, whatever the number of layers.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

ALIGNED = 16  # float32 numbers in a cache line: every parameter starts one


class FlatWeights:
    """The parameters of a network as views into one vector.

    Args:
        net: its parameters keep their names, shapes, values and order of memory (contiguous, or
            channels_last), and lie in `vector` afterwards.

    Attributes:
        vector: (n,) all weights, each parameter followed by zeros up to the next cache line.
        padded, gaps: room of each parameter in it, and how many zeros follow.
    """

    def __init__(self, net: nn.Module) -> None:
        self.parameters = list(net.parameters())
        self.padded = [-(-p.numel() // ALIGNED) * ALIGNED for p in self.parameters]
        self._last = [_channels_last(p) for p in self.parameters]
        self.gaps = [room - p.numel() for room, p in zip(self.padded, self.parameters, strict=True)]
        self.move_to(self._joined([p.data for p in self.parameters]))

    def move_to(self, vector: Tensor) -> None:
        """Let the parameters lie in another vector (n,), and have its values."""
        self.vector = vector
        for view, p in zip(self._views(vector), self.parameters, strict=True):
            p.data = view

    def gradient(self, loss: Tensor) -> Tensor:
        """Return d loss / d vector, (n,)."""
        try:
            loss.backward()  # and not autograd.grad, which would pass by the hooks of several ranks
            return self._joined(
                [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters]
            )
        finally:  # what a failed pass has left would be added to the next one's
            for p in self.parameters:
                p.grad = None

    def written_gradient(self) -> Tensor:
        """Make `p.grad` of each parameter a view of a vector (n,), and return it."""
        vector = torch.zeros_like(self.vector)
        for view, p in zip(self._views(vector), self.parameters, strict=True):
            p.grad = view
        return vector

    def _views(self, vector: Tensor) -> list[Tensor]:
        views = []
        for part, p, last in zip(
            vector.split(self.padded), self.parameters, self._last, strict=True
        ):
            flat = part[: p.numel()]
            shape = p.permute(0, 2, 3, 1).shape if last else p.shape
            views.append(flat.view(shape).permute(0, 3, 1, 2) if last else flat.view(shape))
        return views

    def _joined(self, parts: Sequence[Tensor]) -> Tensor:
        pieces: list[Tensor] = []
        for part, gap, last in zip(parts, self.gaps, self._last, strict=True):
            pieces.append((part.permute(0, 2, 3, 1) if last else part).reshape(-1))
            if gap:
                pieces.append(part.new_zeros(gap))
        return torch.cat(pieces)


def _channels_last(p: Tensor) -> bool:
    return p.ndim == 4 and not p.is_contiguous() and p[0].permute(1, 2, 0).is_contiguous()
