"""One random stream per sample: counter-based normals (Philox4x32-10, Salmon et al. 2011).

Normal number j of draw d for seed s is a pure function of (s, d, j), computed for all samples at
once. A sample's seed therefore gives the same picture at any batch size, on any device, and in any
language that has 32-bit integers.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sgm_core.errors import UsageError

Seeds = int | Sequence[int] | np.ndarray

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
ROUNDS = 10
SEEDS = 2**64  # what the key of Philox4x32 can tell apart


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


def seed_list(seeds: Seeds, n: int, what: str = "sample") -> np.ndarray:
    """Return the seed of each of n items, (n,) uint64.

    Args:
        seeds: one per item; or one number, of which item i gets seeds + i.
        what: the items' name in messages.

    Raises:
        UsageError: their number is wrong, or one of them is no whole number from 0 to 2^64 - 1.
    """
    values = np.asarray(seeds, dtype=object)
    wanted = f"write whole numbers from 0 to {SEEDS - 1}"
    if values.ndim > 1:
        raise UsageError(f"seeds: shape {values.shape} is not valid: give one per {what}")
    numbers = []
    for value in values.flatten():
        try:
            # A bool is an index too, but no seed; 2.0 is none at all.
            number = -1 if isinstance(value, (bool, np.bool_)) else operator.index(value)
        except TypeError:
            number = -1
        if not 0 <= number < SEEDS:
            raise UsageError(f"seeds: {value} is not valid: {wanted}")
        numbers.append(number)
    if values.ndim == 0:
        if numbers[0] + n > SEEDS:
            raise UsageError(f"seeds: {values} leaves no {n} seeds below 2^64: {wanted}")
        numbers = [numbers[0] + i for i in range(n)]
    if len(numbers) != n:
        raise UsageError(f"seeds: {len(numbers)} seeds for {n} {what}s; give one per {what}")
    return np.asarray(numbers, dtype=np.uint64)


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
