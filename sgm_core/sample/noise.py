"""One random stream per sample: counter-based normals (Philox4x32-10, Salmon et al. 2011).

Normal number j of draw d for seed s is a pure function of (s, d, j), computed for all samples at
once. A sample's seed therefore gives the same picture at any batch size, on any device, and in any
language that has 32-bit integers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
ROUNDS = 10


def philox4x32(counter: Sequence[np.ndarray], key: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Apply Philox4x32-10 to four counter words and two key words (uint64 arrays below 2^32).

    Arrays broadcast; returns four arrays of random 32-bit words, held in uint64.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        p0, p1 = _M0 * c0, _M1 * c2
        c0, c1, c2, c3 = (p1 >> _HALF) ^ c1 ^ k0, p1 & _LOW, (p0 >> _HALF) ^ c3 ^ k1, p0 & _LOW
        k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
    return [c0, c1, c2, c3]


class NoiseStream:
    """Standard normals for samples with given seeds.

    Args:
        seeds: one non-negative integer below 2^64 per sample.
    """

    def __init__(self, seeds: Sequence[int] | np.ndarray) -> None:
        words = np.asarray(seeds, dtype=np.uint64)[:, None]
        self.key = [words & _LOW, words >> _HALF]
        self.n = len(words)

    def draw(self, index: int, shape: Sequence[int]) -> Tensor:
        """Return draw number `index` for every sample, (n, *shape) float64."""
        size = int(np.prod(shape)) if len(shape) else 1
        blocks = -(-size // 4)
        counter = np.arange(blocks, dtype=np.uint64)[None]
        zero = np.zeros((1, 1), dtype=np.uint64)
        words = philox4x32([counter, zero + np.uint64(index), zero, zero], self.key)
        uniform = [(w.astype(np.float64) + 0.5) * 2.0**-32 for w in words]
        normals = []
        for radius, angle in (uniform[:2], uniform[2:]):  # Box-Muller
            length = np.sqrt(-2.0 * np.log(radius))
            normals += [length * np.cos(2 * np.pi * angle), length * np.sin(2 * np.pi * angle)]
        flat = np.stack(normals, axis=-1).reshape(self.n, -1)[:, :size]
        return torch.from_numpy(np.ascontiguousarray(flat)).reshape(self.n, *shape)
