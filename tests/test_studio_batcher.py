"""Threads that meet at a network: what each gets, and how often the network is evaluated."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn

from sgm_core.errors import SgmError
from studio.batcher import Batcher, Shared


class Slow(nn.Module):
    """(x + label)^2 sigma, per item; the first call waits until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.seen: list[Tensor] = []

    @property
    def rows(self) -> list[int]:
        return [len(inputs) for inputs in self.seen]

    def forward(self, inputs: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        self.seen.append(inputs)
        self.go.wait(10)
        shift = 0.0 if labels is None else labels[:, None].float()
        return (inputs[:, 0] + shift).square() * sigma[:, None]


@pytest.fixture
def made() -> Iterator[Callable[..., tuple[Batcher, Slow]]]:
    batchers = []

    def make(rows: int = 8, wait: float = 5.0) -> tuple[Batcher, Slow]:
        network = Slow()
        batchers.append(Batcher(network, conditional=True, rows=rows, wait=wait))
        return batchers[-1], network

    yield make
    for batcher in batchers:
        batcher.network.go.set()
        batcher.close(5)


def asked(seed: int, count: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, 1, 3, generator=generator)
    return inputs, torch.rand(count, generator=generator), torch.arange(count) % 4 - 1


def expected(inputs: Tensor, sigma: Tensor, labels: Tensor | None) -> Tensor:
    shift = -1.0 if labels is None else labels[:, None].float()
    return (inputs[:, 0] + shift).square() * sigma[:, None]


def test_walks_that_ask_together_are_evaluated_together(
    made: Callable[..., tuple[Batcher, Slow]],
) -> None:
    """Four walks of five steps, with one, two, ... items: five evaluations, not twenty."""
    batcher, network = made(rows=16)
    network.go.set()
    ready = threading.Barrier(4)

    def walk(number: int) -> bool:
        with batcher.walking():
            ready.wait()
            return all(
                torch.equal(
                    batcher.ask(*(given := asked(9 * number + step, number))), expected(*given)
                )
                for step in range(5)
            )

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(walk, [1, 2, 3, 4]))
    assert network.rows == [10] * 5


def test_a_walk_that_is_alone_waits_for_nobody(made: Callable[..., tuple[Batcher, Slow]]) -> None:
    batcher, network = made(wait=60.0)
    network.go.set()
    given = asked(0, 3)
    with batcher.walking():
        assert torch.equal(batcher.ask(given[0], given[1], None), expected(*given[:2], None))


def test_a_large_request_lets_small_ones_pass(made: Callable[..., tuple[Batcher, Slow]]) -> None:
    batcher, network = made(rows=8, wait=0.0)
    large, small = asked(40, 40), asked(2, 2)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(batcher.ask, *large)
        while not network.rows:  # its first eight items are under way
            time.sleep(0.001)
        second = pool.submit(batcher.ask, *small)
        while len(batcher._asks) < 2:
            time.sleep(0.001)
        network.go.set()
        assert torch.equal(first.result(), expected(*large))
        assert torch.equal(second.result(), expected(*small))
    assert network.rows == [8] * 5 + [2]
    # The second batch holds both items of the small one, and six of the large one.
    for item in small[0]:
        assert (network.seen[1] == item).all(2).any()


def test_gradients_are_those_of_the_network(made: Callable[..., tuple[Batcher, Slow]]) -> None:
    batcher, network = made()
    network.go.set()
    inputs, sigma, labels = asked(0, 5)
    inputs.requires_grad_(True)
    shared = Shared(batcher, lambda: None)
    output = shared(inputs, sigma, labels)
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(1))
    for _ in range(2):  # as often as one likes
        (gradient,) = torch.autograd.grad(output, inputs, weights, retain_graph=True)
        (wanted,) = torch.autograd.grad(expected(inputs, sigma, labels), inputs, weights)
        torch.testing.assert_close(gradient, wanted)
    with torch.no_grad():
        assert torch.equal(shared(inputs, sigma, labels), output.detach())


def test_an_error_reaches_those_who_asked_and_nobody_else(
    made: Callable[..., tuple[Batcher, Slow]],
) -> None:
    batcher, network = made(wait=0.0)
    network.go.set()
    with pytest.raises(IndexError):
        batcher.ask(torch.zeros(2), torch.zeros(2), None)
    given = asked(0, 3)
    assert torch.equal(batcher.ask(*given), expected(*given))
    batcher.close(5)
    with pytest.raises(SgmError, match="no longer served"):
        batcher.ask(*given)


def test_a_walk_that_nobody_wants_ends_at_the_network(
    made: Callable[..., tuple[Batcher, Slow]],
) -> None:
    batcher, network = made()

    def check() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        Shared(batcher, check)(*asked(0, 1))
    assert network.rows == []
