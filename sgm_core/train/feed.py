"""Which items a step sees, and their way to the device."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor


class ItemOrder:
    """Which items a step sees: consecutive slices of one random permutation per epoch.

    A function of (seed, step) alone, so that a resumed run needs no saved position.

    Args:
        n: number of items.
        seed: of the permutations, which are drawn on the CPU whatever the device.
        batch: items per step.
        device: where the indices are wanted; a permutation is sent there once an epoch.
    """

    def __init__(self, n: int, seed: int, batch: int, device: torch.device | str = "cpu") -> None:
        self.n, self.seed, self.batch, self.device = n, seed, batch, device
        self._latest: tuple[int, Tensor] | None = None

    def __call__(self, step: int) -> Tensor:
        """Return the indices of one step's items, (batch,) int64."""
        first, last = step * self.batch, (step + 1) * self.batch
        parts = []
        for epoch in range(first // self.n, (last - 1) // self.n + 1):
            start = epoch * self.n
            parts.append(self._permutation(epoch)[max(0, first - start) : last - start])
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _permutation(self, epoch: int) -> Tensor:
        if self._latest is None or self._latest[0] != epoch:
            generator = torch.Generator().manual_seed((self.seed * 1_000_003 + epoch) % 2**63)
            order = torch.randperm(self.n, generator=generator).to(self.device)
            self._latest = (epoch, order)
        return self._latest[1]


class Feed:
    """Batches in storage type on the device; several seeds' batches lie one behind the other.

    Items that do not fit on the device stay on the CPU: a thread then gathers the next step's batch
    in pinned memory while the device works on this one's.

    Args:
        items: (N, *shape), on the device or on the CPU.
        labels: (N,) or None, beside the items.
        seeds: of each order of items.
        batch: items per seed and step.
        device: where batches are wanted.
    """

    def __init__(
        self,
        items: Tensor,
        labels: Tensor | None,
        seeds: Sequence[int],
        batch: int,
        device: torch.device,
    ) -> None:
        self.items, self.labels, self.device = items, labels, device
        self.orders = [ItemOrder(len(items), seed, batch, items.device) for seed in seeds]
        self._ahead: tuple[int, Future[tuple[Tensor, Tensor | None]]] | None = None
        self._thread: ThreadPoolExecutor | None = None
        if items.device != device:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="feed")

    def __call__(self, step: int) -> tuple[Tensor, Tensor | None]:
        """Return a step's items (seeds x batch, *shape) and labels."""
        if self._thread is None:
            return self._gathered(step)
        if self._ahead is None or self._ahead[0] != step:
            self._ahead = (step, self._thread.submit(self._gathered, step))
        x, labels = self._ahead[1].result()
        self._ahead = (step + 1, self._thread.submit(self._gathered, step + 1))
        there = x.to(self.device, non_blocking=True)
        return there, None if labels is None else labels.to(self.device, non_blocking=True)

    def _gathered(self, step: int) -> tuple[Tensor, Tensor | None]:
        orders = [order(step) for order in self.orders]
        index = orders[0] if len(orders) == 1 else torch.cat(orders)
        x = self.items.index_select(0, index)
        labels = None if self.labels is None else self.labels.index_select(0, index)
        if self._thread is not None and self.device.type == "cuda":
            return x.pin_memory(), None if labels is None else labels.pin_memory()
        return x, labels
