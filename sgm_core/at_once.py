"""Independent pieces of work on several threads, where the cores of this process would idle otherwise.

    with at_once(2):
        for result in in_order(piece, items): ...

Each piece computes as it would alone, with as many threads of torch as its caller has, so that no value
depends on how many are at work at once (what is told of its wall time does). A worker process of a cell
never asks for more than one.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST = 4  # each piece has its own batch in memory
# A piece of a piece finds the default: the threads of a pool begin with an empty context.
_count: ContextVar[int] = ContextVar("at_once", default=1)
_piece = threading.local()


class Abandoned(Exception):
    """Nobody waits for this piece any more."""


@contextmanager
def at_once(count: int) -> Iterator[None]:
    """Let `in_order` work on `count` pieces at once inside, but on no more than MOST."""
    token = _count.set(max(1, min(count, MOST)))
    try:
        yield
    finally:
        _count.reset(token)


def pieces() -> int:
    """Return how many pieces `in_order` works on at once here."""
    return _count.get()


def in_order(piece: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield piece(item) of all items in their order; at most one more than are at work is waiting.

    The first error is raised when its turn comes, and no piece is begun after it; those at work end where
    they next call `go_on`. So it is when the caller is interrupted.
    """
    count = _count.get()
    if count == 1:
        yield from map(piece, items)
        return
    import torch

    over, threads = threading.Event(), torch.get_num_threads()

    def begin() -> None:
        _piece.over = over
        torch.set_num_threads(threads)  # OpenMP's number belongs to the thread that asked for it

    pool = ThreadPoolExecutor(count, "sgm-piece", initializer=begin)
    under_way: deque[Future[Result]] = deque()
    try:
        for item in items:
            under_way.append(pool.submit(piece, item))
            if len(under_way) > count:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        over.set()
        pool.shutdown(cancel_futures=True)


def go_on() -> None:
    """Say that a piece is about to go on with long work.

    Raises:
        Abandoned: nobody waits for it, because another piece failed or the caller was interrupted.
    """
    over = getattr(_piece, "over", None)
    if over is not None and over.is_set():
        raise Abandoned
