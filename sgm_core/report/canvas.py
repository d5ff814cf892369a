"""The look that all pictures share: two grounds, one palette, one typeface, one way to save.

Data and processes keep their colour from picture to picture: what is real is cool, what a model
made is warm, and the i-th process of an experiment has the i-th colour of Okabe and Ito's palette,
which survives the common colour-vision deficiencies (and is never the only carrier of meaning: the
networks differ by line style and marker). Figures are built without pyplot and without rcParams, so
that no state is shared between threads, and are saved without time or version: the same numbers
give the same bytes.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from sgm_core.report.words import plain
from sgm_core.store.files import write_atomic

Pixels = NDArray[np.uint8]
DPI = 120
FONT = "DejaVu Sans"  # shipped with matplotlib: the same letters on every machine
LINES: tuple[tuple[float, tuple[float, ...]], ...] = (
    (0, ()),
    (0, (4.0, 1.6)),
    (0, (1.2, 1.4)),
    (0, (6.0, 1.5, 1.2, 1.5)),
)
COMPRESSION = 4  # of zlib; its usual 6 takes twice as long for 6 % fewer bytes
MARKERS = ("o", "D", "s", "^", "v", "P", "X", "*")

_RENDER = threading.Lock()  # matplotlib's font cache and mathtext parser are shared


@dataclass(frozen=True)
class Ground:
    """Colours of one background."""

    name: str
    paper: str
    panel: str
    ink: str
    muted: str
    line: str
    series: tuple[str, ...]
    good: str

    def colour(self, index: int) -> str:
        """Return the colour of the i-th series (they repeat after eight)."""
        return self.series[index % len(self.series)]


LIGHT = Ground(
    name="light",
    paper="#ffffff",
    panel="#ffffff",
    ink="#1b2130",
    muted="#667085",
    line="#e3e7ee",
    series=(
        "#0072b2", "#d55e00", "#009e73", "#aa4499", "#e69f00", "#56b4e9", "#555f70", "#882255",
    ),
    good="#0b6e99",
)  # fmt: skip
DARK = Ground(
    name="dark",
    paper="#0d1220",
    panel="#080c16",
    ink="#eef1f7",
    muted="#9aa5b8",
    line="#263048",
    series=(
        "#56b4e9", "#f28e3c", "#2fc79a", "#e58fc6", "#f0d04a", "#8aa2ff", "#c3cad6", "#ff7d8a",
    ),
    good="#7fd3f7",
)  # fmt: skip
COOL: Colormap = LinearSegmentedColormap.from_list(
    "cool_glow", [DARK.panel, "#143066", "#1f6fb5", "#5fc4dd", "#f3fbff"]
)
WARM: Colormap = LinearSegmentedColormap.from_list(
    "warm_glow", [DARK.panel, "#4a1b47", "#b23650", "#f6913d", "#fff6d6"]
)
REAL, MADE = "#7fd3f7", "#ffb066"  # the titles of real and of generated panels, on dark


def figure(width: float, height: float, ground: Ground) -> Figure:
    """Return an empty figure of `width` x `height` inches with an Agg canvas."""
    made = Figure(figsize=(width, height), dpi=DPI, facecolor=ground.paper)
    FigureCanvasAgg(made)
    return made


def text(
    on: Figure | Axes,
    x: float,
    y: float,
    words: str,
    ground: Ground,
    *,
    size: float = 11,
    colour: str | None = None,
    weight: str = "normal",
    ha: str = "left",
    va: str = "baseline",
    rotation: float = 0,
) -> None:
    """Write text: figure coordinates on a Figure, axes coordinates on Axes. Never mathtext."""
    place: dict[str, Any] = {} if isinstance(on, Figure) else {"transform": on.transAxes}
    on.text(
        x,
        y,
        words,
        fontsize=size,
        fontfamily=FONT,
        color=colour or ground.ink,
        fontweight=weight,
        ha=ha,
        va=va,
        rotation=rotation,
        parse_math=False,
        **place,
    )


def place(drawn: Figure, sheet: Pixels, left: float, top: float) -> None:
    """Show pixels (H, W, 3) at their own size; `left` and `top` in pixels from the upper left corner."""
    height = drawn.get_size_inches()[1] * DPI
    drawn.figimage(sheet, round(left), round(height - top - len(sheet)), origin="upper")


def frame(axes: Axes, ground: Ground) -> None:
    """Turn axes into a bare dark panel: no ticks, a hairline round it."""
    axes.set_facecolor(ground.panel)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(ground.line)
        spine.set_linewidth(0.8)


def chart(axes: Axes, ground: Ground, *, xlabel: str, ylabel: str, grid: str = "both") -> None:
    """Style axes with numbers: a light grid, no box, quiet ticks."""
    axes.set_facecolor(ground.panel if ground.name == "light" else ground.paper)
    axes.set_axisbelow(True)
    axes.grid(True, axis=grid, which="major", color=ground.line, linewidth=0.8)  # type: ignore[arg-type]
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.tick_params(which="both", length=0, colors=ground.muted, labelsize=10.5, pad=5)
    for label in (*axes.get_xticklabels(which="both"), *axes.get_yticklabels(which="both")):
        label.set_fontfamily(FONT)
    for axis, words in ((axes.xaxis, xlabel), (axes.yaxis, ylabel)):
        axis.set_label_text(words, fontsize=11.5, fontfamily=FONT, color=ground.muted)
        axis.labelpad = 8


def heading(
    made: Figure, ground: Ground, title: str, subtitle: str = "", left: float = 0.0
) -> None:
    """Write a bold title and a quiet line under it, a fixed distance from the upper edge."""
    height = made.get_size_inches()[1]
    text(made, left, 1 - 0.30 / height, title, ground, size=14, weight="bold")
    if subtitle:
        text(made, left, 1 - 0.54 / height, subtitle, ground, size=10.5, colour=ground.muted)


def png(made: Figure) -> bytes:
    """Render a figure to PNG bytes that depend on its content only."""
    canvas = FigureCanvasAgg(made)
    with _RENDER:
        canvas.draw()
        return encoded(np.asarray(canvas.buffer_rgba())[..., :3])  # paper is opaque


def encoded(pixels: NDArray[np.uint8]) -> bytes:
    """Return pixels (H, W, 3) as PNG bytes."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(
        buffer, format="PNG", dpi=(DPI, DPI), compress_level=COMPRESSION
    )
    return buffer.getvalue()


def rgb(colour: str) -> NDArray[np.uint8]:
    """Return "#rrggbb" as three bytes."""
    return np.frombuffer(bytes.fromhex(colour.removeprefix("#")), dtype=np.uint8)


def save(made: Figure, path: Path) -> None:
    """Write a figure as PNG, whole or not at all."""
    write_atomic(path, png(made))


def level(sigma: float, *, first: bool) -> str:
    """Write a noise level above a panel; only the first of a row says what the number is."""
    return ("\N{GREEK SMALL LETTER SIGMA} = " if first else "") + plain(float(f"{sigma:.1e}"))


def spaced(count: int, first: float, last: float, gap: float) -> Sequence[tuple[float, float]]:
    """Split [first, last] into `count` equal intervals with `gap` between them: (start, width)."""
    width = (last - first - gap * (count - 1)) / count
    return [(first + i * (width + gap), width) for i in range(count)]
