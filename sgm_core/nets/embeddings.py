"""Embeddings of the noise level, the position and the class."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class NoiseEmbedding(nn.Module):
    """Sine and cosine features of c_noise = ln(sigma_eff) / 4, as in a transformer.

    Frequencies are geometric from 1 to 100, which resolves ln sigma_eff to a few per cent.

    Shapes: (B,) -> (B, width).
    """

    frequencies: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        spaced = torch.logspace(0, 2, width // 2, dtype=torch.float32)
        self.register_buffer("frequencies", spaced, persistent=False)
        self.width = width

    def forward(self, c_noise: Tensor) -> Tensor:
        angle = c_noise[:, None] * self.frequencies
        return torch.cat([angle.sin(), angle.cos()], dim=-1)


class FadedFourier(nn.Module):
    r"""Random Fourier features of the position that fade with the noise level.

    phi_j(y, sigma) = exp(-(w_j sigma)^2 / 2) [sin(w_j . y), cos(w_j . y)] is the expectation of the
    clean feature under the noise: a frequency that the noise hides is switched off, so that fine
    detail is available at low noise without being an input of pure chance at high noise.

    Shapes: y (B, d), sigma (B,) -> (B, 2 * features).
    """

    frequencies: Tensor

    def __init__(self, dimensions: int, features: int, scale: float, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        directions = torch.randn(features, dimensions, generator=generator)
        self.register_buffer("frequencies", scale * directions)

    def forward(self, y: Tensor, sigma: Tensor) -> Tensor:
        angle = y @ self.frequencies.T
        squared = self.frequencies.square().sum(-1)
        fade = torch.exp(-0.5 * squared * sigma[:, None].square())
        return torch.cat([fade * angle.sin(), fade * angle.cos()], dim=-1)


def labels_or_none(labels: Tensor | None, sigma: Tensor) -> Tensor:
    """Return the labels (B,), or -1 for each of sigma (B,) where there are none."""
    if labels is not None:
        return labels
    return torch.full(sigma.shape, -1, dtype=torch.int64, device=sigma.device)


class ClassEmbedding(nn.Module):
    """A learned vector per class; index `num_classes` (or a missing label) means "no class".

    Shapes: labels (B,) int64, -1 for none -> (B, width).
    """

    def __init__(self, num_classes: int, width: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.table = nn.Embedding(num_classes + 1, width)
        nn.init.normal_(self.table.weight, std=1.0 / math.sqrt(width))

    def rows(self, labels: Tensor) -> Tensor:
        """The rows of the table that labels stand for."""
        return torch.where(labels < 0, self.num_classes, labels)

    def forward(self, labels: Tensor) -> Tensor:
        return self.table(self.rows(labels))  # type: ignore[no-any-return]

    def pull(self, labels: Tensor, slope: Tensor) -> None:
        """Write the gradient of the table (see sgm_core.nets.by_hand); slope (B, width)."""
        gradient = self.table.weight.grad
        assert gradient is not None
        gradient.zero_().index_add_(0, self.rows(labels), slope)
