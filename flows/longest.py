"""Which cell is worked on next: the longest, so that none is left to run alone at the end.

What a cell will cost is told by finished ones of its process and network, or else of its network; one
of which nothing is known comes first, since it tells of others. (Longest processing time first ends within
4/3 of the best order; Graham, SIAM J. Appl. Math. 17, 1969.)
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING

from sgm_core.store.files import canonical_json

if TYPE_CHECKING:
    from sgm_core.cell import Outcome
    from sgm_core.job import Job
    from sgm_core.spec import CellSpec


class Costs:
    """CPU seconds a training step of finished cells, their evaluation included."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[float, int]] = {}  # their sum, and of how many cells
        self._kinds: dict[
            str, tuple[bytes, bytes]
        ] = {}  # by cell: every turn looks at all that wait
        self._guard = threading.Lock()

    def add(self, outcome: Outcome) -> None:
        """Learn from a finished cell."""
        rate = seconds_of(outcome, "cpu_seconds") / outcome.spec.training["steps"]
        with self._guard:
            for kind in self._of(outcome.spec):
                total, count = self._known.get(kind, (0.0, 0))
                self._known[kind] = (total + rate, count + 1)

    def longest(self, waiting: Mapping[str, Job]) -> str:
        """Return the name of the cell that will take longest; of equal ones the first."""
        with self._guard:
            return max(waiting, key=lambda name: self._expected(waiting[name].spec))

    def _expected(self, spec: CellSpec) -> float:
        for kind in self._of(spec):
            if kind in self._known:
                total, count = self._known[kind]
                return total / count * float(spec.training["steps"])
        return math.inf

    def _of(self, spec: CellSpec) -> tuple[bytes, bytes]:
        """Whose cost a cell's is like: those of its process and network, and those of its network."""
        if spec.name not in self._kinds:
            pair = canonical_json([spec.process, spec.net])
            self._kinds[spec.name] = pair, canonical_json(spec.net)
        return self._kinds[spec.name]


def seconds_of(outcome: Outcome, unit: str) -> float:
    """Return what a cell and its evaluation took, as "seconds" or "cpu_seconds" of their entries.

    Of a cell that was trained with others the entry's seconds are those of all.
    """
    cell, evaluation = outcome.cell.manifest, outcome.evaluation.manifest
    together = cell["summary"].get("trained_together", 1)
    # Entries of earlier releases tell wall seconds only.
    training, measuring = (float(m.get(unit, m["seconds"])) for m in (cell, evaluation))
    return training / together + measuring
