"""The model card as one HTML file that works offline: the Markdown, rendered, with its pictures."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path

from sgm_core.report.page import image, page


def card_page(card: str, pictures: Path) -> str:
    """Return the page of a model card.

    Args:
        card: Markdown (raw HTML in it is shown as text and not interpreted).
        pictures: folder of the pictures that it names.
    """
    from markdown_it import MarkdownIt

    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    body = reader.render(card)
    body = re.sub(
        r'<img src="([^"]*)" alt="([^"]*)" ?/?>', lambda m: _picture(pictures, *m.groups()), body
    )
    body = body.replace("<table>", '<div class="card scroll"><table>')
    body = body.replace("</table>", "</table></div>")
    title = next((line[2:] for line in card.splitlines() if line.startswith("# ")), "model card")
    return page(re.sub(r"\\(.)", r"\1", title), f'<article class="text">{body}</article>')


def _picture(folder: Path, name: str, words: str) -> str:
    """The picture inside the page; one that is not there is left out."""
    file = folder / Path(name).name
    if not file.is_file():
        return f"<p>{escape(words)}</p>"
    return f'<figure class="card dark">{image(file.read_bytes(), words)}</figure>'
