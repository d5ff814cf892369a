"""The leaderboard and the model card as Markdown."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import pandas as pd

from sgm_core.report.choice import Choice
from sgm_core.report.leaderboard import floor_of
from sgm_core.report.results import direction, meaning, number
from sgm_core.report.words import measured

RANKED = (
    "Ranked on the validation split; the metrics shown are those of the test split, which took no "
    "part in the choice, with their 95 % bootstrap intervals."
)


def escape(words: object) -> str:
    """Make text safe inside a Markdown table: one line, no markup, no HTML."""
    line = " ".join(str(words).split())
    line = re.sub(r"([\\`*\[\]<>|#~])", r"\\\1", line)
    return re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\_", line)  # inside a word it is literal


def table(head: Sequence[str], rows: Sequence[Sequence[str]], align: str = "") -> str:
    """A Markdown table; `align` has an `r` or `l` per column."""
    marks = ["---:" if a == "r" else "---" for a in align.ljust(len(head), "l")]
    lines = [head, marks, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def with_interval(value: Any, low: Any, high: Any) -> str:
    """Write "0.00690 (0.00610 to 0.00800)"; a dash for what is missing."""
    value, low, high = number(value), number(low), number(high)
    if not math.isfinite(value):
        return "-"
    if not (math.isfinite(low) and math.isfinite(high)):
        return measured(value)
    return f"{measured(value)} ({measured(low)} to {measured(high)})"


def leaderboard(frame: pd.DataFrame, choice: Choice) -> str:
    """leaderboard.md: rank, metrics on the test split with intervals, floors, cost; exclusions."""
    main, metrics = frame.attrs["metric"], list(frame.attrs["metrics"])
    head = ["rank", "cell", f"{main} (validation)", *metrics, "NFE", "training s", "parameters"]
    rows = [
        [
            "-" if pd.isna(row["rank"]) else str(row["rank"]),
            f"**{escape(row['cell'])}**" if row["cell"] == choice.cell else escape(row["cell"]),
            with_interval(row[f"{main}_validation"], None, None),
            *(with_interval(row[m], row[f"{m}_low"], row[f"{m}_high"]) for m in metrics),
            "-" if pd.isna(row["nfe"]) else str(row["nfe"]),
            with_interval(row["train_seconds"], None, None),
            "-" if pd.isna(row["parameters"]) else f"{row['parameters']:,}",
        ]
        for row in frame.to_dict("records")
    ]
    floors = [floor_of(frame, m) for m in metrics]
    if any(map(math.isfinite, floors)):
        floor = [with_interval(f, None, None) for f in floors]
        rows.append(["", "*real against real*", "", *floor, "", "", ""])
    lines = [
        f"# {escape(frame.attrs['experiment'])}\n",
        f"{escape(choice.reason)}\n",
        RANKED + "\n",
        table(head, rows, "rlr" + "r" * len(metrics) + "rrr"),
        *(f"* {escape(m)}: {escape(meaning(m))}; {direction(m)}" for m in metrics),
    ]
    if frame.attrs.get("note"):
        lines += [f"\n{escape(frame.attrs['note'])}"]
    if choice.excluded:
        lines += ["\n## Not ranked\n"]
        lines += [f"* {escape(cell)}: {escape(why)}" for cell, why in choice.excluded.items()]
    return "\n".join(lines) + "\n"
