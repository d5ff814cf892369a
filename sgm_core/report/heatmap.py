"""The grid of an experiment as a heat map: processes across, networks down."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from sgm_core.report.canvas import FONT, Ground, figure, heading
from sgm_core.report.results import Result, direction, lower_is_better
from sgm_core.report.words import measured


def heatmap_figure(
    results: Sequence[Result],
    processes: Sequence[str],
    nets: Sequence[str],
    metric: str,
    best: str | None,
    ground: Ground,
) -> Figure:
    """The grid process x network: value and interval as text, shade by value, the best outlined.

    The numbers are those that rank cells: of the validation split. With several seeds a field shows
    their mean and their range; a pair that a cheap rung left out shows what it reached there.
    """
    wide, tall = 2.05, 0.92
    margin = 0.5 + 0.105 * max(len(name) for name in nets)
    width = max(margin + wide * len(processes) + 0.3, 6.6)
    height = 1.08 + tall * len(nets) + 0.2
    drawn = figure(width, height, ground)
    many = any(len(_cells(results, p, n)) > 1 for p in processes for n in nets)
    what = "mean and range over the seeds" if many else "value and 95 % interval"
    heading(
        drawn,
        ground,
        f"{metric} by process and network",
        f"validation split, {what}; {direction(metric)}",
        0.25 / width,
    )
    axes = drawn.add_axes(
        (margin / width, 0.14 / height, wide * len(processes) / width, tall * len(nets) / height)
    )
    axes.set_xlim(0, len(processes))
    axes.set_ylim(len(nets), 0)
    axes.axis("off")
    fields = {(p, n): _cells(results, p, n) for p in processes for n in nets}
    means = [np.mean([_value(r, metric) for r in cells]) for cells in fields.values() if cells]
    known = [float(m) for m in means if math.isfinite(m)]
    norm = _shade(known)
    full = max((r.steps for r in results), default=0)
    logs = bool(known) and min(known) > 0
    shades = LinearSegmentedColormap.from_list(
        "quality", ["#0b6e99", "#8cc6de", "#eef4f7"] if ground.name == "light"
        else ["#2f9fce", "#1d5677", "#172338"],
    )  # fmt: skip
    for column, process in enumerate(processes):
        for row, net in enumerate(nets):
            cells = fields[process, net]
            values = [_value(r, metric) for r in cells]
            mean = float(np.mean(values)) if values else math.nan
            level = norm(math.log(mean) if logs else mean) if math.isfinite(mean) else math.nan
            if math.isfinite(level) and not lower_is_better(metric):
                level = 1 - level
            _field(axes, column, row, ground, shades(level) if math.isfinite(level) else None,
                   any(r.name == best for r in cells))  # fmt: skip
            _field_text(axes, column, row, ground, _words(cells, metric, full), level)
    for column, process in enumerate(processes):
        _write(axes, column + 0.5, -0.10, process, ground.ink, va="baseline")
    for row, net in enumerate(nets):
        _write(axes, -0.06, row + 0.5, net, ground.ink, ha="right")
    return drawn


def _cells(results: Sequence[Result], process: str, net: str) -> list[Result]:
    return [r for r in results if r.process == process and r.net == net]


def _shade(values: Sequence[float]) -> Normalize:
    if not values:
        return Normalize(0, 1)
    scale = [math.log(v) for v in values] if min(values) > 0 else list(values)
    return Normalize(min(scale), max(max(scale), min(scale) + 1e-9))


def _value(result: Result, metric: str) -> float:
    return result.value(metric, split="validation")


def _words(cells: Sequence[Result], metric: str, full: int) -> tuple[str, str]:
    """The two lines of a field: the number, and its interval, its range or its steps."""
    if not cells:
        return "—", "no result"
    values = [_value(r, metric) for r in cells]
    if not all(map(math.isfinite, values)):
        return "—", "not finite"
    if len(cells) > 1:
        return measured(
            float(np.mean(values))
        ), f"{measured(min(values))} to {measured(max(values))}"
    if cells[0].steps < full:
        return measured(values[0]), f"after {cells[0].steps:,} steps"
    low, high = (cells[0].value(metric, end, "validation") for end in ("low", "high"))
    known = math.isfinite(low) and math.isfinite(high)
    return measured(values[0]), f"{measured(low)} to {measured(high)}" if known else ""


def _field(axes: Axes, column: int, row: int, ground: Ground, colour: Any, best: bool) -> None:
    axes.add_patch(
        Rectangle(
            (column + 0.025, row + 0.05),
            0.95,
            0.90,
            facecolor=ground.panel if colour is None else colour,
            edgecolor=ground.ink if best else ground.line,
            linewidth=2.4 if best else 0.8,
            hatch="////" if colour is None else None,
            zorder=3 if best else 2,
        )
    )


def _field_text(
    axes: Axes, column: int, row: int, ground: Ground, words: tuple[str, str], level: float
) -> None:
    strong = math.isfinite(level) and level < 0.38
    ink = "#ffffff" if strong or ground.name == "dark" else ground.ink
    for dy, line, size, weight in (
        (0.42, words[0], 14, "bold"),
        (0.72, words[1], 10, "normal"),
    ):
        _write(axes, column + 0.5, row + dy, line, ink, size=size, weight=weight)


def _write(
    axes: Axes,
    x: float,
    y: float,
    words: str,
    colour: str,
    *,
    size: float = 12,
    weight: str = "normal",
    ha: str = "center",
    va: str = "center",
) -> None:
    """Text at data coordinates, above the fields."""
    axes.text(
        x,
        y,
        words,
        ha=ha,
        va=va,
        fontsize=size,
        fontfamily=FONT,
        fontweight=weight,
        color=colour,
        zorder=4,
        parse_math=False,
    )
