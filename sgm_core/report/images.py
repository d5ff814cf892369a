"""Pictures of a model of images: a grid with a row per class, and the way from noise to data.

Pixels stay pixels: images are enlarged by whole factors without smoothing, and a figure is laid out
so that one picture element of the mosaic is one of the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sgm_core.report.canvas import (
    DARK,
    DPI,
    MADE,
    REAL,
    Pixels,
    figure,
    level,
    place,
    rgb,
    text,
)
from sgm_core.report.trace import Trace, normalised, pick

Array = NDArray[np.float64]
GAP = 4  # pixels between the images of a mosaic


def pixels(x: Array, low: float, high: float) -> Pixels:
    """Turn images (n, C, H, W) in [low, high] into RGB bytes (n, H, W, 3); NaN becomes the middle.

    One channel becomes grey, two show red and green, of four or more the first three are shown.
    """
    unit = np.nan_to_num((x - low) / (high - low), nan=0.5, posinf=1.0, neginf=0.0)
    bytes_ = np.round(np.clip(unit, 0, 1) * 255).astype(np.uint8)
    if bytes_.shape[1] == 1:
        bytes_ = np.repeat(bytes_, 3, axis=1)
    if bytes_.shape[1] == 2:
        bytes_ = np.concatenate([bytes_, np.zeros_like(bytes_[:, :1])], axis=1)
    return np.ascontiguousarray(bytes_[:, :3].transpose(0, 2, 3, 1))


def mosaic(images: Pixels, columns: int, scale: int) -> Pixels:
    """Lay images (n, H, W, 3) out in rows of `columns`, enlarged `scale` times, with gaps."""
    n, height, width, _ = images.shape
    rows = -(-n // columns)
    tall, wide = height * scale, width * scale
    sheet = np.empty((rows * (tall + GAP) - GAP, columns * (wide + GAP) - GAP, 3), dtype=np.uint8)
    sheet[:] = rgb(DARK.paper)
    for index, image in enumerate(images):
        row, column = divmod(index, columns)
        top, left = row * (tall + GAP), column * (wide + GAP)
        large = image.repeat(scale, axis=0).repeat(scale, axis=1)
        sheet[top : top + tall, left : left + wide] = large
    return sheet


def enlargement(shape: Sequence[int], target: int) -> int:
    """The whole factor that brings the longer side nearest to `target` pixels, at least 1."""
    return max(1, round(target / max(shape[-2:])))


def samples_figure(
    real: Array,
    real_labels: NDArray[np.int64] | None,
    made: Array,
    made_labels: NDArray[np.int64] | None,
    meta: dict[str, Any],
) -> Figure:
    """Real images on the left, generated on the right; one row per class where there are labels."""
    low, high = meta["range"]
    names = [str(name) for name in meta["labels"]]
    scale = enlargement(real.shape, 56)
    wide, tall = real.shape[3] * scale + GAP, real.shape[2] * scale + GAP
    few = max(2, min(5, 300 // wide))
    many = max(3, min(16, 1000 // wide))
    if names and real_labels is not None and made_labels is not None:
        shown = [c for c in range(len(names)) if np.any(made_labels == c)][:12]
        left = _by_class(pixels(real, low, high), real_labels, shown, few)
        right = _by_class(pixels(made, low, high), made_labels, shown, many)
        words = [names[c] for c in shown]
    else:
        rows = max(2, min(8, 520 // tall))
        left = _pad(pixels(real[: rows * few], low, high), rows * few)
        right = _pad(pixels(made[: rows * many], low, high), rows * many)
        words = []
    a, b = mosaic(left, few, scale), mosaic(right, many, scale)
    edge = 14
    margin = edge if not words else edge + 12 + int(9.5 * min(16, max(len(w) for w in words)))
    between = 34
    width = margin + a.shape[1] + between + b.shape[1] + edge
    drawn = figure(width / DPI, (a.shape[0] + 58 + edge) / DPI, DARK)
    place(drawn, a, margin, 58)
    place(drawn, b, margin + a.shape[1] + between, 58)
    total = drawn.get_size_inches()[1] * DPI
    for x, title, hue in (
        (margin, "real", REAL),
        (margin + a.shape[1] + between, "generated", MADE),
    ):
        text(drawn, x / width, 1 - 38 / total, title, DARK, colour=hue, size=13, weight="bold")
    for row, name in enumerate(words):
        y = 1 - (58 + row * tall + (tall - GAP) / 2) / total
        short = name if len(name) <= 16 else name[:15] + "…"
        text(drawn, (margin - 12) / width, y, short, DARK, colour=DARK.muted, ha="right",
             va="center")  # fmt: skip
    return drawn


def trajectory_sheets(
    trace: Trace, meta: dict[str, Any], count: int, rows: int, target: int
) -> tuple[list[float], Pixels, Pixels]:
    """Noise levels, and mosaics of states and of predictions with a column per level."""
    low, high = meta["range"]
    moments = pick(trace.moments, count, high=8.0, low=0.03)
    states = [pixels(normalised(m, meta)[:rows], low, high) for m in moments]
    predictions = [pixels(m.x0[:rows], low, high) for m in moments]
    scale = enlargement(trace.x.shape, target)
    columns = max(len(moments), 1)
    sheets = [
        mosaic(np.stack(kind, axis=1).reshape(-1, *kind[0].shape[1:]), columns, scale)
        for kind in (states, predictions)
    ]
    return [m.sigma for m in moments], sheets[0], sheets[1]


def trajectory_figure(trace: Trace, meta: dict[str, Any]) -> Figure:
    """Rows of states and rows of predictions from noise to data, sigma_eff above each column."""
    sigmas, states, predictions = trajectory_sheets(trace, meta, 8, rows=3, target=112)
    left, top, between, edge = 50, 50, 18, 14
    tall, wide = states.shape[:2]
    width, height = left + wide + edge, top + 2 * tall + between + edge
    drawn = figure(width / DPI, height / DPI, DARK)
    place(drawn, states, left, top)
    place(drawn, predictions, left, top + tall + between)
    step = (wide + GAP) / max(len(sigmas), 1)
    for column, sigma in enumerate(sigmas):
        words = level(sigma, first=column == 0)
        x = (left + step * column + (step - GAP) / 2) / width
        text(drawn, x, 1 - 32 / height, words, DARK, size=12, ha="center")
    for row, title in enumerate(("state", "prediction")):
        y = 1 - (top + row * (tall + between) + tall / 2) / height
        text(drawn, 25 / width, y, title, DARK, colour=DARK.muted, size=12, ha="center",
             va="center", rotation=90)  # fmt: skip
    return drawn


def tile(images: Array, meta: dict[str, Any], columns: int = 8, rows: int = 5) -> Pixels:
    """The first images of a model as a mosaic, for pages that show many models."""
    low, high = meta["range"]
    shown = _pad(pixels(images[: columns * rows], low, high), columns * rows)
    return mosaic(shown, columns, enlargement(images.shape, 40))


def _by_class(
    images: Pixels, labels: NDArray[np.int64], classes: Sequence[int], columns: int
) -> Pixels:
    """The first `columns` images of each class, class after class."""
    rows = [_pad(images[labels == c][:columns], columns) for c in classes]
    return np.concatenate(rows) if rows else _pad(images[:columns], columns)


def _pad(images: Pixels, count: int) -> Pixels:
    """Fill up with empty places to `count` images."""
    if len(images) >= count:
        return images[:count]
    empty = np.empty((count - len(images), *images.shape[1:]), dtype=np.uint8)
    empty[:] = rgb(DARK.paper)
    return np.concatenate([images, empty])
