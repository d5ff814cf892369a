"""Pictures of a model of points: real and generated, from noise to data, the score field.

Points of more than two dimensions are shown along the two main axes of the real data (computed
once, used for everything), points of one dimension as histograms.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sgm_core.report.canvas import (
    COOL,
    DARK,
    MADE,
    REAL,
    WARM,
    figure,
    frame,
    level,
    spaced,
    text,
)
from sgm_core.report.density import (
    CLOSE,
    EDGE,
    WIDE,
    Spot,
    Window,
    close_up,
    finite,
    overview,
    row,
    show,
)
from sgm_core.report.trace import Moment, Trace, normalised, pick

Array = NDArray[np.float64]
Project = Callable[[Array], Array]
FINE = 0.8 / 240  # blur of the points in a row of panels, as a share of a panel's side


def projection(real: Array) -> Project:
    """Return the map to the plane: identity in 2-D, the two main axes of `real` above."""
    if real.shape[1] == 2:
        return lambda x: x
    center = real.mean(axis=0)
    axes = np.linalg.svd(real - center, full_matrices=False)[2][:2]
    # An axis has no sign of its own: make its largest entry positive.
    signs = np.sign(axes[np.arange(len(axes)), np.argmax(np.abs(axes), axis=1)])
    return lambda x: (x - center) @ (axes * signs[:, None]).T


def plane_of(real: Array) -> Project:
    """`projection`, and for points of one dimension a fixed scatter beside it."""
    return projection(real) if real.shape[1] > 1 else _with_zero


def samples_figure(real: Array, made: Array) -> Figure:
    """Real beside generated, the same number of each; below a close-up of the densest place."""
    real, made = finite(real), finite(made)
    if real.shape[1] == 1:
        return _histograms(real[:, 0], made[:, 0])
    plane = projection(real)
    n = min(len(real), len(made)) or len(real)
    xy = plane(real)[:n]
    both = ((xy, COOL, REAL, "real"), (plane(made)[:n], WARM, MADE, "generated"))
    whole = overview(xy)
    near = close_up(xy, whole)
    panels = 4 if near else 2
    width = WIDE if near else 9.6
    places = spaced(panels, EDGE / width, 1 - EDGE / width, 0.10 / width)
    side = places[0][1] * width
    height = side + 0.46 + EDGE
    drawn = figure(width, height, DARK)
    windows = [whole, near] if near else [whole]
    for index, window in enumerate(windows):
        for second, (points, colours, hue, title) in enumerate(both):
            left = places[2 * index + second][0]
            strength = 1.0 if index == 0 else 1.3
            spot, mark = Spot.inches(left * width, 0.46, side), near if index == 0 else None
            show(drawn, spot, points, window, colours, near=mark, strength=strength)
            words = f"{title}, {len(points):,} points" if index == 0 else f"{title}, close-up"
            if not len(points):
                words = f"{title}: none is finite"
            top = 1 - 0.28 / height
            text(drawn, left, top, words, DARK, colour=hue, size=13, weight="bold")
    return drawn


def trajectory_figure(trace: Trace, meta: dict[str, Any], real: Array) -> Figure:
    """A row of states and a row of predictions from noise to data, sigma_eff above each."""
    moments = pick(trace.moments, 8, high=4.0, low=0.0)
    side, width = row(max(len(moments), 1), 0.42 + EDGE, 0.08)
    drawn = figure(width, 2 * side + 0.08 + 0.42 + EDGE, DARK)
    for bottom, title in ((EDGE + 0.08 + side, "state"), (EDGE, "prediction")):
        y = (bottom + side / 2) / drawn.get_size_inches()[1]
        text(drawn, 0.19 / width, y, title, DARK, colour=DARK.muted, size=12, ha="center",
             va="center", rotation=90)  # fmt: skip
    panels(drawn, moments, meta, real, left=0.42, bottom=EDGE, side=side, gap=0.08, size=12)
    return drawn


def panels(
    drawn: Figure,
    moments: Sequence[Moment],
    meta: dict[str, Any],
    real: Array,
    *,
    left: float,
    bottom: float,
    side: float,
    gap: float,
    size: float,
) -> None:
    """Draw states above predictions in squares of `side` inches; the camera moves in at the end.

    Below the noise level at which a close-up would be only fog, the panels show the close-up.
    """
    width, height = drawn.get_size_inches()
    real = finite(real)
    plane = plane_of(real)
    whole = overview(plane(real))
    near = close_up(plane(real), whole)
    unit = float(np.mean(np.asarray(meta["scale"], dtype=np.float64)))
    for column, moment in enumerate(moments):
        inside = near is not None and moment.sigma * unit < CLOSE * near.half
        window = near if near is not None and inside else whole
        x = left + column * (side + gap)
        last = window is whole and near is not None and _last_wide(moments, column, near, unit)
        for y, points, colours in (
            (bottom + side + gap, normalised(moment, meta), COOL),
            (bottom, moment.x0, WARM),
        ):
            xy = plane(finite(points))
            spot, mark = Spot.inches(x, height - y - side, side), near if last else None
            show(drawn, spot, xy, window, colours, near=mark, blur=FINE)
        words = level(moment.sigma, first=column == 0)
        top = (bottom + 2 * side + gap + 0.12) / height
        text(drawn, (x + side / 2) / width, top, words, DARK, size=size, ha="center")


def _last_wide(moments: Sequence[Moment], column: int, near: Window, unit: float) -> bool:
    """Tell whether the next panel is the first close-up."""
    later = moments[column + 1].sigma if column + 1 < len(moments) else math.inf
    return later * unit < CLOSE * near.half


def _with_zero(x: Array) -> Array:
    """Give one-dimensional points a second coordinate: a fixed scatter, so that they are seen."""
    spread = float(x.std()) if x.size else 1.0
    return np.concatenate(
        [x, 0.25 * spread * np.random.default_rng(0).standard_normal(x.shape)], axis=1
    )


def _histograms(real: Array, made: Array) -> Figure:
    drawn = figure(9.6, 4.4, DARK)
    axes = drawn.add_axes((0.03, 0.12, 0.94, 0.76))
    low, high = np.quantile(real, [0.001, 0.999]) if real.size else (0.0, 1.0)
    edges = np.linspace(low, high, 90).tolist()
    axes.hist(real, edges, density=True, color=REAL, alpha=0.45, edgecolor="none")
    if made.size:
        axes.hist(made, edges, density=True, histtype="step", color=MADE, linewidth=2)
    frame(axes, DARK)
    axes.tick_params(colors=DARK.muted)
    text(axes, 0.02, 1.04, "real", DARK, colour=REAL, size=13, weight="bold")
    text(axes, 0.98, 1.04, "generated", DARK, colour=MADE, size=13, weight="bold", ha="right")
    return drawn
