"""What one evaluation of a network costs: CPU time, one thread."""

from __future__ import annotations

import time

import torch
from torch import nn

from sgm_core.export.pairs import Pairs

BATCHES = (1, 16)
ROUNDS, SECONDS = 5, 0.04  # of each round


def cpu_ms(net: nn.Module, pairs: Pairs) -> dict[str, float]:
    """Return milliseconds of CPU per evaluation as cpu_ms_1 and cpu_ms_16, by batch size.

    The least of five rounds, which other work on the machine disturbed least.
    """
    return {f"cpu_ms_{size}": 1000 * _seconds(net, pairs, size) for size in BATCHES}


def _seconds(net: nn.Module, pairs: Pairs, size: int) -> float:
    arguments = next(pairs.batches(size))
    found = []
    with torch.no_grad():
        net(*arguments)
        for _ in range(ROUNDS):
            calls, start = 0, time.process_time()
            while (spent := time.process_time() - start) < SECONDS:
                net(*arguments)
                calls += 1
            found.append(spent / max(calls, 1))
    return min(found)
