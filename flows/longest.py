"""Which cell is worked on next: the longest, so that none is left to run alone at the end.

What a cell will cost is told by finished ones of its process and network, or else of its network; one
of which nothing is known comes first, since it tells of others. (Longest processing time first ends within
4/3 of the best order; Graham, SIAM J. Appl. Math. 17, 1969.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import fmean
from typing import TYPE_CHECKING

from sgm_core.store.files import canonical_json

if TYPE_CHECKING:
    from sgm_core.cell import Outcome
    from sgm_core.job import Job
    from sgm_core.spec import CellSpec


class Costs:
    """CPU seconds a training step of finished cells, their evaluation included."""

    def __init__(self) -> None:
        self._known: dict[bytes, list[float]] = {}

    def add(self, outcome: Outcome) -> None:
        """Learn from a finished cell."""
        spec, cell = outcome.spec, outcome.cell
        together = cell.manifest["summary"].get("trained_together", 1)
        seconds = _seconds(cell.manifest) / together + _seconds(outcome.evaluation.manifest)
        for kind in _kinds(spec):
            self._known.setdefault(kind, []).append(seconds / spec.training["steps"])

    def longest(self, waiting: Mapping[str, Job]) -> str:
        """Return the name of the cell that will take longest; of equal ones the first."""
        return max(waiting, key=lambda name: self._expected(waiting[name].spec))

    def _expected(self, spec: CellSpec) -> float:
        known = next((self._known[kind] for kind in _kinds(spec) if kind in self._known), None)
        return math.inf if known is None else fmean(known) * spec.training["steps"]


def _kinds(spec: CellSpec) -> tuple[bytes, bytes]:
    """Whose cost a cell's is like: those of its process and network, and those of its network."""
    return canonical_json([spec.process, spec.net]), canonical_json(spec.net)


def _seconds(manifest: Mapping[str, float]) -> float:
    return manifest.get("cpu_seconds", manifest["seconds"])
