"""Independent pieces of work on several threads, where the cores of this process would idle otherwise.

    with at_once(2):
        for result in in_order(piece, items): ...

Each piece computes as it would alone, with as many threads of torch as its caller has, so that results
do not depend on how many are at work at once. Worker processes have one core each and never ask for more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

# A piece of a piece finds the default: the threads of a pool begin with an empty context.
_count: ContextVar[int] = ContextVar("at_once", default=1)


@contextmanager
def at_once(count: int) -> Iterator[None]:
    """Let `in_order` work on `count` pieces at once inside."""
    token = _count.set(max(1, count))
    try:
        yield
    finally:
        _count.reset(token)


def in_order(piece: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield piece(item) of all items in their order; at most one more than are at work is waiting.

    The first error is raised when its turn comes, and no piece is begun after it.
    """
    count = _count.get()
    if count == 1:
        yield from map(piece, items)
        return
    import torch

    # OpenMP's number of threads belongs to the thread that asked for it.
    pool = ThreadPoolExecutor(
        count, "sgm-piece", initializer=torch.set_num_threads, initargs=(torch.get_num_threads(),)
    )
    under_way: deque[Future[Result]] = deque()
    try:
        for item in items:
            under_way.append(pool.submit(piece, item))
            if len(under_way) > count:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
