"""The score field of a two-dimensional model at several noise levels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox, IdentityTransform
from numpy.typing import NDArray

from sgm_core.report.canvas import COOL, DARK, DPI, figure, level, text
from sgm_core.report.density import CLOSE, EDGE, Spot, Window, close_up, finite, overview, row, show
from sgm_core.report.trace import Trace, pick
from sgm_core.report.words import plain

Array = NDArray[np.float64]
THICK = 3.6  # pixels at the end of a stroke
FOG = 2.2 / 260  # blur of the density below the strokes, as a share of the panel's side
FIELD: Colormap = LinearSegmentedColormap.from_list(
    "field", colormaps["plasma"](np.linspace(0.34, 1.0, 128))
)


def field_figure(model: Any, trace: Trace, meta: dict[str, Any], real: Array) -> Figure | None:
    """The score field of a two-dimensional model at four noise levels, over the noised density."""
    moments = pick(trace.moments, 4, high=0.7, low=0.02)
    if real.shape[1] != 2 or not moments:
        return None
    real = finite(real)
    whole = overview(real)
    near = close_up(real, whole)
    unit = float(np.mean(np.asarray(meta["scale"], dtype=np.float64)))
    gap, bar = 0.10, 0.95
    side, width = row(len(moments), EDGE + bar, gap)
    drawn = figure(width, side + 0.46 + EDGE, DARK)
    height = drawn.get_size_inches()[1]
    fields = []
    for moment in moments:
        window = near if near is not None and moment.sigma * unit < CLOSE * near.half else whole
        fields.append((moment, window, score_grid(model, moment.t, window)))
    norm = shared_norm([field for _, _, field in fields])
    for column, (moment, window, field) in enumerate(fields):
        x = EDGE + column * (side + gap)
        closer = column + 1 < len(fields) and fields[column + 1][1] is not window
        spot = Spot.inches(x, 0.46, side)
        mark = near if closer else None
        draw_field(drawn, spot, trace.x, moment.sigma, meta, window, field, norm, mark)
        words = level(moment.sigma, first=True) + (", close-up" if window is near else "")
        text(drawn, x / width, 1 - 0.30 / height, words, DARK, size=13, weight="bold")
    _colour_bar(drawn, (1 - (bar - 0.16) / width, 0.12, 0.12 / width, 0.62), norm)
    return drawn


def score_grid(model: Any, t: float, window: Window, cells: int = 44) -> Array:
    """Evaluate the position score on a grid of the window: (cells, cells, 2), rows along y."""
    left, right, bottom, top = window.extent
    x, y = np.meshgrid(np.linspace(left, right, cells), np.linspace(bottom, top, cells))
    points = np.stack([x.ravel(), y.ravel()], axis=1)
    score = np.asarray(model.score(points, t), dtype=np.float64)
    return np.nan_to_num(score.reshape(cells, cells, 2), posinf=0.0, neginf=0.0)


def shared_norm(fields: Sequence[Array]) -> Normalize:
    """One scale of log10 |score| for all panels."""
    logs = np.concatenate([_log_size(field).ravel() for field in fields])
    low, high = np.quantile(logs, [0.02, 0.98])
    return Normalize(float(low), float(max(high, low + 0.1)))


def draw_field(
    drawn: Figure,
    spot: Spot,
    made: Array,
    sigma: float,
    meta: dict[str, Any],
    window: Window,
    field: Array,
    norm: Normalize,
    near: Window | None = None,
    across: int = 21,
) -> None:
    """Strokes along the score, coloured by log norm, over the density of the noised samples.

    A stroke starts thin and ends thick: it points to where the density rises. `near` is outlined.
    """
    rng = np.random.default_rng(0)
    points = np.repeat(finite(made), max(1, 200_000 // max(len(made), 1)), axis=0)
    scale = np.asarray(meta["scale"], dtype=np.float64)
    noised = points + sigma * scale * rng.standard_normal(points.shape)
    show(drawn, spot, noised, window, COOL, near=near, blur=FOG, strength=0.55)
    paths = strokes(field, window, across)
    tall, wide = field.shape[:2]
    size = _log_size(field)
    cell = _cells(paths[:, paths.shape[1] // 2], window, tall, wide).round().astype(int)
    left, _, bottom, _ = window.extent
    low = drawn.get_size_inches()[1] * DPI - spot.top - spot.side
    unit = spot.side / (2 * window.half)
    there = (paths - np.array([left, bottom])) * unit + np.array([spot.left, low])
    shapes = PolyCollection(
        wedges(there, THICK),  # type: ignore[arg-type]  # an array is its fast way
        facecolors=FIELD(norm(size[cell[:, 1], cell[:, 0]]), alpha=0.92),
        linewidths=0,
        transform=IdentityTransform(),
    )
    inner = spot.side - 2  # the hairline stays whole
    shapes.set_clip_box(Bbox.from_bounds(spot.left + 1, low + 1, inner, inner))
    drawn.add_artist(shapes)


def wedges(paths: Array, thick: float) -> Array:
    """Outlines of strokes along paths (n, points, 2) that grow from nothing to `thick`:
    (n, 2 points + 1, 2), round at the end."""
    along = np.gradient(paths, axis=1)
    along /= np.hypot(along[..., 0], along[..., 1])[..., None] + 1e-12
    across = np.stack([-along[..., 1], along[..., 0]], axis=-1)
    half = 0.5 * thick * np.linspace(0.0, 1.0, paths.shape[1])[:, None]
    tip = paths[:, -1:] + 0.5 * thick * along[:, -1:]
    return np.concatenate([paths + half * across, tip, (paths - half * across)[:, ::-1]], axis=1)


def strokes(field: Array, window: Window, across: int, points: int = 15) -> Array:
    """Follow the direction of a field from a staggered grid of starts: (strokes, points, 2).

    All strokes are one arc length long and centred on their start: half of it is walked against
    the field, half along it, by the midpoint rule with bilinear interpolation.
    """
    gap = 2 * window.half / across
    rows, columns = np.meshgrid(np.arange(across), np.arange(across), indexing="ij")
    left, _, bottom, _ = window.extent
    starts = np.stack(
        [
            left + gap * (columns + 0.25 + 0.5 * (rows % 2)).ravel(),
            bottom + gap * (rows + 0.5).ravel(),
        ],
        axis=1,
    )
    unit = field / (np.hypot(field[..., 0], field[..., 1])[..., None] + 1e-12)
    half = points // 2
    step = 0.62 * gap / half
    ways = []
    for sign in (-1.0, 1.0):
        x, path = starts, [starts]
        for _ in range(half):
            ahead = x + 0.5 * step * sign * _interpolate(unit, x, window)
            x = x + step * sign * _interpolate(unit, ahead, window)
            path.append(x)
        ways.append(np.stack(path, axis=1))
    return np.concatenate([ways[0][:, :0:-1], ways[1]], axis=1)


def _cells(x: Array, window: Window, tall: int, wide: int) -> Array:
    """Positions in units of the field's grid, kept inside it."""
    left, _, bottom, _ = window.extent
    unit = (x - np.array([left, bottom])) / (2 * window.half)
    return np.asarray(np.clip(unit, 0, 1) * np.array([wide - 1, tall - 1]))


