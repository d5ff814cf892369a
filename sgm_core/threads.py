"""How many threads torch computes with, and how many pieces are worked on at once, for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sgm_core.at_once import at_once
from sgm_core.device import cores


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Compute with `count` threads inside: sums, and so results, depend on their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def every_core(threads: int = 1) -> Iterator[None]:
    """Work inside on as many pieces at once as there are cores for (see `at_once`).

    Args:
        threads: of torch and of NumPy's linear algebra, for each piece.
    """
    from threadpoolctl import threadpool_limits

    # Two pieces whose products each ask for all cores take twice as long as with one thread each.
    with (
        torch_threads(threads),
        threadpool_limits(threads, "blas"),
        at_once(cores() // threads),
    ):
        yield
