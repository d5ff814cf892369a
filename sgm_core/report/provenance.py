"""What a figure needs to be made again, beside the figure.

A Frechet or kernel distance means something only together with its number of samples, the items
and the features that it compares with, and the way the samples were drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from sgm_core.report import markdown
from sgm_core.report.markdown import with_interval
from sgm_core.report.results import Result

TITLE = "Where the figures come from"
FIGURES = ("fd", "fd_inf", "kid", "sliced_w2", "local")
HASH = 16  # digits of a hash that are shown


def provenance(result: Result, split: str = "test") -> list[tuple[str, str]]:
    """Return what one cell's distances were made from, as (what, value)."""
    rows = [row for name in FIGURES if (row := result.row(name, split)) is not None]
    rows = [row for row in rows if row["value"] is not None]
    if not rows:
        return []
    first = dict(rows[0]["details"])
    facts = [
        (row["metric"], f"{with_interval(row['value'], row['low'], row['high'])}, n = {row['n']:,} "
         f"against {row['n_reference']:,}")
        for row in rows
    ]  # fmt: skip
    reference = dict(first.get("reference") or {})
    seeds = first.get("seeds") or ["?", "?"]
    facts += [
        ("reference", f"{reference.get('split', split)} split, data "
         f"{_short(reference.get('dataset_digest'))}, statistics "
         f"{_short(reference.get('reference_digest'))}"),
        ("samples", f"sampler {first.get('sampler')}{_options(first)}, {first.get('grid')} grid, "
         f"{first.get('steps')} steps, {first.get('nfe')} network evaluations, seeds {seeds[0]} to "
         f"{seeds[1]}, {first.get('device')}"),
    ]  # fmt: skip
    extractor = next((r["details"]["extractor"] for r in rows if "extractor" in r["details"]), None)
    if extractor is not None:
        facts += [
            ("features", f"{extractor['name']}, {extractor['dim']} numbers, weights "
             f"{_short(extractor['sha256'])}"),
            ("resize", f"{extractor['resize']}; samples rounded to whole pixel values"),
        ]  # fmt: skip
    return facts


def html_section(result: Result | None) -> str:
    """The facts of a cell as HTML; "" where there are none."""
    facts = [] if result is None else provenance(result)
    if not facts or result is None:
        return ""
    rows = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in facts)
    text = f"{result.name}, test split. Every cell's metrics.json holds the same of each number."
    return f'<h2>{TITLE}</h2><p class="quiet">{escape(text)}</p><dl class="card">{rows}</dl>'


def markdown_table(result: Result) -> str:
    """The facts of a cell as a Markdown table; "" where there are none."""
    facts = provenance(result)
    lines = [[markdown.escape(k), markdown.escape(v)] for k, v in facts]
    return markdown.table(["figure", "made from"], lines) if facts else ""


def _short(digest: Any) -> str:
    return "unknown" if not digest else f"{str(digest)[:HASH]}…"


def _options(details: Mapping[str, Any]) -> str:
    options = dict(details.get("options") or {})
    return f" {options}" if options else ""
