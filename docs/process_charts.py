"""Draws W2 against evaluations for every sampler, one panel per process."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator
from process_numbers import Curve

from sgm_core.report.canvas import FONT, LIGHT, LINES, chart, figure, heading, text
from sgm_core.report.words import plain

# Label: colour, line, marker. A sampler keeps its colour, its options change the line.
STYLES: dict[str, tuple[str, int, str]] = {
    "euler_maruyama": (LIGHT.series[6], 0, "o"),
    "predictor_corrector": (LIGHT.series[5], 0, "P"),
    "ancestral": (LIGHT.series[0], 0, "s"),
    "ddim": (LIGHT.series[1], 0, "D"),
    "ddim, eta 0.5": (LIGHT.series[1], 1, "D"),
    "multistep": (LIGHT.series[2], 0, "^"),
    "multistep, order 3": (LIGHT.series[2], 1, "^"),
    "multistep, order 4": (LIGHT.series[2], 2, "^"),
    "multistep, eta 0.5": (LIGHT.series[2], 3, "^"),
    "multistep_sde": (LIGHT.series[3], 0, "v"),
    "heun": (LIGHT.series[4], 0, "X"),
    "heun, s_churn 20": (LIGHT.series[4], 1, "X"),
    "sscs": (LIGHT.series[7], 0, "o"),
    "sscs2": (LIGHT.series[7], 1, "o"),
    "ode": (LIGHT.ink, 2, "*"),
}
NAMES = {
    "vp": "VP",
    "flow": "rectified flow",
    "cld": "CLD",
    "hold3": "HOLD3",
}
WIDTH, HEIGHT = 11.0, 8.7
LEFT, RIGHT = 0.075, 0.775


def convergence_figure(curves: Mapping[str, Mapping[str, Curve]]) -> Figure:
    """Draw four processes' curves, {process: {label: [(evaluations, error)]}}."""
    made = figure(WIDTH, HEIGHT, LIGHT)
    heading(
        made, LIGHT, "Distance to the exact law against the cost of sampling",
        "Gaussian data, exact denoiser, equal steps in ln sigma_eff down to 0.05: "
        "the error is the sampler's alone", 0.022,
    )  # fmt: skip
    width, height = (RIGHT - LEFT - 0.055) / 2, 0.365
    for i, (process, found) in enumerate(curves.items()):
        column, row = i % 2, i // 2
        box = (LEFT + column * (width + 0.055), 0.53 - row * 0.455, width, height)
        axes = made.add_axes(box)
        xlabel = "evaluations of the denoiser" if row else ""
        chart(axes, LIGHT, xlabel=xlabel, ylabel="" if column else "W2")
        panel(axes, found)
        text(axes, 0.98, 0.93, NAMES[process], LIGHT, size=12, weight="bold", ha="right")
    legend(made, [label for label in STYLES if any(label in found for found in curves.values())])
    return made


def panel(axes: Axes, found: Mapping[str, Curve]) -> None:
    """Draw one process."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    for label, curve in found.items():
        colour, line, marker = STYLES[label]
        axes.plot(
            [n for n, _ in curve], [e for _, e in curve], color=colour, linestyle=LINES[line],
            marker=marker, markersize=7.5 if marker == "*" else 5, linewidth=1.6,
            markeredgecolor=LIGHT.paper, markeredgewidth=0.6,
        )  # fmt: skip
    axes.set_xlim(8.5, 800)
    axes.set_ylim(4e-9, 1.5)
    axes.xaxis.set_major_locator(FixedLocator([10, 20, 50, 100, 200, 500]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: plain(x)))
    axes.yaxis.set_major_locator(LogLocator(base=10, subs=(1,), numticks=12))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"1e{round(_power(y))}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    for name in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        name.set_fontfamily(FONT)
    # What a slope means: lines of order 1 to 4 in the corner that no curve reaches.
    first, start, span = 13.0, 4e-7, 2.6
    for order in (1, 2, 3, 4):
        end = start * span**-order
        axes.plot([first, first * span], [start, end], color=LIGHT.muted, linewidth=0.8)
        axes.annotate(
            f"order {order}" if order == 1 else str(order), (first * span, end), (4, 0),
            textcoords="offset points", va="center", fontsize=8.5, fontfamily=FONT,
            color=LIGHT.muted,
        )  # fmt: skip


def _power(value: float) -> int:
    return len(f"{value:.0f}") - 1 if value >= 1 else int(f"{value:.0e}".split("e")[1])


def legend(made: Figure, labels: list[str]) -> None:
    """List the samplers beside the panels."""
    y, x = 0.88, RIGHT + 0.025
    text(made, x, y, "sampler", LIGHT, size=10, colour=LIGHT.muted)
    for label in labels:
        y -= 0.033
        colour, line, marker = STYLES[label]
        bar = Line2D([x, x + 0.042], [y + 0.006] * 2, color=colour, linestyle=LINES[line])
        bar.set_linewidth(1.8)
        made.add_artist(bar)
        dot = Line2D([x + 0.021], [y + 0.006], color=colour, marker=marker, linestyle="none")
        dot.set_markersize(8 if marker == "*" else 6)
        dot.set_markeredgecolor(LIGHT.paper)
        dot.set_markeredgewidth(0.6)
        made.add_artist(dot)
        text(made, x + 0.052, y, label, LIGHT, size=10.5)
