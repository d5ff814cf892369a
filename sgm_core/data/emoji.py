"""Colour emoji: the glyphs of Noto Color Emoji on white, one class per Unicode group.

Which emoji exist, and their groups, comes from Unicode's `emoji-test.txt`. A sequence of code
points finds its glyph through the font's character map and its ligatures (GSUB), and the glyph is
a bitmap (CBDT, 136 x 128), so the pictures are the same on every machine, whatever its text
renderer. Variants by skin tone are left out: near copies of one drawing would leak from the train
to the test split.
"""

from __future__ import annotations

import io
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from sgm_core.data.image import flatten
from sgm_core.data.raw import Raw
from sgm_core.errors import SgmError, UsageError

if TYPE_CHECKING:
    from sgm_core.config.data import EmojiParams

log = logging.getLogger(__name__)
FONTS = (
    "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf",  # Debian, Ubuntu
    "/usr/share/fonts/noto/NotoColorEmoji.ttf",  # Arch, Alpine
    "/usr/share/fonts/google-noto-emoji/NotoColorEmoji.ttf",  # Fedora
)
GROUPS = ("/usr/share/unicode/emoji/emoji-test.txt",)
TONES = range(0x1F3FB, 0x1F400)
SELECTOR = 0xFE0F  # "show as picture"; fonts leave it out of their ligatures
LINE = re.compile(r"^([0-9A-F ]+?)\s*;\s*fully-qualified\s*#")


def inputs(params: EmojiParams, root: Path) -> list[Path]:
    """Return the files that may decide what is read (those that exist count)."""
    own = Path(root) / "data" / "raw" / "emoji"
    fonts = [Path(root) / params.font] if params.font else [Path(font) for font in FONTS]
    return [own, *fonts, *(Path(groups) for groups in GROUPS)]


def read(params: EmojiParams, root: Path) -> Raw:
    """Render every emoji of the font.

    Raises:
        SgmError: the font or `emoji-test.txt` is nowhere (the message says how to get them), or the
            font has no bitmaps.
    """
    own = Path(root) / "data" / "raw" / "emoji"
    font = _font(params, root, own)
    text = _first(
        [own / "emoji-test.txt", *GROUPS],
        "emoji-test.txt (the groups of emoji) is not here; install Debian's unicode-data, or put "
        f"the file of https://unicode.org/Public/emoji/ into {own}",
    ).read_text(encoding="utf-8")
    drawings = _drawings(font)
    names: list[str] = []
    images, labels, missing = [], [], 0
    for group, sequence in emoji_of(text):
        drawing = drawings.get(sequence)
        if drawing is None:
            missing += 1
            continue
        if group not in names:
            names.append(group)
        images.append(render(drawing, params.size))
        labels.append(names.index(group))
    if missing:
        log.info("%d emoji of emoji-test.txt are newer than the font", missing)
    if not images:
        raise SgmError(f"{font} has no emoji; set font to NotoColorEmoji.ttf")
    return Raw(
        "images",
        np.stack(images).transpose(0, 3, 1, 2),
        labels=np.asarray(labels, np.int64),
        label_names=tuple(names),
        range=(0.0, 255.0),
        provenance="glyphs of Noto Color Emoji (SIL Open Font License), Unicode emoji groups",
    )


def emoji_of(text: str) -> list[tuple[str, tuple[int, ...]]]:
    """Return (group, code points without selectors) of each emoji in `emoji-test.txt`."""
    found = []
    group = ""
    for line in text.splitlines():
        if line.startswith("# group:"):
            group = line.removeprefix("# group:").strip()
        elif match := LINE.match(line):
            points = tuple(int(code, 16) for code in match[1].split())
            if not any(point in TONES for point in points):
                found.append((group, tuple(p for p in points if p != SELECTOR)))
    return found


def render(drawing: bytes, size: int) -> np.ndarray[Any, Any]:
    """Return a glyph's bitmap (PNG) on a white square, as uint8 (size, size, 3)."""
    with Image.open(io.BytesIO(drawing)) as opened:
        glyph = flatten(opened).convert("RGB")
    side = max(glyph.size)
    square = Image.new("RGB", (side, side), "white")
    square.paste(glyph, ((side - glyph.width) // 2, (side - glyph.height) // 2))
    return np.asarray(square.resize((size, size), Image.Resampling.LANCZOS))


def _font(params: EmojiParams, root: Path, own: Path) -> Path:
    if params.font:
        font = Path(root) / params.font
        if not font.is_file():
            raise UsageError(f"font: {font} does not exist; correct it, or leave it empty")
        return font
    return _first(
        [own / "NotoColorEmoji.ttf", *FONTS],
        "NotoColorEmoji.ttf is not here; install Debian's fonts-noto-color-emoji, put the font "
        f"into {own}, or set font to its path",
    )


def _first(places: list[Path | str], message: str) -> Path:
    for place in places:
        if Path(place).is_file():
            return Path(place)
    raise SgmError(message)


def _drawings(file: Path) -> dict[tuple[int, ...], bytes]:
    """Return the PNG of every code point and every ligature of code points in a font."""
    from fontTools.ttLib import TTFont, TTLibError

    try:
        with TTFont(file, lazy=True) as font:
            if "CBDT" not in font:
                raise UsageError(
                    f"font: {file} has no colour bitmaps (CBDT); use NotoColorEmoji.ttf as in "
                    "Debian's fonts-noto-color-emoji"
                )
            bitmaps = {
                k: v.imageData for strike in font["CBDT"].strikeData for k, v in strike.items()
            }
            glyphs = {
                point: name for point, name in font.getBestCmap().items() if point != SELECTOR
            }
            points_of = {name: point for point, name in glyphs.items()}
            drawings: dict[tuple[int, ...], bytes] = {
                (point,): bitmaps[n] for point, n in glyphs.items() if n in bitmaps
            }
            for first, ligature in _ligatures(font):
                names = [first, *(n for n in ligature.Component if n in points_of)]
                if ligature.LigGlyph in bitmaps and first in points_of:
                    sequence = tuple(points_of[name] for name in names)
                    drawings.setdefault(sequence, bitmaps[ligature.LigGlyph])
            return drawings
    except (TTLibError, OSError, AssertionError) as error:
        raise UsageError(f"font: {file} is not a readable font ({error}); use another") from None


def _ligatures(font: Any) -> list[tuple[str, Any]]:
    """Return (first glyph, ligature) of every ligature substitution in the font."""
    found = []
    for lookup in font["GSUB"].table.LookupList.Lookup if "GSUB" in font else []:
        for table in lookup.SubTable:
            table = getattr(table, "ExtSubTable", table)
            for first, ligatures in getattr(table, "ligatures", {}).items():
                found += [(first, ligature) for ligature in ligatures]
    return found
