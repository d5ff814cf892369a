"""The same seeds in several cells: what another process or network makes of the same noise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sgm_core.report import images, points
from sgm_core.report.canvas import DARK, DPI, MADE, figure, frame, place, text
from sgm_core.report.density import finite, overview
from sgm_core.report.results import Result
from sgm_core.report.tiles import samples_of

Array = NDArray[np.float64]
CELLS, SEEDS, DOTS = 8, 12, 24
NAME_WIDTH = 0.105  # inches a letter


def side_by_side_figure(results: Sequence[Result]) -> Figure:
    """Draw a row of images per cell with a column per seed, or a panel of points per cell in which
    equal colours are equal seeds.

    Args:
        results: cells, the best first; the first eight are shown.
    """
    shown = list(results)[:CELLS]
    clouds = [samples_of(result) for result in shown]
    if not shown:
        drawn = figure(6.0, 1.2, DARK)
        text(drawn, 0.5, 0.45, "no cell is finished", DARK, colour=DARK.muted, ha="center")
        return drawn
    if shown[0].config["data"]["kind"] == "images":
        return _rows(shown, clouds)
    return _panels(shown, clouds)


def _rows(shown: Sequence[Result], clouds: Sequence[Array]) -> Figure:
    scale = images.enlargement(clouds[0].shape, 56)
    sheets = []
    for result, x in zip(shown, clouds, strict=True):
        low, high = result.config["data"]["range"]
        sheets.append(images.mosaic(images.pixels(x[:SEEDS], low, high), SEEDS, scale))
    left = 20 + int(NAME_WIDTH * DPI * max(len(result.name) for result in shown))
    tall, wide = sheets[0].shape[:2]
    width, top, edge, gap = left + wide + 14, 44, 14, 6
    height = top + len(shown) * (tall + gap) + edge
    drawn = figure(width / DPI, height / DPI, DARK)
    for row, (result, sheet) in enumerate(zip(shown, sheets, strict=True)):
        y = top + row * (tall + gap)
        place(drawn, sheet, left, y)
        middle = 1 - (y + tall / 2) / height
        text(drawn, (left - 12) / width, middle, result.name, DARK, colour=MADE, size=10.5,
             ha="right", va="center")  # fmt: skip
    first = int(shown[0].document.get("seed", 0))
    words = f"one seed a column, from {first}"
    text(drawn, left / width, 1 - 28 / height, words, DARK, colour=DARK.muted, size=11)
    return drawn


def _bulk(xy: Array) -> Array:
    """The points without the strays that would make everything else small."""
    low, high = np.quantile(xy, [0.02, 0.98], axis=0)
    return np.asarray(xy[((xy >= low) & (xy <= high)).all(axis=1)])


def _panels(shown: Sequence[Result], clouds: Sequence[Array]) -> Figure:
    columns = min(4, len(shown))
    rows = -(-len(shown) // columns)
    side, top, edge, gap = 2.9, 0.34, 0.12, 0.10
    width = 2 * edge + columns * side + (columns - 1) * gap
    height = edge + rows * (side + top) + 0.30
    drawn = figure(width, height, DARK)
    known = next((finite(x) for x in clouds if len(finite(x)) > 1), np.zeros((2, 2)))
    plane = points.plane_of(known)
    window = overview(_bulk(plane(known)))
    for index, (result, x) in enumerate(zip(shown, clouds, strict=True)):
        row, column = divmod(index, columns)
        left = (edge + column * (side + gap)) / width
        bottom = 1 - (0.30 + (row + 1) * (side + top)) / height
        axes = drawn.add_axes((left, bottom, side / width, side / height))
        xy = plane(finite(x[:4000]))
        axes.scatter(xy[:, 0], xy[:, 1], s=0.6, c=DARK.muted, alpha=0.35, linewidths=0)
        dots = plane(np.nan_to_num(x[:DOTS], nan=1e9, posinf=1e9, neginf=-1e9))
        axes.scatter(dots[:, 0], dots[:, 1], s=26, c=np.arange(len(dots)), cmap="turbo",
                     edgecolors=DARK.paper, linewidths=0.7)  # fmt: skip
        axes.set_xlim(window.x - window.half, window.x + window.half)
        axes.set_ylim(window.y - window.half, window.y + window.half)
        frame(axes, DARK)
        text(axes, 0.0, 1.03, result.name, DARK, colour=MADE, size=10.5)
    words = "large dots: the first seeds, in the same order of colours in every cell"
    text(drawn, edge / width, 1 - 0.22 / height, words, DARK, colour=DARK.muted, size=10.5)
    return drawn
