"""What the pictures of a report show, in values that another process can have: no parameters, whose
classes a user's own modules may define, and no table, which would cost it the import of pandas."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sgm_core.report.results import Result

if TYPE_CHECKING:
    from sgm_core.report.content import Content

LIGHT, DARK, CELLS = "light", "dark", "cells"
PARTS = (LIGHT, DARK, CELLS)
SIDE_BY_SIDE = "side_by_side.png"
MOST_SHOWN = 48  # cells with a picture of their samples

Pictures = Mapping[str, Mapping[str, bytes]]  # part -> {name: PNG}


@dataclass(frozen=True)
class Scene:
    """What is drawn.

    Attributes:
        results: cells that may be chosen, in grid order.
        tried: those of the cheap rungs; `left_out`: of them, what no finalist came of.
        shown: those whose samples are shown, best first.
        processes: labels of the grid, as `nets`.
        metric: the ranking metric.
        best: name of the chosen cell.
        samplers: samplers.json of the chosen cell, if it was measured.
    """

    results: Sequence[Result]
    tried: Sequence[Result]
    left_out: Sequence[Result]
    shown: Sequence[Result]
    processes: Sequence[str]
    nets: Sequence[str]
    metric: str
    best: str | None
    samplers: Mapping[str, Any] | None

    @classmethod
    def of(cls, content: Content) -> Scene:
        """Return what the pictures of a report show."""
        from sgm_core.report.rungs import left_out

        return cls(
            content.results,
            [result for rung in content.cheap for result in rung],
            left_out(content.cheap, content.results),
            content.ranked[:MOST_SHOWN],
            list(content.experiment.processes),
            list(content.experiment.nets),
            content.metric,
            content.choice.cell,
            content.samplers,
        )


Draw = Callable[[Scene, Sequence[str]], Pictures]  # the pictures of these parts


def draw_here(scene: Scene, parts: Sequence[str]) -> Pictures:
    """Draw the parts one after the other in this process.

    Raises:
        SgmError: the samples of a cell cannot be read.
    """
    from sgm_core.report.drawing import draw

    return {part: draw(scene, part) for part in parts}
