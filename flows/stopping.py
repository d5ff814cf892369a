"""Executors that pass SIGTERM and Ctrl-C on to what they have started.

After SIGTERM the process ends within EXIT_SECONDS whatever hangs, such as an upload to a server that
does not answer: nothing that it holds is lost (see docs/operations.md), and whoever sent the signal
sends SIGKILL next.
"""

from __future__ import annotations

import signal
import threading
from abc import ABC, abstractmethod
from types import FrameType, TracebackType
from typing import Any, Self

from sgm_core.ending import EXIT_SECONDS, exit_within

# Signals that work was stopped for. A library may catch the exception that a signal raises in its midst;
# the work is stopped all the same, and the command must not call that a failure.
asked: set[int] = set()


class Stoppable(ABC):
    """As a context manager in the main thread: a signal stops the work, then takes its usual course."""

    def __init__(self) -> None:
        self._previous: dict[int, Any] = {}

    @abstractmethod
    def stop(self) -> None:
        """End what runs, and start nothing more; returns at once and may be called from a signal."""

    @abstractmethod
    def close(self) -> None:
        """`stop`, and wait until everything has ended."""

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        while self._previous:
            number, handler = self._previous.popitem()
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        self.close()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        asked.add(number)
        self.stop()
        handler = self._previous.get(number)
        if number == signal.SIGTERM and handler != signal.SIG_IGN:
            exit_within(EXIT_SECONDS, 128 + number)
        if callable(handler):
            handler(number, frame)
        elif handler != signal.SIG_IGN:
            raise SystemExit(128 + number)
