"""Quality against NFE of the chosen cell under each sampler, as a chart (sampler_table: the numbers)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

from sgm_core.report.canvas import FONT, LINES, MARKERS, Ground, text
from sgm_core.report.curves import RIGHT, chart_frame, log_ticks
from sgm_core.report.results import (
    SAMPLERS_TITLE,
    direction,
    lower_is_better,
    meaning,
    sampler_rows,
)
from sgm_core.report.words import plain

SPAN = 4
SHORT = 19


def samplers_figure(document: Mapping[str, Any] | None, metric: str, ground: Ground) -> Figure:
    """Draw the chart; without a measurement it says so.

    Args:
        document: samplers.json, or None.
        metric: the one that ranks cells, if it is of samples.
    """
    drawn, axes = chart_frame(
        ground,
        SAMPLERS_TITLE,
        f"{metric}: {meaning(metric)}; {direction(metric)}",
        "network evaluations per sample",
        metric,
    )
    rows = sampler_rows(document, metric)
    if not rows:
        text(axes, 0.5, 0.5, "not measured", ground, colour=ground.muted, ha="center")
        return drawn
    values = [row["value"] for row in rows]
    ticks = sorted({row["nfe"] for row in rows})
    for place, name in enumerate(dict.fromkeys(row["sampler"] for row in rows)):
        own = sorted((row for row in rows if row["sampler"] == name), key=lambda row: row["nfe"])
        colour = ground.colour(place)
        axes.plot(
            [row["nfe"] for row in own],
            [row["value"] for row in own],
            color=colour,
            linestyle=LINES[place // 8 % len(LINES)],
            marker=_marker(place),
            markersize=6.5,
            markeredgecolor=ground.paper,
            linewidth=2.8 if name == (document or {}).get("sampler") else 1.6,
        )
        y = 0.84 - 0.052 * place
        short = name if len(name) <= SHORT else name[: SHORT - 1] + "…"
        mark = Line2D([RIGHT + 0.045], [y + 0.012], color=colour, linestyle="none")
        mark.set_marker(_marker(place))
        drawn.add_artist(mark)
        text(drawn, RIGHT + 0.062, y, short, ground, size=10.5)
    axes.set_xscale("log")
    if min(values) > 0 and lower_is_better(metric) and max(values) > SPAN * min(values):
        axes.set_yscale("log")
        log_ticks(axes, ("y",))
    floor = next((row["floor"] for row in rows if row.get("floor") is not None), None)
    if floor is not None and floor > 0:
        axes.axhline(floor, color=ground.muted, linewidth=0.8, alpha=0.7)
        axes.annotate("real against real", (0.99, floor), (0, 4), ha="right",
                      xycoords=("axes fraction", "data"), textcoords="offset points",
                      fontsize=9.5, fontfamily=FONT, color=ground.muted)  # fmt: skip
    shown = ticks if len(ticks) <= 8 else ticks[:: len(ticks) // 6]
    axes.xaxis.set_major_locator(FixedLocator(shown))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: plain(x)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    return drawn


def _marker(place: int) -> str:
    """Colours repeat after eight series; the marker of a colour is another one then."""
    return MARKERS[(place + place // 8) % len(MARKERS)]
