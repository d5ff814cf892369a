"""What one request, and all of them together, may cost."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Limits of the server.

    Attributes:
        n: samples of a request.
        steps: steps of a request.
        numbers: numbers in the samples of a request, n times those of an item.
        frame_numbers: numbers in all x_t that a request has sent as frames (and as many in x_0).
        requests: requests that are drawn or wait at the same time; more are refused (429).
        seconds: of a request, from its admission to its last event.
        body: bytes of a request's body.
        held: bytes of events that clients have not fetched yet, of all requests together.
    """

    n: int = 4096
    steps: int = 1000
    numbers: int = 2**18
    frame_numbers: int = 2**22
    requests: int = 128
    seconds: float = 120.0
    body: int = 4 * 2**20
    held: int = 256 * 2**20

    def most(self, size: int) -> int:
        """Return how many items of `size` numbers a request may ask for."""
        return max(1, min(self.n, self.numbers // size))
