r"""The ranks of one training: processes that share every step's batch, on a device each.

    loss = \sum_r (n_r / B) loss_r,     loss_r the mean over the n_r items of rank r, B = \sum_r n_r

Every rank makes the draws of one process (items, times, noise, dropped labels of the whole batch, all
from the same generator) and takes its slice, so that the loss curve is that of one process at the same
batch, up to the order of summation. Gradients are averaged by DistributedDataParallel. Masks of
dropout cannot be the same; they are a function of (seed, rank, step), so that a resumed run has them.
"""

from __future__ import annotations

import datetime
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from sgm_core.objective import Batch

TIMEOUT = datetime.timedelta(minutes=10)  # that a rank waits for the slowest


class Ranks:
    """This process's place among the ranks of a training.

    Args:
        rank, world: 0 <= rank < world.
        meeting: a file that does not exist yet, the same for all ranks.
        device: where this rank computes.
    """

    def __init__(self, rank: int, world: int, meeting: Path, device: torch.device) -> None:
        self.rank, self.world, self.device = rank, world, device
        dist.init_process_group(
            "nccl" if device.type == "cuda" else "gloo",
            init_method=f"file://{meeting}",
            rank=rank,
            world_size=world,
            timeout=TIMEOUT,
        )
        # What is agreed on the CPU waits for no GPU.
        self._control: Any = dist.new_group(backend="gloo", timeout=TIMEOUT)

    def wrap(self, net: nn.Module) -> nn.Module:
        """The network whose backward pass averages the gradients over the ranks."""
        device = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(
            net, device_ids=device, broadcast_buffers=False, gradient_as_bucket_view=True
        )

    def share(self, batch: Batch, labels: Tensor | None) -> tuple[Batch, Tensor | None]:
        """This rank's slice of a batch that all ranks have drawn."""
        part = self._slice(len(batch.inputs))
        values: list[Any] = [getattr(batch, field.name) for field in fields(batch)]
        mine: list[Any] = [None if value is None else value[part] for value in values]
        return Batch(*mine), None if labels is None else labels[part]

    def weighted(self, loss: Tensor, n: int) -> Tensor:
        """A mean over this rank's slice as its part of the mean over n items, times `world`."""
        part = self._slice(n)
        return loss * (self.world * (part.stop - part.start) / n)

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a value over the ranks."""
        total = value.detach().clone()
        dist.all_reduce(total)
        return total / self.world

    def seed(self, seed: int, step: int) -> None:
        """Start the stream of dropout anew for a step."""
        torch.manual_seed((seed * 1_000_003 + step * self.world + self.rank) % 2**63)

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any rank; all ranks get the same answer."""
        return self.sum(float(flag)) > 0

    def sum(self, value: float) -> float:
        """The sum of a number over the ranks."""
        total = torch.tensor([value], dtype=torch.float64)
        dist.all_reduce(total, group=self._control)
        return float(total)

    def leave(self) -> None:
        """End the group; every rank has to call it."""
        dist.barrier(group=self._control)
        dist.destroy_process_group()

    def _slice(self, n: int) -> slice:
        return slice(n * self.rank // self.world, n * (self.rank + 1) // self.world)
