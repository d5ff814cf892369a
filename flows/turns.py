"""Turns: a cell becomes a task when a slot is free for it, so that Prefect calls running what runs.

A turn ends with the work of its cell. What is then told of the cell, to MLflow and Prefect, keeps no slot
waiting: the next cell is worked on meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

TELLING = 4  # cells whose work is done and that are still being told of


class Turns:
    """As many turns at once as there are slots."""

    def __init__(self, slots: int) -> None:
        self._free = threading.Semaphore(slots)
        self._held: set[str] = set()

    def take(self, choose: Callable[[], str]) -> str:
        """Wait for a turn, and return the name of the cell that is chosen for it then."""
        self._free.acquire()
        name = choose()
        self._held.add(name)
        return name

    def give(self, name: str, _: object = None) -> None:
        """End the turn of a cell; nothing if it has ended already."""
        with suppress(KeyError):
            self._held.remove(name)
            self._free.release()
