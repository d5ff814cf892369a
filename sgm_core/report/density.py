"""Points as light: a two-dimensional histogram, slightly blurred and tone-mapped.

A scatter plot of ten thousand points is either a blot or a fog. Counting the points per pixel,
blurring by about a pixel and mapping c to 1 - exp(-c / c_0) keeps single points visible where they
are few and shows structure where they are many, whatever their number.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from sgm_core.report.canvas import DARK, DPI, Pixels, place, rgb

Array = NDArray[np.float64]
CLOSE = 0.25  # a close-up is shown where the noise is below this share of its half side
EDGE = 0.12  # inches round a figure
WIDE, MOST = 15.2, 3.7  # inches of a row of panels, and of a panel however few there are
LINE = 2  # pixels of the outline of a close-up
BLUR = 0.0022  # of points, as a share of their panel's side


@dataclass(frozen=True)
class Window:
    """A square part of the plane: its centre and half its side."""

    x: float
    y: float
    half: float

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """(left, right, bottom, top)."""
        return (self.x - self.half, self.x + self.half, self.y - self.half, self.y + self.half)

    def holds(self, xy: Array) -> NDArray[np.bool_]:
        """Tell which points lie inside."""
        inside: NDArray[np.bool_] = (np.abs(xy[:, 0] - self.x) <= self.half) & (
            np.abs(xy[:, 1] - self.y) <= self.half
        )
        return inside


@dataclass(frozen=True)
class Spot:
    """A square of a figure: its upper left corner, from that of the figure, and its side, in pixels."""

    left: float
    top: float
    side: int

    @classmethod
    def inches(cls, left: float, top: float, side: float) -> Spot:
        """The same in inches."""
        return cls(left * DPI, top * DPI, round(side * DPI))


def row(count: int, beside: float, gap: float) -> tuple[float, float]:
    """Return the side of `count` panels in a row, and the width of their figure, with `beside` inches
    for what else is in it."""
    beside += gap * (count - 1)
    side = min(MOST, (WIDE - beside) / count)
    return side, count * side + beside


def overview(xy: Array) -> Window:
    """The square that holds all but the outermost 0.2 % of the points, with a margin."""
    low, high = np.quantile(xy, [0.001, 0.999], axis=0)
    half = float(np.max(high - low)) / 2
    middle = (low + high) / 2
    return Window(float(middle[0]), float(middle[1]), (half or 1.0) * 1.12)


def close_up(xy: Array, whole: Window, share: float = 0.18) -> Window | None:
    """The densest square of `share` times the side, or None if no place is crowded.

    Crowded means at least three times the points of an even spread; data without structure at
    that scale gets no close-up.
    """
    side = 2 * whole.half * share
    smooth = gaussian_filter(_counts(xy, whole, 60), sigma=60 * share / 3)
    square = np.array(np.unravel_index(int(np.argmax(smooth)), smooth.shape))
    corner = np.array([whole.x, whole.y]) - whole.half
    centre = corner + (square + 0.5) * (2 * whole.half / 60)
    for _ in range(12):  # mean shift: settle on the middle of what is there
        near = np.all(np.abs(xy - centre) <= side / 2, axis=1)
        if near.any():
            centre = xy[near].mean(axis=0)
    window = Window(float(centre[0]), float(centre[1]), side / 2)
    crowded = window.holds(xy).mean() >= 3 * share**2
    return window if crowded else None


def brightness(
    xy: Array, window: Window, *, pixels: int, blur: float, strength: float = 1.0
) -> Array:
    """Return the points of a window as light from 0 to 1, (pixels, pixels), the lowest row first;
    `blur` in pixels."""
    light = gaussian_filter(_counts(xy, window, pixels).T, sigma=blur)
    lit = light[light > light.max() * 0.02] if light.max() > 0 else light.reshape(-1)[:0]
    reference = float(np.quantile(lit, 0.70)) if lit.size else 1.0
    return np.asarray(1 - np.exp(-strength * light / reference))


def show(
    drawn: Figure,
    spot: Spot,
    xy: Array,
    window: Window,
    colours: Colormap,
    *,
    near: Window | None = None,
    blur: float = BLUR,
    strength: float = 1.0,
) -> None:
    """Put a panel of points (see `glow`) into a figure, with the outline of a close-up if one is given."""
    panel = glow(xy, window, colours, pixels=spot.side, blur=blur, strength=strength)
    if near is not None:
        outline(panel, window, near)
    place(drawn, panel, spot.left, spot.top)


def glow(
    xy: Array,
    window: Window,
    colours: Colormap,
    *,
    pixels: int,
    blur: float = BLUR,
    strength: float = 1.0,
) -> Pixels:
    """Draw the points of a window as light on dark with a hairline round it, (pixels, pixels, 3).

    `blur` is a share of the side: a point looks the same in a panel of any size. Pixels and not axes: a
    figure has up to sixteen panels, and axes take 10 ms each.
    """
    light = brightness(xy, window, pixels=pixels, blur=blur * pixels, strength=strength)[::-1]
    panel = np.array(colours(light, bytes=True)[..., :3])
    panel[[0, -1]] = panel[:, [0, -1]] = rgb(DARK.line)
    return panel


def outline(panel: Pixels, window: Window, inner: Window) -> None:
    """Mark in a panel of a window where a close-up lies."""
    side = len(panel)
    left, right, bottom, top = inner.extent
    corner = np.array(
        [
            [window.y + window.half - top, left - window.x + window.half],
            [window.y + window.half - bottom, right - window.x + window.half],
        ]
    )
    ends = np.clip(np.round(corner / (2 * window.half) * side).astype(int), 0, side)
    (upper, first), (lower, last) = ends.tolist()
    inside = panel[upper + LINE : lower - LINE, first + LINE : last - LINE].copy()
    panel[upper:lower, first:last] = rgb(DARK.ink)
    panel[upper + LINE : lower - LINE, first + LINE : last - LINE] = inside


def _counts(xy: Array, window: Window, bins: int) -> Array:
    """How many points lie in each square of a window, (bins, bins), x first."""
    left, _, bottom, _ = window.extent
    inside = xy[window.holds(xy)]
    unit = (inside - np.array([left, bottom])) * (bins / (2 * window.half))
    cell = np.clip(unit.astype(np.intp), 0, bins - 1)  # the upper edges belong to the last square
    found = np.bincount(cell[:, 0] * bins + cell[:, 1], minlength=bins * bins)
    return found.reshape(bins, bins).astype(np.float64)


def finite(x: Array) -> Array:
    """Leave out the items with a value that is not finite."""
    return x[np.isfinite(x).all(axis=tuple(range(1, x.ndim)))]
