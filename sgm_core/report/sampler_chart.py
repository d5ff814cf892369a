"""Quality against NFE of the chosen cell under each sampler: a chart and a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

from sgm_core.report import markdown
from sgm_core.report.canvas import FONT, LINES, MARKERS, Ground, text
from sgm_core.report.curves import RIGHT, chart_frame, log_ticks
from sgm_core.report.results import direction, lower_is_better, meaning
from sgm_core.report.words import measured, plain

TITLE = "The chosen cell under every sampler"
TEXT = (
    "Validation split, the same seeds for every sampler and number of steps, with 95 % bootstrap "
    "intervals; options are the samplers' defaults, but for the cell's own sampler."
)
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
        TITLE,
        f"{metric}: {meaning(metric)}; {direction(metric)}",
        "network evaluations per sample",
        metric,
    )
    rows = _rows(document, metric)
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


def markdown_section(document: Mapping[str, Any] | None, metric: str) -> str:
    """The table as Markdown; "" without a measurement."""
    rows = _rows(document, metric)
    if not rows:
        return ""
    head, lines = _table(rows, metric)
    cells = [[markdown.escape(cell) for cell in line] for line in lines]
    return f"## {TITLE}\n\n{TEXT}\n\n{markdown.table(head, cells, 'lrrrr')}"


def html_section(document: Mapping[str, Any] | None, metric: str) -> str:
    """The table as HTML, to stand below the chart; "" without a measurement."""
    rows = _rows(document, metric)
    if not rows:
        return ""
    head, lines = _table(rows, metric)
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in line) + "</tr>" for line in lines
    )
    return (
        f'<p class="quiet">{TEXT}</p><div class="card scroll"><table><thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _rows(document: Mapping[str, Any] | None, metric: str) -> list[dict[str, Any]]:
    if document is None:
        return []
    known = [row for row in document["rows"] if row["value"] is not None]
    return [row for row in known if row["metric"] == metric]


def _table(rows: Sequence[Mapping[str, Any]], metric: str) -> tuple[list[str], list[list[str]]]:
    head = ["sampler", "NFE", metric, "CPU s / sample", "s / sample"]
    lines = [
        [
            str(row["sampler"]),
            str(row["nfe"]),
            markdown.with_interval(row["value"], row["low"], row["high"]),
            measured(float(row["cpu_seconds_per_sample"])),
            measured(float(row["seconds_per_sample"])),
        ]
        for row in rows
    ]
    return head, lines
