"""One network, evaluated by one thread for everybody who asks at the moment.

Samplers walk step by step, each in a thread of its own, with its own sampler, grid and number of
steps. Where they need the network they meet: what waits is put together into one batch, evaluated
once, and handed back. The rendezvous ends when all walks that are under way have asked, or when the
first of them has waited for `wait` seconds; a walk that is alone waits for nobody.

Each item's output is a function of that item alone (networks normalise per item), so that a sample
depends on its neighbours by the rounding of another batch size only.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from sgm_core.errors import SgmError

# rows, seconds of an evaluation of the network
Observe = Callable[[int, float], None]


@dataclass(eq=False)
class Ask:
    """What one walk asks for: F at some items or, with `weights`, the gradient of weights . F.

    Shapes: inputs (B, in, *shape), sigma (B,), labels (B,) or None, weights (B, *shape) or None.
    """

    inputs: Tensor
    sigma: Tensor
    labels: Tensor | None
    weights: Tensor | None
    taken: int = 0  # rows that are under way or done
    done: int = 0
    answer: Tensor | None = None
    error: BaseException | None = None
    finished: threading.Event = field(default_factory=threading.Event)

    @property
    def left(self) -> int:
        """Rows that nobody has taken yet."""
        return len(self.inputs) - self.taken


Piece = tuple[Ask, slice]


class Batcher:
    """A network that many threads evaluate at once.

    Args:
        network: F(inputs, sigma, labels); differentiable if gradients are asked for.
        conditional: whether it takes labels; -1 stands for those that were not given.
        rows: items of a batch, at most.
        wait: seconds that the first waits for the others.
        observe: told of every evaluation.
    """

    def __init__(
        self,
        network: nn.Module,
        conditional: bool,
        rows: int = 64,
        wait: float = 0.002,
        observe: Observe = lambda rows, seconds: None,
    ) -> None:
        self.network, self.conditional = network, conditional
        self.rows, self.wait, self.observe = rows, wait, observe
        self.walks = 0
        self._asks: list[Ask] = []
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="studio-network", daemon=True)
        self._thread.start()

    @contextmanager
    def walking(self) -> Iterator[None]:
        """Within this block the calling thread is one of those that the others wait for."""
        with self._changed:
            self.walks += 1
        try:
            yield
        finally:
            with self._changed:
                self.walks -= 1
                self._changed.notify_all()

    def ask(
        self, inputs: Tensor, sigma: Tensor, labels: Tensor | None, weights: Tensor | None = None
    ) -> Tensor:
        """Return F at some items, or the gradient of weights . F with respect to the inputs.

        Raises:
            SgmError: the batcher was closed.
            Exception: whatever the network raised.
        """
        ask = Ask(inputs.detach(), sigma.detach(), labels, weights)
        with self._changed:
            if self._closed:
                raise SgmError("this version is no longer served; ask again")
            self._asks.append(ask)
            self._changed.notify_all()
        ask.finished.wait()
        if ask.error is not None:
            raise ask.error
        assert ask.answer is not None
        return ask.answer

    def close(self, seconds: float = 0.0) -> None:
        """End the thread, once everything that was asked is answered; wait for it at most so long."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(seconds)

    # -- the thread ------------------------------------------------------------------------------

    def _serve(self) -> None:
        while True:
            with self._changed:
                while not self._asks and not self._closed:
                    self._changed.wait()
                if not self._asks:
                    return
                self._meet()
                pieces = self._take()
            try:
                self._evaluate(pieces)
            except BaseException as error:
                for ask in {id(ask): ask for ask, _ in pieces}.values():
                    self._fail(ask, error)

    def _meet(self) -> None:
        """Wait until everybody has asked, a batch is full, or the time is over."""
        end = time.monotonic() + self.wait
        while len(self._asks) < self.walks and sum(ask.left for ask in self._asks) < self.rows:
            left = end - time.monotonic()
            if left <= 0 or self._closed:
                return
            self._changed.wait(left)

    def _take(self) -> list[Piece]:
        """Fill a batch: everybody gets an equal share, and what is left over goes by turn.

        Values and gradients do not mix; the one who has waited longest decides.
        """
        gradient = self._asks[0].weights is not None
        same = [ask for ask in self._asks if (ask.weights is not None) == gradient]
        share, free, pieces = max(1, self.rows // len(same)), self.rows, []
        for most in (share, self.rows):
            for ask in same:
                count = min(ask.left, most, free)
                if count:
                    pieces.append((ask, slice(ask.taken, ask.taken + count)))
                    ask.taken, free = ask.taken + count, free - count
        # Who is not done is asked last in the next batch.
        self._asks = [a for a in self._asks if not a.taken] + [
            a for a in self._asks if a.taken and a.left
        ]
        return pieces

    def _evaluate(self, pieces: list[Piece]) -> None:
        start = time.perf_counter()
        inputs = torch.cat([ask.inputs[part] for ask, part in pieces])
        sigma = torch.cat([ask.sigma[part] for ask, part in pieces])
        labels = torch.cat([self._labels(ask, part) for ask, part in pieces])
        given = labels if self.conditional else None
        weights = [ask.weights[part] for ask, part in pieces if ask.weights is not None]
        if weights:
            answer = self._gradient(inputs, sigma, given, torch.cat(weights))
        else:
            with torch.no_grad():
                answer = self.network(inputs, sigma, given)
        self.observe(len(inputs), time.perf_counter() - start)
        first = 0
        for ask, part in pieces:
            count = part.stop - part.start
            self._hand(ask, part, answer[first : first + count])
            first += count

    def _gradient(
        self, inputs: Tensor, sigma: Tensor, labels: Tensor | None, weights: Tensor
    ) -> Tensor:
        with torch.enable_grad():
            inputs = inputs.requires_grad_(True)
            output = self.network(inputs, sigma, labels)
            (gradient,) = torch.autograd.grad(output, inputs, weights)
        return gradient

    @staticmethod
    def _labels(ask: Ask, part: slice) -> Tensor:
        if ask.labels is None:
            return torch.full((part.stop - part.start,), -1, dtype=torch.int64)
        return ask.labels[part]

    @staticmethod
    def _hand(ask: Ask, part: slice, rows: Tensor) -> None:
        """Give back some rows of an answer."""
        if len(rows) == len(ask.inputs):
            ask.answer = rows
        else:
            if ask.answer is None:
                ask.answer = rows.new_empty(len(ask.inputs), *rows.shape[1:])
            ask.answer[part] = rows
        ask.done += len(rows)
        if ask.done == len(ask.inputs):
            ask.finished.set()

    def _fail(self, ask: Ask, error: BaseException) -> None:
        with self._changed:
            self._asks = [other for other in self._asks if other is not ask]
        ask.error = error
        ask.finished.set()


class Shared(nn.Module):
    """A walk's view of a batcher: a network, differentiable in its inputs, that may be left.

    Args:
        batcher: who evaluates.
        check: called before every evaluation; raises to end the walk.
    """

    def __init__(self, batcher: Batcher, check: Callable[[], None]) -> None:
        super().__init__()
        self.batcher, self.check = batcher, check
        # What asks a network for its dtype and device finds them.
        self.like = nn.Parameter(torch.empty(0), requires_grad=False)

    def forward(self, inputs: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        self.check()
        if inputs.requires_grad and torch.is_grad_enabled():
            return _Asked.apply(inputs, self, sigma, labels)  # type: ignore[no-any-return]
        return self.batcher.ask(inputs, sigma, labels)


class _Asked(torch.autograd.Function):
    """F with both passes at the batcher; the backward pass evaluates F once more.

    No graph is kept between the two, so that memory does not grow with the number of walks.
    """

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        inputs: Tensor,
        shared: Shared,
        sigma: Tensor,
        labels: Tensor | None,
    ) -> Tensor:
        ctx.asked = inputs.detach(), shared, sigma, labels  # type: ignore[attr-defined]
        return shared.batcher.ask(inputs, sigma, labels)

    @staticmethod
    def backward(  # type: ignore[override]
        ctx: torch.autograd.function.FunctionCtx, weights: Tensor
    ) -> tuple[Tensor, None, None, None]:
        inputs, shared, sigma, labels = ctx.asked  # type: ignore[attr-defined]
        shared.check()
        return shared.batcher.ask(inputs, sigma, labels, weights), None, None, None
