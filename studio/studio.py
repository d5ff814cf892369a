"""The parts of a running server, and how a request goes through them."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from sgm_core.errors import SgmError
from studio.access import Access
from studio.asking import Plan, plan
from studio.catalogue import Catalogue
from studio.draw import event
from studio.limits import Limits
from studio.metrics import Metrics
from studio.runners import Runners
from studio.schemas import Asked
from studio.source import Source
from studio.stream import EventStream, Held, Stream
from studio.version import Networks

CLOSING = "the server is shutting down; ask again later"


class Busy(SgmError):
    """Too many requests are under way; ask again after `seconds`."""

    def __init__(self, sentence: str, seconds: int) -> None:
        super().__init__(sentence)
        self.seconds = seconds


@dataclass(frozen=True)
class Tuning:
    """How the work is shared out.

    Attributes:
        threads: CPU threads of one evaluation of a network.
        runs: runs at once. More give larger evaluations, but samplers are many small steps in Python,
            which threads of one process take from each other: eight runs of eight settings cost twice
            the CPU time of three. Two that are long leave one place for the short.
        rows: items of an evaluation, and samples of a run of several requests, at most.
        wait: seconds that an evaluation waits for other runs.
        poll: seconds between two looks at the source.
    """

    threads: int = 1
    runs: int = 3
    rows: int = 64
    wait: float = 0.002
    poll: float = 5.0


@dataclass
class Studio:
    """One server's state; `start` opens the champions.

    Args:
        source: where versions come from.
        access: who may ask.
        limits, tuning: see there.
    """

    source: Source
    access: Access
    limits: Limits = field(default_factory=Limits)
    tuning: Tuning = field(default_factory=Tuning)

    def __post_init__(self) -> None:
        self.metrics = Metrics()
        tuning = self.tuning
        self.networks = Networks(
            tuning.threads, tuning.rows, tuning.wait, observe=self.metrics.evaluated
        )
        self.catalogue = Catalogue(self.source, self.networks, tuning.poll)
        self.runners = Runners(tuning.runs, tuning.rows, self.metrics.drawn)
        self.held = Held(self.limits.held)
        self.requests = 0  # under way; touched by the event loop only
        self.closing = False
        self.metrics.watch(self.catalogue, lambda: self.requests)

    def start(self) -> None:
        """Open the champions.

        Raises:
            SgmError: there is nothing to serve.
        """
        self.catalogue.start()

    def admit(self) -> None:
        """Count a request in; `EventStream.end` counts it out.

        Raises:
            Busy: there are too many, or the server is shutting down.
        """
        if self.closing:
            raise Busy(CLOSING, 10)
        if self.requests >= self.limits.requests:
            raise Busy(
                f"the server is busy with {self.requests} requests; ask again in a moment", 1
            )
        self.requests += 1

    def answer(self, asked: Asked, stream: Stream) -> Plan:
        """Check a request.

        Raises:
            UsageError: something does not fit.
        """
        return plan(asked, self.catalogue.shelf, self.limits, stream.emit)

    def draw(self, chosen: Plan, stream: Stream) -> EventStream:
        """Have a request drawn, and return the answer that streams its events."""
        draw = chosen.draw

        def end() -> None:
            if not draw.ended:
                self.metrics.left.inc()
            self.runners.drop(draw)
            stream.close()
            self.requests -= 1

        async def events() -> AsyncIterator[bytes]:
            self.runners.submit(draw)
            async for data in stream.events(event("start", chosen.start())):
                yield data

        return EventStream(events(), end)

    def close(self, grace: float) -> None:
        """Take no new requests, and end those that are not done after `grace` seconds."""
        if not self.closing:
            self.closing = True
            timer = threading.Timer(grace, self.runners.close, [CLOSING])
            timer.daemon = True
            timer.start()

    def stop(self) -> None:
        """End the threads: an interpreter that ends under them aborts."""
        self.runners.close(CLOSING)
        self.catalogue.stop()
        self.runners.join(3)
        self.networks.close(1)
