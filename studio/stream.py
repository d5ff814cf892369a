"""The events of one request, from the threads that draw to the client."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from studio.draw import event

BEAT = 15.0  # seconds of silence after which a comment keeps proxies from hanging up
LAST = (b"event: done", b"event: error")


class Held:
    """Bytes that clients have not fetched yet, of all requests together.

    Args:
        most: above which a request that adds to them is given up.
    """

    def __init__(self, most: int) -> None:
        self.most, self.bytes = most, 0
        self._lock = threading.Lock()

    def add(self, count: int, always: bool = False) -> bool:
        """Count bytes, positive or negative; return whether there was room for them."""
        with self._lock:
            if count > 0 and self.bytes + count > self.most and not always:
                return False
            self.bytes += count
            return True


class Stream:
    """A queue of events with one reader, filled from any thread.

    Args:
        held: counts what waits in it.
    """

    def __init__(self, held: Held) -> None:
        self.held = held
        self.waiting = 0
        self.closed = False
        self._queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()

    def emit(self, data: bytes) -> bool:
        """Take an event; False: nobody will read it."""
        if self.closed:
            return False
        going_on = self.held.add(len(data))
        if not going_on:  # an error is short, and is told in any case
            data = event("error", {"detail": "frames are not fetched fast enough; ask for fewer"})
            self.held.add(len(data), always=True)
        try:
            self._loop.call_soon_threadsafe(self._put, data)
        except RuntimeError:  # the loop is gone, and with it the client
            return False
        return going_on

    def _put(self, data: bytes) -> None:
        self.waiting += len(data)
        self._queue.put_nowait(data)
        if self.closed:
            self.close()

    async def events(self, first: bytes) -> AsyncIterator[bytes]:
        """Yield events until the last one of a request."""
        yield first
        while True:
            try:
                async with asyncio.timeout(BEAT):
                    data = await self._queue.get()
            except TimeoutError:
                yield b": waiting\n\n"
                continue
            self._count(-len(data))
            yield data
            if data.startswith(LAST):
                return

    def close(self) -> None:
        """Forget what waits: nobody reads it any more."""
        self.closed = True
        self._count(-self.waiting)

    def _count(self, count: int) -> None:
        self.waiting += count
        self.held.add(count)


class EventStream(StreamingResponse):
    """An answer of Server-Sent Events.

    Args:
        events: what is sent.
        end: is called when the last byte was sent, or the client left, or nothing could be sent.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[bytes], end: Callable[[], None]) -> None:
        super().__init__(events, headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        self.end = end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self.end()
