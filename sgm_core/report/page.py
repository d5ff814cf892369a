"""The frame of a self-contained page: style, script, and a policy that forbids everything else.

The Content-Security-Policy names the hashes of the one style and the one script below, and images
only as data; the page can load nothing from anywhere, whatever text stands in it.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape

STYLE = """
:root { color-scheme: light dark;
  --paper: #f6f7fa; --card: #fff; --ink: #1b2130; --muted: #5d6779; --line: #e3e7ee;
  --accent: #0b6e99; --soft: #e8f3f8; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root {
  --paper: #080c16; --card: #0d1220; --ink: #eef1f7; --muted: #9aa5b8; --line: #263048;
  --accent: #7fd3f7; --soft: #12283a; --bad: #ff9a90; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 40px 24px 80px; }
h1 { font-size: 34px; line-height: 1.15; margin: 0 0 6px; letter-spacing: -.02em; }
h2 { font-size: 20px; margin: 52px 0 4px; letter-spacing: -.01em; }
p { margin: 0 0 14px; max-width: 76ch; }
ul { margin: 0 0 14px; padding-left: 22px; }
.quiet, figcaption, small { color: var(--muted); }
.quiet { font-size: 14.5px; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 12px; }
.best { display: grid; gap: 18px 28px; padding: 22px 26px 14px; margin: 0; align-items: start;
  grid-template-columns: minmax(230px, 2fr) repeat(auto-fit, minmax(140px, 1fr)); }
.best b { display: block; font-size: 25px; line-height: 1.3; letter-spacing: -.01em;
  font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.best .name b { color: var(--accent); }
.best small { display: block; font-size: 13px; line-height: 1.4; }
.reason { padding: 0 26px 18px; margin: 0; max-width: none; }
header .card { margin-top: 24px; }
.scroll { overflow-x: auto; margin-top: 14px; }
table { border-collapse: collapse; width: 100%; font-size: 14px;
  font-variant-numeric: tabular-nums; }
th, td { padding: 9px 11px; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--line); vertical-align: baseline; }
tbody tr:last-child td { border-bottom: 0; }
th { color: var(--muted); font-weight: 600; font-size: 13px; }
th.words, td.words { text-align: left; }
td small { display: block; font-size: 11.5px; }
td.wide { white-space: normal; min-width: 260px; }
th button { all: unset; cursor: pointer; }
th button:focus-visible { outline: 2px solid var(--accent); outline-offset: 3px; }
th[aria-sort] button { color: var(--ink); }
th[aria-sort=ascending] button::after { content: " ↑"; }
th[aria-sort=descending] button::after { content: " ↓"; }
tr.chosen td { background: var(--soft); }
tr.chosen td.name { font-weight: 700; color: var(--accent); }
td.name, th.name { position: sticky; left: 0; background: var(--card); }
tr.out td { color: var(--muted); }
td.bad { color: var(--bad); }
tfoot td { border-top: 1px solid var(--line); border-bottom: 0; color: var(--muted);
  font-style: italic; }
img { display: block; max-width: 100%; height: auto; }
figure { margin: 14px 0 0; overflow: hidden; }
figure.chart { padding: 14px; }
figure.dark { background: #0d1220; }
figure.dark img { margin: 0 auto; }
.cells { display: grid; gap: 16px; margin-top: 14px;
  grid-template-columns: repeat(auto-fill, minmax(262px, 1fr)); }
.cells figure { margin: 0; }
.cells img { width: 100%; background: #0d1220; image-rendering: auto; }
.cells figcaption { padding: 9px 13px 11px; font-size: 13.5px; display: flex;
  flex-wrap: wrap; justify-content: space-between; gap: 0 10px;
  font-variant-numeric: tabular-nums; }
.cells figcaption b { color: var(--ink); font-weight: 600; overflow-wrap: anywhere; }
.cells figcaption span { white-space: nowrap; }
.cells .chosen { border-color: var(--accent); box-shadow: 0 0 0 1px var(--accent); }
.cells .chosen b { color: var(--accent); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 5px 20px; font-size: 14px;
  padding: 16px 20px; margin: 14px 0 0; }
dt { color: var(--muted); } dd { margin: 0; overflow-wrap: anywhere; }
.text td, .text th { text-align: left; white-space: normal; }
.text pre { background: var(--card); border: 1px solid var(--line); border-radius: 12px;
  padding: 14px 16px; overflow-x: auto; font-size: 13.5px; }
.text code { font-size: .92em; overflow-wrap: anywhere; }
@media (max-width: 640px) { main { padding: 24px 14px 60px; } h1 { font-size: 27px; }
  .best { grid-template-columns: repeat(auto-fit, minmax(120px, 1fr)); }
  .best .name { grid-column: 1 / -1; } }
@media print { body { background: #fff; } .card { break-inside: avoid; } }
"""

SCRIPT = """
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const words = head.classList.contains("words"), sign = down ? -1 : 1;
    const key = row => row.cells[column].dataset.v;
    [...body.rows].sort((a, b) => {
      const x = key(a), y = key(b);
      if (x === "" || y === "") return (x === "") - (y === "");
      return sign * (words ? x.localeCompare(y) : x - y);
    }).forEach(row => body.append(row));
  }));
}
"""


def page(title: str, body: str) -> str:
    """Return a whole HTML document; `body` is HTML, `title` is text."""
    policy = (
        "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"style-src '{_hash(STYLE)}'; script-src '{_hash(SCRIPT)}'"
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<main>\n{body}\n</main>\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )


def image(data: bytes, words: str) -> str:
    """An image inside the page."""
    return f'<img src="{_uri(data)}" alt="{escape(words)}">'


def image_by_scheme(light: bytes, dark: bytes, words: str) -> str:
    """An image for light and one for dark systems."""
    return (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{_uri(dark)}">'
        f"{image(light, words)}</picture>"
    )


def _uri(data: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(data).decode("ascii")


def _hash(content: str) -> str:
    digest = hashlib.sha256(content.encode("utf-8")).digest()
    return "sha256-" + base64.b64encode(digest).decode("ascii")
