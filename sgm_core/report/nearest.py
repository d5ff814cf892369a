"""The samples of a model that are closest to training images, each above its neighbour.

A copy shows at a glance here; a share of copies is only a number.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sgm_core.report.canvas import DARK, DPI, MADE, REAL, figure, place, save, text
from sgm_core.report.images import enlargement, mosaic, pixels
from sgm_core.report.words import measured

Array = NDArray[Any]
PAIRS = 10
NAME = "nearest.png"


def nearest_picture(data: Any, x: Array, closeness: Array, index: Array, out: Path) -> Path:
    """Draw nearest.png: the ten closest pairs of sample and training image.

    Args:
        data: a `Dataset` of images.
        x: samples (n, C, H, W) in the data's range; at least as many as the rows of `closeness`
            that are to be shown.
        closeness: s(x) of the first samples (see sgm_core.evaluate.manifold), and `index` of the
            training image that each is closest to.
        out: an existing folder.
    """
    rows = np.argsort(closeness[: len(x)], kind="stable")[:PAIRS]
    train = np.asarray(data.split("train").x[np.sort(index[rows])], dtype=np.float64)
    real = train[np.argsort(np.argsort(index[rows], kind="stable"), kind="stable")]
    made = np.asarray(x[rows], dtype=np.float64)
    save(nearest_figure(made, real, closeness[rows], data.meta), out / NAME)
    return out / NAME


def nearest_figure(made: Array, real: Array, closeness: Array, meta: dict[str, Any]) -> Figure:
    """Samples above their nearest training images, the closeness over each pair."""
    low, high = meta["range"]
    scale = enlargement(made.shape, 84)
    top, left, edge, between = 48, 96, 14, 12
    sheets = [mosaic(pixels(x, low, high), len(x), scale) for x in (made, real)]
    tall, wide = sheets[0].shape[:2]
    width, height = left + wide + edge, top + 2 * tall + between + edge
    drawn = figure(width / DPI, height / DPI, DARK)
    for row, (sheet, title, hue) in enumerate(
        zip(sheets, ("sample", "training\nimage"), (MADE, REAL), strict=True)
    ):
        y = top + row * (tall + between)
        place(drawn, sheet, left, y)
        middle = 1 - (y + tall / 2) / height
        text(drawn, (left - 12) / width, middle, title, DARK, colour=hue, size=11, ha="right",
             va="center")  # fmt: skip
    step = (wide + 4) / len(made)
    for column, value in enumerate(closeness):
        x = (left + step * column + (step - 4) / 2) / width
        words = ("s = " if column == 0 else "") + measured(float(value))
        text(drawn, x, 1 - 32 / height, words, DARK, size=11, ha="center")
    return drawn
