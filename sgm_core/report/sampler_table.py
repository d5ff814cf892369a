"""Quality against NFE of the chosen cell under each sampler, as a table (sampler_chart: the picture)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from sgm_core.report import markdown
from sgm_core.report.results import SAMPLERS_TITLE, sampler_rows
from sgm_core.report.words import measured

TEXT = (
    "Validation split, the same seeds for every sampler and number of steps, with 95 % bootstrap "
    "intervals; options are the samplers' defaults, but for the cell's own sampler."
)


def markdown_section(document: Mapping[str, Any] | None, metric: str) -> str:
    """The table as Markdown; "" without a measurement."""
    rows = sampler_rows(document, metric)
    if not rows:
        return ""
    head, lines = _table(rows, metric)
    cells = [[markdown.escape(cell) for cell in line] for line in lines]
    return f"## {SAMPLERS_TITLE}\n\n{TEXT}\n\n{markdown.table(head, cells, 'lrrrr')}"


def html_section(document: Mapping[str, Any] | None, metric: str) -> str:
    """The table as HTML, to stand below the chart; "" without a measurement."""
    rows = sampler_rows(document, metric)
    if not rows:
        return ""
    head, lines = _table(rows, metric)
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in line) + "</tr>" for line in lines
    )
    return (
        f'<p class="quiet">{TEXT}</p><div class="card scroll"><table><thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _table(rows: Sequence[Mapping[str, Any]], metric: str) -> tuple[list[str], list[list[str]]]:
    head = ["sampler", "NFE", metric, "CPU s / sample", "s / sample"]
    lines = [
        [
            str(row["sampler"]),
            str(row["nfe"]),
            markdown.with_interval(row["value"], row["low"], row["high"]),
            measured(float(row["cpu_seconds_per_sample"])),
            measured(float(row["seconds_per_sample"])),
        ]
        for row in rows
    ]
    return head, lines