def _interpolate(field: Array, x: Array, window: Window) -> Array:
    cell = _cells(x, window, *field.shape[:2])
    low = np.minimum(cell.astype(int), np.array([field.shape[1] - 2, field.shape[0] - 2]))
    (i, j), (u, v) = low.T, (cell - low).T[..., None]
    bottom = (1 - u) * field[j, i] + u * field[j, i + 1]
    top = (1 - u) * field[j + 1, i] + u * field[j + 1, i + 1]
    return np.asarray((1 - v) * bottom + v * top)


def _log_size(field: Array) -> Array:
    return np.asarray(np.log10(np.hypot(field[..., 0], field[..., 1]) + 1e-12))


def _colour_bar(drawn: Figure, where: tuple[float, float, float, float], norm: Normalize) -> None:
    axes = drawn.add_axes(where)
    bar = drawn.colorbar(ScalarMappable(norm, FIELD), cax=axes)
    bar.outline.set_visible(False)
    ticks = np.arange(math.ceil(norm.vmin or 0), math.floor(norm.vmax or 0) + 1)
    bar.set_ticks(ticks.tolist(), labels=[plain(10.0**k) for k in ticks])
    axes.tick_params(length=0, colors=DARK.muted, labelsize=10.5)
    text(axes, 0.0, 1.06, "|score|", DARK, colour=DARK.muted, size=12)
