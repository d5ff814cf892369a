"""The pictures of one model, and the wide one for a title page.

samples.png      real beside generated
trajectory.png   states x_t and predictions x_0 from noise to data
field.png        the score field at several noise levels (two-dimensional points only)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from sgm_core.report import field, images, points
from sgm_core.report.canvas import COOL, DARK, DPI, MADE, REAL, figure, level, place, save, text
from sgm_core.report.density import EDGE, Spot, close_up, finite, overview, show
from sgm_core.report.trace import Trace, pick, record

POINTS_IN_TRAJECTORY = 5000
IMAGES_IN_TRAJECTORY = 3


def cell_pictures(model: Any, dataset: Any, samples: Any, out: Path) -> list[Path]:
    """Draw samples.png, trajectory.png and, for points in the plane, field.png into `out`.

    Of a model whose samples are not finite only samples.png is drawn.

    Args:
        model: a `ScoreModel`; its `sample(n, seed=, batch=, callback=)` gives the trajectory and
            `score(x, t)` the field.
        dataset: a `Dataset`; real items come from its test split, in the data's own range.
        samples: what `model.sample` returned (`.x`, `.labels`), or an array (n, d) or (n, C, H, W).
        out: an existing folder.

    Returns:
        the files written.
    """
    out = Path(out)
    x = np.asarray(getattr(samples, "x", samples), dtype=np.float64)
    labels = getattr(samples, "labels", None)
    real, real_labels = _real(dataset, len(x))
    trace = record(
        model, POINTS_IN_TRAJECTORY if dataset.kind == "points" else IMAGES_IN_TRAJECTORY
    )
    # The path of a diverged model leads to nothing that can be shown.
    whole = len(finite(trace.x)) > 0
    drawn: dict[str, Figure | None] = {}
    if dataset.kind == "points":
        drawn["samples.png"] = points.samples_figure(real, x)
        if whole:
            drawn["trajectory.png"] = points.trajectory_figure(trace, dataset.meta, real)
            drawn["field.png"] = field.field_figure(model, trace, dataset.meta, real)
    else:
        made_labels = None if labels is None else np.asarray(labels, dtype=np.int64)
        drawn["samples.png"] = images.samples_figure(
            real, real_labels, x, made_labels, dataset.meta
        )
        if whole:
            drawn["trajectory.png"] = images.trajectory_figure(trace, dataset.meta)
    written = []
    for name, picture in drawn.items():
        if picture is not None:
            save(picture, out / name)
            written.append(out / name)
    return written


def hero(model: Any, dataset: Any, path: Path) -> None:
    """Draw the wide title picture: noise becoming data, for points with the field that leads."""
    real, _ = _real(dataset, 20_000)
    if dataset.kind == "points" and dataset.shape == (2,):
        trace = record(model, 8000)
        save(_hero_points(model, trace, dataset.meta, real), path)
    elif dataset.kind == "points":
        save(points.trajectory_figure(record(model, 8000), dataset.meta, real), path)
    else:
        save(_hero_images(record(model, 16), dataset.meta, real), path)


def _hero_points(model: Any, trace: Trace, meta: dict[str, Any], real: Any) -> Figure:
    """Data, states over predictions, and the field at one noise level, on one band."""
    side, gap, top, edge = 1.92, 0.08, 0.46, EDGE
    band = 2 * side + gap
    moments = pick(trace.moments, 5, high=2.5, low=0.004)
    middle = len(moments) * (side + gap) - gap
    width, height = 2 * band + middle + 0.48 + 2 * edge, band + top + edge
    drawn = figure(width, height, DARK)
    real = finite(real)
    whole = overview(real)
    near = close_up(real, whole)
    show(drawn, Spot.inches(edge, top, band), real, whole, COOL, blur=0.8 / 460)
    start = edge + band + 0.24
    points.panels(drawn, moments, meta, real, left=start, bottom=edge, side=side, gap=gap, size=13)
    right = 1 - (band + edge) / width
    window = near or whole
    unit = float(np.mean(np.asarray(meta["scale"], dtype=np.float64)))
    wanted = (0.075 if near else 0.3) * window.half / unit
    at = pick(trace.moments, 1, high=wanted, low=wanted)[0]
    grid = field.score_grid(model, at.t, window)
    field.draw_field(
        drawn,
        Spot.inches(right * width, top, band),
        trace.x,
        at.sigma,
        meta,
        window,
        grid,
        field.shared_norm([grid]),
        across=25,
    )
    line = 1 - 0.30 / height
    text(drawn, edge / width, line, "data", DARK, colour=REAL, size=15, weight="bold")
    words = "score field, " + level(at.sigma, first=True)
    text(drawn, right, line, words, DARK, colour=MADE, size=15, weight="bold")
    return drawn


def _hero_images(trace: Trace, meta: dict[str, Any], real: Any) -> Figure:
    """Real images, states over predictions, generated images."""
    low, high = meta["range"]
    sigmas, states, predictions = images.trajectory_sheets(trace, meta, 6, rows=2, target=80)
    between, top, edge, gutter, columns = 14, 58, 14, 34, 4
    scale = images.enlargement(real.shape, 80)
    real_rgb, made_rgb = images.pixels(real[:16], low, high), images.pixels(trace.x, low, high)
    data, made = (
        [images.mosaic(rgb[i : i + 8], columns, scale) for i in (0, 8)]
        for rgb in (real_rgb, made_rgb)
    )
    tall, block = data[0].shape[:2]
    starts = [edge, edge + block + gutter, edge + block + 2 * gutter + states.shape[1]]
    width, height = starts[2] + block + edge, top + 2 * tall + between + edge
    drawn = figure(width / DPI, height / DPI, DARK)
    for left, pair in zip(starts, (data, (states, predictions), made), strict=True):
        place(drawn, pair[0], left, top)
        place(drawn, pair[1], left, top + tall + between)
    line = 1 - 36 / height
    step = (states.shape[1] + images.GAP) / max(len(sigmas), 1)
    for column, sigma in enumerate(sigmas):
        x = (starts[1] + step * column + (step - images.GAP) / 2) / width
        text(drawn, x, line, level(sigma, first=column == 0), DARK, size=13, ha="center")
    text(drawn, starts[0] / width, line, "data", DARK, colour=REAL, size=15, weight="bold")
    text(drawn, starts[2] / width, line, "generated", DARK, colour=MADE, size=15, weight="bold")
    return drawn


def _real(dataset: Any, wanted: int) -> tuple[Any, Any]:
    """Real items: the test split, with train items behind them where `wanted` needs more."""
    test = dataset.split("test")
    x, labels = np.asarray(test.x, dtype=np.float64), test.labels
    if dataset.kind == "points" and len(x) < wanted:
        train = np.asarray(dataset.split("train").x[: wanted - len(x)], dtype=np.float64)
        x, labels = np.concatenate([x, train]), None
    return x[:wanted] if dataset.kind == "points" else x, labels


__all__ = ["cell_pictures", "hero"]
