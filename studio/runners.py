"""Who draws: a few threads, each with one run at a time; a run draws for many requests at once.

A sampler costs about as much for one sample as for sixty (its tables, its noise, its Python). So
requests that wait and have the same recipe become one run: the first free thread takes the one that
has waited longest, and with it all others of the same recipe that fit. Runs of different recipes go
on side by side and meet at the network (`studio.batcher`).

Of one recipe at most `PER_RECIPE` runs are under way: who comes later waits for the next run, which
is then large, and does not slow the others by a run of its own.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np

from sgm_core.control.api import edit, inpaint, interpolate
from sgm_core.errors import SgmError
from sgm_core.generate import SampleResult
from studio.batcher import Shared
from studio.draw import Change, Draw, Hole, Left, Path, Recipe, sentence

log = logging.getLogger("studio")

PER_RECIPE = 2
# told of every run: the requests in it, and its seconds
Observe = Callable[[list[Draw], float], None]


class Runners:
    """The threads that draw.

    Args:
        threads: runs at once.
        rows: samples of a run of several requests, at most; a single request may have more.
        observe: told of every run.
    """

    def __init__(self, threads: int, rows: int, observe: Observe = lambda draws, seconds: None):
        self.rows, self.observe = rows, observe
        self._waiting: list[Draw] = []
        self._running: Counter[Recipe] = Counter()
        self._draws: set[Draw] = set()
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._serve, name=f"studio-run-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, draw: Draw) -> None:
        """Have a request drawn; its events come through `draw.emit`."""
        with self._changed:
            if self._closed:
                return draw.fail("the server is shutting down; ask again later")
            self._waiting.append(draw)
            self._draws.add(draw)
            self._changed.notify()

    def drop(self, draw: Draw) -> None:
        """Forget a request whose client is gone; a run that only it waited for ends."""
        draw.leave()
        with self._changed:
            self._draws.discard(draw)
            if draw in self._waiting:
                self._waiting.remove(draw)

    def close(self, why: str) -> None:
        """Take nothing more, and tell every request that is not done why."""
        with self._changed:
            self._closed = True
            left, self._waiting = list(self._draws), []
            self._changed.notify_all()
        for draw in left:
            draw.fail(why)

    def join(self, seconds: float) -> None:
        """Wait until the runs have seen that nobody wants them, at most so long."""
        end = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    # -- the threads -----------------------------------------------------------------------------

    def _serve(self) -> None:
        while True:
            with self._changed:
                while not (draws := self._take()) and not self._closed:
                    self._changed.wait()
                if not draws:
                    return
            try:
                self._run(draws)
            finally:
                with self._changed:
                    self._running -= Counter([draws[0].recipe])
                    self._draws.difference_update(draws)
                    self._changed.notify_all()

    def _take(self) -> list[Draw]:
        """Take the request that has waited longest and may start, and those that go with it."""
        for first in self._waiting:
            recipe = first.recipe
            if self._running[recipe] >= PER_RECIPE:
                continue
            draws, total = [first], first.n
            for draw in self._waiting:
                if draw is not first and draw.recipe == recipe and total + draw.n <= self.rows:
                    draws.append(draw)
                    total += draw.n
            self._waiting = [draw for draw in self._waiting if draw not in draws]
            self._running[recipe] += 1
            return draws
        return []

    def _run(self, draws: list[Draw]) -> None:
        start = time.monotonic()
        try:
            result = _drawn(draws)
        except Left:
            return
        except Exception as error:
            if not isinstance(error, SgmError):
                log.exception("a run failed")
            for draw in draws:
                draw.fail(sentence(error))
            return
        seconds, first = time.monotonic() - start, 0
        for draw in draws:
            draw.seconds = seconds
            draw.finish(result.x[first : first + draw.n], result.nfe)
            first += draw.n
        self.observe(draws, seconds)


def _drawn(draws: list[Draw]) -> SampleResult:
    """Draw for requests of one recipe.

    Raises:
        Left: none of them is wanted any more.
    """
    recipe, total = draws[0].recipe, sum(draw.n for draw in draws)

    def check() -> None:
        wanted = [draw for draw in draws if draw.wanted()]  # each is told where its time is over
        if not wanted:
            raise Left

    check()
    with ExitStack() as stack:
        network = stack.enter_context(recipe.opened.network(recipe.variant))
        stack.enter_context(network.batcher.walking())
        model = network.model(Shared(network.batcher, check))
        given: dict[str, Any] = {**recipe.arguments(), "batch": total}
        if any(draw.every for draw in draws):
            given["callback"] = _frames(draws)
        seeds = np.concatenate([draw.seeds for draw in draws])
        labels = None
        if draws[0].labels is not None:
            labels = np.concatenate([draw.labels for draw in draws if draw.labels is not None])
        label, first = -1 if labels is None else labels, int(seeds[0])
        match draws[0].task:
            case Hole(image, known):
                return inpaint(model, image, known, n=total, seed=first, label=label, **given)
            case Change(image, strength):
                return edit(model, image, strength, n=total, seed=first, label=label, **given)
            case Path(one, other):
                return interpolate(model, one, other, total, label=label, **given)
        return model.sample(total, seed=seeds, label=labels, **given)


def _frames(draws: list[Draw]) -> Callable[..., None]:
    """Return the sampler's callback, which gives every request its part of the arrays."""

    def report(step: int, steps: int, t: float, sigma: float, x_t: Any, x_0: Any) -> None:
        first = 0
        for draw in draws:
            part = slice(first, first + draw.n)
            draw.frame(step, steps, t, sigma, x_t[part], x_0[part])
            first += draw.n

    return report
