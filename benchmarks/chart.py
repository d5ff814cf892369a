"""Horizontal bars of contestants, ours first and in colour."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from run import digits

OURS, OTHERS = "#1f6f8b", "#b8c4cc"


def bars(file: Path, title: str, names: Sequence[str], values: Sequence[float]) -> None:
    """Write a PNG with a bar for each name; its value stands at its end."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 0.6 + 0.36 * len(names)), layout="constrained")
    axes = FigureCanvasAgg(figure).figure.add_subplot()
    colours = [OURS if name.startswith("ours") else OTHERS for name in names]
    shown = axes.barh(list(names)[::-1], list(values)[::-1], color=colours[::-1])
    axes.bar_label(shown, fmt=digits, padding=3)
    axes.set_title(title, loc="left", fontsize=10)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.set_xticks([])
    axes.tick_params(left=False)
    axes.margins(x=0.12)
    figure.savefig(file, dpi=110)
