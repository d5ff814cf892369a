"""The pictures of docs/control.md: mosaics of images in groups of columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from control_champion import Array, Champion, colourful
from PIL import Image

from sgm_core.control.api import colourise, edit, inpaint, interpolate
from sgm_core.report.canvas import DARK, DPI, MADE, REAL, figure, place, save, text
from sgm_core.report.images import GAP, mosaic, pixels

IMAGES = Path(__file__).resolve().parent / "images" / "control"
HIDDEN = np.array([31, 58, 110], dtype=np.uint8)  # what an inpainting does not see


def panels(
    name: str, groups: list[tuple[str, str, Array]], scale: int, rows: tuple[str, ...] = ()
) -> None:
    """Draw groups of columns side by side, (title, colour, images (rows, columns, H, W, 3))."""
    edge, top, between = 14, 36, 18
    left = edge + (12 + round(9 * max(map(len, rows))) if rows else 0)
    sheets = [
        mosaic(shown.reshape(-1, *shown.shape[2:]), shown.shape[1], scale) for _, _, shown in groups
    ]
    width = left + sum(s.shape[1] for s in sheets) + between * (len(sheets) - 1) + edge
    height = top + sheets[0].shape[0] + edge
    drawn, x = figure(width / DPI, height / DPI, DARK), left
    for (title, colour, _), sheet in zip(groups, sheets, strict=True):
        place(drawn, sheet, x, top)
        text(drawn, x / width, 1 - 24 / height, title, DARK, colour=colour, size=9)
        x += sheet.shape[1] + between
    tall = (sheets[0].shape[0] + GAP) / max(len(rows), 1)
    for row, words in enumerate(rows):
        y = 1 - (top + row * tall + (tall - GAP) / 2) / height
        text(drawn, (left - 12) / width, y, words, DARK, colour=DARK.muted, size=9, ha="right",
             va="center")  # fmt: skip
    save(drawn, IMAGES / name)
    print(f"{name}: {width} x {height}, {(IMAGES / name).stat().st_size / 1000:.0f} kB")


def draw_guidance(c: Champion, weights: tuple[float, ...] = (1, 2, 4, 8)) -> None:
    """Two digits of each class at each weight, a seed per column."""
    labels = np.arange(10).repeat(2)
    drawn = [c.rgb(c.model.generate(20, label=labels, guidance=w), 1)[0] for w in weights]
    shown = np.stack(drawn)
    groups = [(str(k), MADE, shown[:, 2 * k : 2 * k + 2]) for k in range(10)]
    panels("guidance.png", groups, 5, tuple(f"w = {w}" for w in weights))


def draw_completions(c: Champion, classes: tuple[int, ...], scale: int, n: int = 6) -> None:
    """Completions of test images: right half, lower half and 70 % of the pixels hidden."""
    x, size = c.first_of(*classes), c.data.shape[-1]
    known = np.ones((3, 1, size, size), dtype=bool)
    known[0, :, :, size // 2 :] = known[1, :, size // 2 :] = False
    known[2, 0] = np.random.default_rng(2).random((size, size)) > 0.7
    known = known.repeat(len(x) // 3, 0)
    made = inpaint(c.model, x, known, n=n).x
    given = c.rgb(x, len(x))
    hidden = np.where(known[:, 0, :, :, None], given[:, 0], HIDDEN)[:, None]
    groups = [("original", REAL, given), ("known", REAL, hidden)]
    groups += [("completions", MADE, c.rgb(made, len(x)))]
    panels(f"completions-{c.name}.png", groups, scale)


def draw_colours(c: Champion, rows: int = 6, n: int = 6) -> None:
    """Colourings of the gray values of colourful test images."""
    x = colourful(c, rows)
    gray = x.mean(1, keepdims=True)
    groups = [("original", REAL, c.rgb(x, rows)), ("given", REAL, c.rgb(gray, rows))]
    groups += [("colourings", MADE, c.rgb(colourise(c.model, gray, n=n).x, rows))]
    panels("colours.png", groups, max(1, round(80 / x.shape[-1])))


def draw_paths(digits: Champion | None, garments: Champion | None, count: int = 9) -> None:
    """Paths between two seeds of digits, and between two test images of garments."""
    if digits:
        ends = [(3, 17, -1), (5, 14, -1), (0, 1, 2), (2, 3, 4)]
        made = [interpolate(digits.model, a, b, count, label=k).x for a, b, k in ends]
        words = ["no class" if k < 0 else f"class {k}" for *_, k in ends]
        shown = digits.rgb(np.concatenate(made), len(ends))
        panels("path-seeds.png", [("from one seed to another", MADE, shown)], 9, tuple(words))
    if garments:
        a, b = garments.first_of(1, 0, 9), garments.first_of(3, 8, 5)
        made = [interpolate(garments.model, *pair, count).x for pair in zip(a, b, strict=True)]
        groups = [("original", REAL, garments.rgb(a, 3))]
        groups += [("from its code to the other's", MADE, garments.rgb(np.concatenate(made), 3))]
        groups += [("original", REAL, garments.rgb(b, 3))]
        panels("path-images.png", groups, 3)


def draw_edits(c: Champion, x: Array, scale: int) -> None:
    """Two variations of each image at each of four strengths."""
    groups = [("original", REAL, c.rgb(x, len(x)))]
    for s in (0.2, 0.35, 0.5, 0.7):
        groups += [(f"strength {s}", MADE, c.rgb(edit(c.model, x, s, n=2).x, len(x)))]
    panels(f"edits-{c.name}.png", groups, scale)


def write_inputs(found: dict[str, Champion]) -> None:
    """Write the small pictures that the page's commands take."""
    items = {
        "digit": ("digits", lambda c: c.first_of(3)),
        "garment": ("fashion_mnist", lambda c: c.first_of(1)),
        "garment-2": ("fashion_mnist", lambda c: c.first_of(3)),
        "emoji": ("emoji", lambda c: colourful(c, 1)),
    }
    for file, (name, of) in items.items():
        if name in found:
            shown = pixels(of(found[name]), *found[name].span)[0]
            Image.fromarray(shown).save(IMAGES / f"{file}.png")
    Image.fromarray(np.uint8(255) * (np.indices((8, 8))[1] > 3)).save(IMAGES / "hidden.png")
