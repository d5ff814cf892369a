"""What a person sees of long work: one line per cell.

On a terminal every running cell has a live bar with steps, steps/s, loss and the time that is left;
elsewhere (a log file, DVC's captured output) a line per running cell is printed every few seconds.
All methods may be called from several threads.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

EVERY = 5.0  # seconds between two lines of a cell where there is no terminal
LOG_SECONDS = 15.0  # between two progress lines of a cell in Prefect's log


def logged(log: Any) -> Callable[[dict[str, Any]], None]:
    """Return what writes a cell's events to a log: every message, and progress now and then."""
    last = time.monotonic()

    def tell(event: dict[str, Any]) -> None:
        nonlocal last
        if event.get("event") == "message":
            log.info("%s", event["text"])
        elif event.get("event") == "progress" and time.monotonic() - last > LOG_SECONDS:
            last = time.monotonic()
            log.info("%s", describe(event))

    return tell


class Display:
    """Lines of plain text: what a log file or a pipe gets."""

    def __init__(self, total: int = 0) -> None:
        self.total, self.finished = total, 0
        self._lock = threading.Lock()
        self._printed: dict[str, float] = {}

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def say(self, text: str) -> None:
        """Print one line."""
        with self._lock:
            print(text, flush=True)

    def event(self, cell: str, event: dict[str, Any]) -> None:
        """Show an event of a cell (see `sgm_core.worker`)."""
        if event.get("event") == "message":
            self.say(f"{cell}: {event['text']}")
        elif event.get("event") == "progress":
            now = time.monotonic()
            with self._lock:
                if now - self._printed.setdefault(cell, 0.0) < EVERY:
                    return
                self._printed[cell] = now
            self.say(f"{cell}: {describe(event)}")

    def drop(self, cell: str) -> None:
        """Show nothing more of what was worked on."""

    def done(self, cell: str, text: str) -> None:
        """Show that a cell is finished, and how."""
        with self._lock:
            self.finished += 1
            count = f"[{self.finished}/{self.total}] " if self.total else ""
        self.say(f"{count}{cell}: {text}")


class Live(Display):
    """Bars on a terminal (rich)."""

    def __init__(self, total: int = 0) -> None:
        super().__init__(total)
        from rich.progress import BarColumn, Progress, TextColumn

        self._bars: Progress = Progress(
            TextColumn("{task.description:<24}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[text]}"),
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Live:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def say(self, text: str) -> None:
        self._bars.console.print(text, highlight=False, markup=False)

    def event(self, cell: str, event: dict[str, Any]) -> None:
        if event.get("event") != "progress":
            super().event(cell, event)
            return
        with self._lock:
            if cell not in self._tasks:
                self._tasks[cell] = self._bars.add_task(cell, text="")
            self._bars.update(
                self._tasks[cell],
                completed=event.get("step", 0),
                total=event.get("steps") or 1,
                text=describe(event),
            )

    def drop(self, cell: str) -> None:
        with self._lock:
            if cell in self._tasks:
                self._bars.remove_task(self._tasks.pop(cell))

    def done(self, cell: str, text: str) -> None:
        self.drop(cell)
        super().done(cell, text)


def describe(event: dict[str, Any]) -> str:
    """Return one progress event as text.

    >>> describe({"phase": "train", "step": 50, "steps": 100, "steps_per_s": 25, "eta_s": 2})
    'train 50/100, 25.0 steps/s, 2 s left'
    """
    parts = [f"{event.get('phase', '')} {event.get('step', 0)}/{event.get('steps', '?')}".strip()]
    if event.get("steps_per_s"):
        parts.append(f"{event['steps_per_s']:.1f} steps/s")
    if event.get("loss") is not None:
        parts.append(f"loss {event['loss']:.4g}")
    if event.get("eta_s") is not None:
        parts.append(f"{_duration(event['eta_s'])} left")
    return ", ".join(parts)


def display(total: int = 0) -> Display:
    """Return the display that fits this process's standard output."""
    return Live(total) if sys.stdout.isatty() else Display(total)


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    return f"{whole // 60} min" if whole < 7200 else f"{whole / 3600:.1f} h"
