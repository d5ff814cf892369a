"""Measures contestants side by side: short blocks in turn, CPU seconds, ratios within a round.

On shared cores the speed of the machine changes from second to second; what two contestants take in
neighbouring blocks of one process does not differ by that, and the median over rounds drops strays.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

Seconds = dict[str, list[float]]


def cpu_seconds(
    contestants: Mapping[str, Callable[[], object]], rounds: int, block: int = 1
) -> Seconds:
    """Return CPU seconds per call of each contestant, one number a round, after one round to warm up."""
    seconds: Seconds = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name, call in contestants.items():
            start = time.process_time()
            for _ in range(block):
                call()
            if number:
                seconds[name].append((time.process_time() - start) / block)
    return seconds


def ratio(seconds: Seconds, slower: str, faster: str) -> float:
    """Median over rounds of seconds(slower) / seconds(faster): how many times as fast."""
    pairs = zip(seconds[slower], seconds[faster], strict=True)
    return statistics.median(a / b for a, b in pairs)


def table(seconds: Seconds, own: str) -> list[dict[str, object]]:
    """Return a row per contestant: its median CPU milliseconds, and how much faster `own` is."""
    return [
        {
            "name": name,
            "ms": 1e3 * statistics.median(values),
            "own_is_faster_by": ratio(seconds, name, own),
        }
        for name, values in seconds.items()
    ]
