"""Pairs of process and network over their seeds, and the cheap rungs that chose the finalists."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import pandas as pd

from sgm_core.report import markdown
from sgm_core.report.results import Result, lower_is_better
from sgm_core.report.words import measured

PAIRS_TITLE = "Pairs over their training seeds"
PAIRS_TEXT = (
    "Mean and standard deviation over the training seeds on the validation split. The pair with the "
    "best mean is chosen, and of it the best seed."
)
RUNGS_TITLE = "The search"
RUNGS_TEXT = (
    "Successive halving: every pair is trained cheaply, the best go on and are trained anew with "
    "every seed. Ranked on the validation split; the test split was not touched."
)
Table = tuple[list[str], list[list[str]]]


def left_out(cheap: Sequence[Sequence[Result]], finals: Sequence[Result]) -> list[Result]:
    """Return the results of cheap rungs, each pair's longest, that no finalist came of."""
    on = {(r.process, r.net) for r in finals}
    last = {(r.process, r.net): r for rung in cheap for r in rung}
    return [result for pair, result in last.items() if pair not in on]


def pairs_table(frame: pd.DataFrame) -> Table | None:
    """Return heading and lines of the pairs that can be chosen; None where each has one seed."""
    metric = str(frame.attrs["metric"])
    able = frame[frame["status"] == "ok"]
    groups = able.groupby(["process", "net"], sort=False)
    if able.empty or groups.size().max() < 2:
        return None
    head = ["process", "network", "seeds", f"{metric} (validation)", "from", "to"]
    lines = []
    for (process, net), cells in groups:
        values = cells[f"{metric}_validation"]
        spread = cells["pair_spread"].iloc[0]
        mean = measured(float(values.mean()))
        shown = mean if pd.isna(spread) else f"{mean} ± {measured(float(spread))}"
        ends = [measured(float(values.min())), measured(float(values.max()))]
        lines.append([str(process), str(net), str(len(cells)), shown, *ends])
    return head, lines


def rungs_table(
    cheap: Sequence[Sequence[Result]], finals: Sequence[Result], metric: str
) -> Table | None:
    """Return heading and lines of the cheap rungs; None without any."""
    if not any(cheap):
        return None
    head = ["steps", "cell", f"{metric} (validation)", "training s", "trained on"]
    lines = []
    for place, rung in enumerate(cheap):
        later = [result for stage in (*cheap[place + 1 :], finals) for result in stage]
        on = {(r.process, r.net) for r in later}
        sign = 1 if lower_is_better(metric) else -1
        for result in sorted(
            rung, key=lambda r: _order(sign * r.value(metric, split="validation"))
        ):
            value = markdown.with_interval(
                result.value(metric, split="validation"),
                result.value(metric, "low", "validation"),
                result.value(metric, "high", "validation"),
            )
            seconds = measured(float(result.summary.get("train_seconds", 0.0)))
            went = "yes" if (result.process, result.net) in on else "no"
            lines.append([f"{result.steps:,}", result.name, value, seconds, went])
    return head, lines


def markdown_sections(
    frame: pd.DataFrame, cheap: Sequence[Sequence[Result]], finals: Sequence[Result]
) -> str:
    """Both tables as Markdown; "" where there is neither."""
    parts = []
    for title, text, table in _tables(frame, cheap, finals):
        cells = [[markdown.escape(cell) for cell in line] for line in table[1]]
        parts.append(f"## {title}\n\n{text}\n\n{markdown.table(table[0], cells)}")
    return "\n".join(parts)


def html_sections(
    frame: pd.DataFrame, cheap: Sequence[Sequence[Result]], finals: Sequence[Result]
) -> str:
    """Both tables as HTML; "" where there is neither."""
    parts = []
    for title, text, (head, lines) in _tables(frame, cheap, finals):
        top = "".join(f'<th scope="col" class="words">{escape(cell)}</th>' for cell in head)
        rows = "".join(
            "<tr>" + "".join(f'<td class="words">{escape(cell)}</td>' for cell in line) + "</tr>"
            for line in lines
        )
        parts.append(
            f'<h2>{title}</h2><p class="quiet">{text}</p><div class="card scroll"><table><thead>'
            f"<tr>{top}</tr></thead><tbody>{rows}</tbody></table></div>"
        )
    return "\n".join(parts)


def _tables(
    frame: pd.DataFrame, cheap: Sequence[Sequence[Result]], finals: Sequence[Result]
) -> list[tuple[str, str, Table]]:
    metric = str(frame.attrs["metric"])
    pairs, rungs = pairs_table(frame), rungs_table(cheap, finals, metric)
    found = [(PAIRS_TITLE, PAIRS_TEXT, pairs)] if pairs else []
    return found + ([(RUNGS_TITLE, RUNGS_TEXT, rungs)] if rungs else [])


def _order(value: float) -> float:
    return float("inf") if pd.isna(value) else value
