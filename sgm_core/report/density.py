"""Points as light: a two-dimensional histogram, slightly blurred and tone-mapped.

A scatter plot of ten thousand points is either a blot or a fog. Counting the points per pixel,
blurring by about a pixel and mapping c to 1 - exp(-c / c_0) keeps single points visible where they
are few and shows structure where they are many, whatever their number.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from sgm_core.report.canvas import DARK, frame

Array = NDArray[np.float64]
CLOSE = 0.25  # a close-up is shown where the noise is below this share of its half side
EDGE = 0.12  # inches round a figure


@dataclass(frozen=True)
class Window:
    """A square part of the plane: its centre and half its side."""

    x: float
    y: float
    half: float

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """(left, right, bottom, top), as imshow wants it."""
        return (self.x - self.half, self.x + self.half, self.y - self.half, self.y + self.half)

    def holds(self, xy: Array) -> NDArray[np.bool_]:
        """Tell which points lie inside."""
        inside: NDArray[np.bool_] = (np.abs(xy[:, 0] - self.x) <= self.half) & (
            np.abs(xy[:, 1] - self.y) <= self.half
        )
        return inside


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
    counts, xs, ys = np.histogram2d(
        xy[:, 0], xy[:, 1], bins=60, range=(whole.extent[:2], whole.extent[2:])
    )
    smooth = gaussian_filter(counts, sigma=60 * share / 3)
    column, row = np.unravel_index(int(np.argmax(smooth)), smooth.shape)
    centre = np.array([(xs[column] + xs[column + 1]) / 2, (ys[row] + ys[row + 1]) / 2])
    for _ in range(12):  # mean shift: settle on the middle of what is there
        near = np.all(np.abs(xy - centre) <= side / 2, axis=1)
        if near.any():
            centre = xy[near].mean(axis=0)
    window = Window(float(centre[0]), float(centre[1]), side / 2)
    crowded = window.holds(xy).mean() >= 3 * share**2
    return window if crowded else None


def brightness(
    xy: Array, window: Window, *, pixels: int, blur: float = 0.9, strength: float = 1.0
) -> Array:
    """Return the points of a window as light from 0 to 1, (pixels, pixels), the lowest row first."""
    left, right, bottom, top = window.extent
    counts, _, _ = np.histogram2d(
        xy[:, 0], xy[:, 1], bins=pixels, range=((left, right), (bottom, top))
    )
    light = gaussian_filter(counts.T, sigma=blur)
    lit = light[light > light.max() * 0.02] if light.max() > 0 else light.reshape(-1)[:0]
    reference = float(np.quantile(lit, 0.70)) if lit.size else 1.0
    return np.asarray(1 - np.exp(-strength * light / reference))


def glow(
    axes: Axes,
    xy: Array,
    window: Window,
    colours: Colormap,
    *,
    pixels: int = 420,
    blur: float = 0.9,
    strength: float = 1.0,
) -> None:
    """Draw the points of a window as light on dark."""
    axes.imshow(
        brightness(xy, window, pixels=pixels, blur=blur, strength=strength),
        extent=window.extent,
        origin="lower",
        cmap=colours,
        vmin=0,
        vmax=1,
        interpolation="bilinear",
        aspect="equal",
    )
    frame(axes, DARK)


def outline(axes: Axes, window: Window, colour: str) -> None:
    """Mark where a close-up lies."""
    corner = (window.x - window.half, window.y - window.half)
    side = 2 * window.half
    axes.add_patch(
        Rectangle(corner, side, side, fill=False, edgecolor=colour, linewidth=1.1, alpha=0.9)
    )


def finite(x: Array) -> Array:
    """Leave out the items with a value that is not finite."""
    return x[np.isfinite(x).all(axis=tuple(range(1, x.ndim)))]
