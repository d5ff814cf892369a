"""The section "One checkpoint under every process": rows that sgm_core.evaluate.under measured.

A table is a processes x blocks layout per metric. `spread` and `noise` are both deviations of single
blocks, so that they compare like with like:

    spread^2 = mean over blocks of Var over processes,   noise^2 = mean over processes of Var over blocks
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from sgm_core.report import markdown
from sgm_core.report.results import Result
from sgm_core.report.words import measured

TITLE = "One checkpoint under every process"
TEXT = (
    "The same weights, sampled along the path of another process: the posterior mean of x_0 depends "
    "on the state through y = x_0 + sigma_eff eps only. Validation split; mean and standard "
    "deviation over blocks of seeds, which are the same for every process."
)
EVERY = "Every cell under every process"
Rows = Sequence[Mapping[str, Any]]


def under_of(result: Result) -> list[dict[str, Any]]:
    """Return the rows of a cell; empty if none were measured."""
    return list(result.document.get("under") or [])


def metric_names(rows: Rows) -> list[str]:
    """Return the metrics of the rows in their order."""
    return list(dict.fromkeys(name for row in rows for name in row["metrics"]))


def head(names: Sequence[str]) -> list[str]:
    """Return the heading of the table of these metrics."""
    return ["process", "NFE", *names]


def line(row: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Return one process as text: name, NFE, "mean ± deviation" of each metric (or a dash)."""
    label = f"{row['process']} (trained under)" if row["trained"] else str(row["process"])
    nfe = "-" if row["nfe"] is None else str(row["nfe"])
    return [label, nfe, *(_value(row["metrics"].get(name)) for name in names)]


def _value(entry: Mapping[str, Any] | None) -> str:
    if entry is None or entry["value"] is None:
        return "-"
    std = "" if entry["std"] is None else f" ± {measured(float(entry['std']))}"
    return measured(float(entry["value"])) + std


def spread_and_noise(rows: Rows, name: str) -> tuple[float, float]:
    """Return (spread over processes, noise over seeds) of a metric; NaN where there are too few."""
    values = np.array(
        [
            row["metrics"][name]["values"]
            for row in rows
            if name in row["metrics"] and row["metrics"][name]["value"] is not None
        ],
        dtype=np.float64,
    )
    if values.ndim != 2:
        return math.nan, math.nan
    processes, blocks = values.shape
    spread = math.sqrt(values.var(axis=0, ddof=1).mean()) if processes > 1 else math.nan
    noise = math.sqrt(values.var(axis=1, ddof=1).mean()) if blocks > 1 else math.nan
    return spread, noise


def verdict(rows: Rows) -> str:
    """Return the last line: spread over processes against noise over seeds, per metric."""
    parts = []
    for name in metric_names(rows):
        spread, noise = spread_and_noise(rows, name)
        if math.isfinite(spread) and math.isfinite(noise):
            parts.append(f"{name} {measured(spread)} against {measured(noise)}")
    if not parts:
        return "spread over processes against noise over seeds: too few values"
    return f"spread over processes against noise over seeds: {', '.join(parts)}"


def notes(rows: Rows) -> list[str]:
    """Return why a process has no numbers, one line each."""
    return [f"{row['process']}: {row['reason']}" for row in rows if row["reason"]]


def floors(rows: Rows, names: Sequence[str]) -> list[str]:
    """Return the line of real against real, or [] where there is none."""
    found: dict[str, float] = {}
    for row in rows:
        for name, entry in row["metrics"].items():
            if entry.get("floor") is not None:
                found.setdefault(name, float(entry["floor"]))
    shown = [measured(found[name]) if name in found else "-" for name in names]
    return ["real against real", "", *shown] if found else []


def _cells(results: Sequence[Result], chosen: str | None) -> list[Result]:
    """The cells that have the section, the chosen one first."""
    able = [result for result in results if under_of(result)]
    return sorted(able, key=lambda result: result.name != chosen)


def _all_cells(cells: Sequence[Result]) -> tuple[list[str], list[list[str]]]:
    """The ranking metric of every cell (rows) under every process (columns)."""
    processes = list(dict.fromkeys(row["process"] for cell in cells for row in under_of(cell)))
    body = []
    for cell in cells:
        main = metric_names(under_of(cell))[:1]
        found = {row["process"]: line(row, main)[-1] for row in under_of(cell)}
        body.append([cell.name, *(found.get(process, "-") for process in processes)])
    return ["trained as", *processes], body


def html_section(results: Sequence[Result], chosen: str | None) -> str:
    """Return the section for report.html; "" if no cell was measured so."""
    cells = _cells(results, chosen)
    if not cells:
        return ""
    first = cells[0]
    rows, names = under_of(first), metric_names(under_of(first))
    foot = [floors(rows, names)] if floors(rows, names) else []
    parts = [
        f'<h2>{TITLE}</h2><p class="quiet">{escape(first.name)}. {escape(TEXT)}</p>',
        _html_table(head(names), [line(row, names) for row in rows], foot),
        f'<p class="quiet">{escape(verdict(rows))}.</p>',
        *(f'<p class="quiet">{escape(note)}</p>' for note in notes(rows)),
    ]
    if len(cells) > 1:
        main = escape(names[0] if names else "")
        parts += [f'<p class="quiet">{EVERY}, {main}:</p>', _html_table(*_all_cells(cells), [])]
    return "\n".join(parts)


def markdown_section(results: Sequence[Result], chosen: str | None) -> str:
    """Return the section for leaderboard.md; "" if no cell was measured so."""
    cells = _cells(results, chosen)
    if not cells:
        return ""
    first = cells[0]
    rows, names = under_of(first), metric_names(under_of(first))
    body = [line(row, names) for row in rows] + [f for f in [floors(rows, names)] if f]
    parts = [
        f"## {TITLE}\n",
        f"{markdown.escape(first.name)}. {markdown.escape(TEXT)}\n",
        _markdown_table(head(names), body),
        f"{markdown.escape(verdict(rows))}.",
        *(f"\n* {markdown.escape(note)}" for note in notes(rows)),
    ]
    if len(cells) > 1:
        main = markdown.escape(names[0] if names else "")
        parts += [f"\n{EVERY}, {main}:\n", _markdown_table(*_all_cells(cells))]
    return "\n".join(parts) + "\n"


def _html_table(head: Sequence[str], body: Sequence[Sequence[str]], foot: Any) -> str:
    def row(cells: Sequence[str], mark: str) -> str:
        kinds = [' class="words"', *([""] * (len(cells) - 1))]
        shown = (f"<{mark}{k}>{escape(c)}</{mark}>" for c, k in zip(cells, kinds, strict=True))
        return f"<tr>{''.join(shown)}</tr>"

    last = f"<tfoot>{''.join(row(cells, 'td') for cells in foot)}</tfoot>" if foot else ""
    lines = "".join(row(cells, "td") for cells in body)
    return (
        f'<div class="card scroll"><table><thead>{row(head, "th")}</thead>'
        f"<tbody>{lines}</tbody>{last}</table></div>"
    )


def _markdown_table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    safe = [[markdown.escape(cell) for cell in cells] for cells in body]
    return markdown.table([markdown.escape(h) for h in head], safe, "l" + "r" * (len(head) - 1))
