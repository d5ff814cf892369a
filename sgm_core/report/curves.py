"""Charts of a whole experiment: loss, quality against NFE, the grid as a heat map, training time.

A process keeps its colour and a network its line style and marker in every chart. Each chart can be
drawn on a light and on a dark ground; pages show the one that the reader's system prefers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from sgm_core.report.canvas import (
    FONT,
    LINES,
    MARKERS,
    Ground,
    chart,
    figure,
    heading,
    text,
)
from sgm_core.report.results import Result, direction, lower_is_better, meaning
from sgm_core.report.words import plain

WIDTH, HEIGHT = 11.0, 5.4
LEFT, RIGHT = 0.085, 0.80  # the legend stands to the right of the chart
SPAN = 4  # values that differ by more than this factor are shown on a log scale


def loss_figure(results: Sequence[Result], ground: Ground) -> Figure:
    """Smoothed loss of every cell over the optimiser steps."""
    drawn, axes = chart_frame(ground, "Training loss", "smoothed", "optimiser step", "loss")
    colours, styles = _keys(results)
    for result in results:
        step = np.array([entry["step"] for entry in result.history], dtype=np.float64)
        loss = np.array([entry["loss"] for entry in result.history], dtype=np.float64)
        good = np.isfinite(loss) & (loss > 0)
        if good.any():
            axes.plot(
                step[good],
                smooth(loss[good]),
                color=ground.colour(colours[result.process]),
                linestyle=LINES[styles[result.net] % len(LINES)],
                linewidth=_width(colours, result),
                solid_capstyle="round",
                marker="o" if good.sum() == 1 else None,  # no line without a second point
            )
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    log_ticks(axes, ("y",))
    _legend(drawn, results, ground, markers=False)
    return drawn


def smooth(values: NDArray[np.float64], share: float = 0.04) -> NDArray[np.float64]:
    """Running mean of the logarithm over `share` of the curve to either side.

    At the steep start the window shrinks evenly on both sides, so that the drop is not levelled;
    at the flat end only its right half is cut, so that the curve does not end in noise.
    """
    half = max(1, int(len(values) * share))
    total = np.concatenate([[0.0], np.cumsum(np.log(values))])
    index = np.arange(len(values))
    reach = np.minimum(index, half)
    first, last = index - reach, np.minimum(index + reach + 1, len(values))
    return np.asarray(np.exp((total[last] - total[first]) / (last - first)))


def nfe_figure(results: Sequence[Result], metric: str, ground: Ground) -> Figure:
    """Quality against network evaluations per sample, with the band of real against real."""
    drawn, axes = chart_frame(
        ground,
        "Quality against sampling cost",
        f"{metric}: {meaning(metric)}; {direction(metric)}",
        "network evaluations per sample",
        metric,
    )
    colours, styles = _keys(results)
    ticks: set[float] = set()
    for result in results:
        curve = [p for p in result.document.get("curve", []) if p.get("value") is not None]
        curve = sorted((p for p in curve if p["metric"] == metric), key=lambda p: p["nfe"])
        if not curve:
            continue
        ticks |= {float(p["nfe"]) for p in curve}
        axes.plot(
            [p["nfe"] for p in curve],
            [p["value"] for p in curve],
            color=ground.colour(colours[result.process]),
            linestyle=LINES[styles[result.net] % len(LINES)],
            marker=MARKERS[styles[result.net] % len(MARKERS)],
            markersize=5 + _width(colours, result),
            markeredgecolor=ground.paper,
            linewidth=_width(colours, result),
        )
    axes.set_xscale("log")
    _quality_axis(axes, results, metric, ground)
    if not ticks:
        axes.text(
            0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", color=ground.muted
        )
    else:
        shown = sorted(ticks) if len(ticks) <= 8 else sorted(ticks)[:: len(ticks) // 6]
        axes.xaxis.set_major_locator(FixedLocator(shown))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: plain(x)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    _legend(drawn, results, ground)
    return drawn


def training_time_figure(
    results: Sequence[Result], metric: str, ground: Ground, cheap: Sequence[Result] = ()
) -> Figure:
    """Quality on the validation split, with its 95 % interval, against seconds of training.

    Args:
        cheap: results of cheap rungs; a line leads from them to the same pair trained in full.
    """
    drawn, axes = chart_frame(
        ground,
        "Quality against training time",
        f"{metric} on the validation split with its 95 % interval; {direction(metric)}",
        "seconds of training",
        metric,
    )
    colours, styles = _keys([*results, *cheap])
    ways: dict[tuple[str, str], dict[int, list[tuple[float, float]]]] = {}
    for result in (*cheap, *results):
        value = result.value(metric, split="validation")
        seconds = float(result.summary.get("train_seconds", math.nan))
        if not (math.isfinite(value) and math.isfinite(seconds)):
            continue
        way = ways.setdefault((result.process, result.net), {})
        way.setdefault(result.steps, []).append((seconds, value))
        colour = ground.colour(colours[result.process])
        ends = [result.value(metric, end, "validation") for end in ("low", "high")]
        if all(map(math.isfinite, ends)):
            axes.plot([seconds] * 2, ends, color=colour, linewidth=1.6, alpha=0.7)
        axes.plot(
            [seconds],
            [value],
            linestyle="none",
            marker=MARKERS[styles[result.net] % len(MARKERS)],
            color=colour,
            markersize=6 if result in cheap else 9,
            markeredgecolor=ground.paper,
            markeredgewidth=1.2,
        )
    for (process, net), way in ways.items():
        means = [np.mean(points, axis=0) for _, points in sorted(way.items())]
        if len(means) > 1:
            style = LINES[styles[net] % len(LINES)]
            axes.plot(*np.transpose(means), color=ground.colour(colours[process]), linestyle=style,
                      linewidth=1.2, alpha=0.8, zorder=1)  # fmt: skip
    _quality_axis(axes, results, metric, ground)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.4g}"))
    axes.margins(x=0.12)
    _legend(drawn, [*results, *cheap], ground, lines=bool(cheap))
    return drawn


def _width(colours: Mapping[str, int], result: Result) -> float:
    """Later processes are thinner, so that one that coincides with an earlier one rims it."""
    return 1.7 + 0.8 * min(len(colours) - 1 - colours[result.process], 4)


def chart_frame(
    ground: Ground, title: str, subtitle: str, xlabel: str, ylabel: str
) -> tuple[Figure, Axes]:
    """Return a figure with a title and axes that leave room for a legend to their right."""
    drawn = figure(WIDTH, HEIGHT, ground)
    heading(drawn, ground, title, subtitle, 0.02)
    axes = drawn.add_axes((LEFT, 0.13, RIGHT - LEFT, 0.72))
    chart(axes, ground, xlabel=xlabel, ylabel=ylabel)
    return drawn, axes


def _quality_axis(axes: Axes, results: Sequence[Result], metric: str, ground: Ground) -> None:
    """Log scale where the values need and allow it, and the band of real against real."""
    rows = [row for r in results if (row := r.row(metric)) and row.get("floor") is not None]
    band: tuple[float, float] | None = None
    if rows:
        floor = float(rows[0]["floor"])
        ends = (rows[0].get("floor_low"), rows[0].get("floor_high"))
        band = (float(floor if ends[0] is None else ends[0]),
                float(floor if ends[1] is None else ends[1]))  # fmt: skip
    numbers = [float(v) for line in axes.lines for v in np.asarray(line.get_ydata())]
    values = [float(v) for line in axes.lines if line.get_marker() != "None"
              for v in np.asarray(line.get_ydata())]  # fmt: skip
    positive = bool(numbers) and min(numbers) > 0 and lower_is_better(metric)
    logs = positive and max(values) > SPAN * min(values)
    if logs:
        axes.set_yscale("log")
    if band is not None:
        low = band[0] if not logs or band[0] > 0 else min(numbers) / 3
        top = max(band[1], low)
        axes.axhspan(low, top, color=ground.muted, alpha=0.16, linewidth=0)
        axes.axhline(top, color=ground.muted, linewidth=0.8, alpha=0.6)
    if logs:  # an interval or a floor that nearly reaches 0 must not squeeze everything else
        axes.set_ylim(bottom=max(axes.get_ylim()[0], min(values) / 10))
        log_ticks(axes, ("y",))
    elif positive and (band is None or band[0] >= 0):
        axes.set_ylim(bottom=0)
    if band is not None:
        left, shift = free_place(axes, top)
        axes.annotate(
            "real against real", (left, top), (0, shift),
            xycoords=("axes fraction", "data"), textcoords="offset points",
            ha="left", va="top" if shift < 0 else "bottom",
            fontsize=9.5, fontfamily=FONT, color=ground.muted,
        )  # fmt: skip


def free_place(axes: Axes, y: float) -> tuple[float, int]:
    """Where, along the line at y, a label meets the fewest curves: (left edge, points above y)."""
    inverse = axes.transAxes.inverted()
    parts = []
    for line in axes.lines:
        if line.get_transform() == axes.transData and len(data := np.asarray(line.get_xydata())):
            ends = inverse.transform(axes.transData.transform(data))
            share = np.linspace(0, 1, 50 * len(ends))
            at = np.linspace(0, 1, len(ends))
            parts.append(np.stack([np.interp(share, at, ends[:, i]) for i in (0, 1)], axis=1))
    points = np.concatenate([*parts, np.empty((0, 2))])
    level = float(inverse.transform(axes.transData.transform((axes.get_xlim()[0], y)))[1])
    places = [(left, shift) for shift in (-4, 4) for left in (0.85, 0.01, 0.43, 0.64, 0.22)]

    def met(place: tuple[float, int]) -> int:
        low = level - 0.06 if place[1] < 0 else level
        across = (points[:, 0] > place[0] - 0.02) & (points[:, 0] < place[0] + 0.16)
        inside = across & (points[:, 1] > low) & (points[:, 1] < low + 0.06)
        return int(inside.sum()) + 1000 * (not 0 <= low <= 0.94)

    return min(places, key=met)


def log_ticks(axes: Axes, which: Iterable[str]) -> None:
    """Plain numbers at 1, 2 and 5 of each decade; at every digit where the range is short."""
    for name in which:
        axis = axes.yaxis if name == "y" else axes.xaxis
        low, high = axis.get_view_interval()
        subs = (1, 2, 5) if high > 6 * low > 0 else (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9)
        axis.set_major_locator(LogLocator(base=10, subs=subs, numticks=12))
        axis.set_major_formatter(FuncFormatter(lambda v, _: plain(v)))
        axis.set_minor_formatter(NullFormatter())


def _keys(results: Sequence[Result]) -> tuple[dict[str, int], dict[str, int]]:
    """Numbers of processes and networks in the order of their first appearance in the grid."""
    processes = list(dict.fromkeys(r.process for r in results))
    nets = list(dict.fromkeys(r.net for r in results))
    return {p: i for i, p in enumerate(processes)}, {n: i for i, n in enumerate(nets)}


def _legend(
    drawn: Figure,
    results: Sequence[Result],
    ground: Ground,
    *,
    lines: bool = True,
    markers: bool = True,
) -> None:
    """Two short lists outside the chart: colours are processes, styles are networks."""
    colours, styles = _keys(results)
    y, x, handle = 0.84, RIGHT + 0.03, 0.036
    for title, entries in (("process", colours), ("network", styles)):
        text(drawn, x, y, title, ground, size=10, colour=ground.muted)
        y -= 0.052
        for name, index in entries.items():
            process = title == "process"
            ink = ground.colour(index) if process else ground.ink
            style = LINES[0 if process else index % len(LINES)]
            height = [y + 0.012] * 2
            if process or lines:
                bar = Line2D([x, x + handle], height, color=ink, linestyle=style)
                bar.set_linewidth(3 if process else 2)
                drawn.add_artist(bar)
            if markers and not process:
                dot = Line2D([x + handle / 2], height[:1], color=ink, linestyle="none")
                dot.set_marker(MARKERS[index % len(MARKERS)])
                drawn.add_artist(dot)
            short = name if len(name) <= 15 else name[:14] + "…"
            text(drawn, x + handle + 0.01, y, short, ground, size=11)
            y -= 0.052
        y -= 0.03
