"""What changed since the last report, as sentences.

A report that is written again over the same results keeps what the last one said: writing twice
changes nothing, and "since the last report" means since the results were others.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd

from sgm_core.errors import SgmError
from sgm_core.report.results import lower_is_better, number
from sgm_core.report.words import measured

MOST = 12  # sentences about single cells


def since_last(frame: pd.DataFrame, chosen: str | None, file: Path) -> list[str]:
    """Return what is new in a leaderboard, compared with the one in `file` (if there is one).

    Args:
        frame: the new leaderboard; `chosen`: its chosen cell.
        file: leaderboard.parquet of the last report; one that cannot be read counts as absent.
    """
    from sgm_core.report.terminal import load

    if not file.is_file():
        return []
    try:
        old = load(file)
    except SgmError:
        return []
    if _results(old) == _results(frame) and old.attrs.get("chosen") == chosen:
        return [str(text) for text in old.attrs.get("since", [])]
    return _head(old, frame, chosen) + _cells(old, frame)


def _results(frame: pd.DataFrame) -> dict[str, str]:
    """Cell -> what its row was made from."""
    keys = frame["evaluation_key"].where(frame["evaluation_key"] != "", frame["status"])
    return dict(zip(frame["cell"], keys, strict=True))


def _head(old: pd.DataFrame, new: pd.DataFrame, chosen: str | None) -> list[str]:
    """Whether the chosen cell or the ranking metric is another one."""
    metric, found = str(new.attrs["metric"]), []
    if old.attrs.get("metric") != metric:
        found.append(f"cells are ranked by {metric}; they were ranked by {old.attrs['metric']}")
    before = old.attrs.get("chosen")
    if before == chosen:
        found.append(f"the chosen cell is {chosen}, as before")
    else:
        numbers = [_number(f, c, metric) for f, c in ((old, before), (new, chosen))]
        shown = [f" ({metric} {measured(v)})" if math.isfinite(v) else "" for v in numbers]
        found.append(f"the chosen cell is {chosen}{shown[1]}; it was {before}{shown[0]}")
    return found


def _cells(old: pd.DataFrame, new: pd.DataFrame) -> list[str]:
    """Cells that came, went, failed, recovered, or were measured anew."""
    metric = str(new.attrs["metric"])
    before, after = _results(old), _results(new)
    came = [cell for cell in after if cell not in before]
    went = [cell for cell in before if cell not in after]
    found = [f"new: {_listed(came)}"] if came else []
    found += [f"gone: {_listed(went)}"] if went else []
    changed = [cell for cell in after if cell in before and before[cell] != after[cell]]
    for cell in changed[:MOST]:
        a, b = _number(old, cell, metric), _number(new, cell, metric)
        if math.isfinite(a) and math.isfinite(b):
            better = (b < a) == lower_is_better(metric)
            same = measured(a) == measured(b)
            word = "as before" if same else "better" if better else "worse"
            found.append(f"{cell}: {metric} {measured(b)}, {word} (was {measured(a)})")
        else:
            found.append(f"{cell}: {_status(new, cell)} (was {_status(old, cell)})")
    if len(changed) > MOST:
        found.append(f"{len(changed) - MOST} more cells were measured anew")
    return found


def _listed(cells: list[str]) -> str:
    more = f" and {len(cells) - MOST} more" if len(cells) > MOST else ""
    return ", ".join(cells[:MOST]) + more


def _row(frame: pd.DataFrame, cell: Any) -> pd.Series | None:
    rows = frame[frame["cell"] == cell]
    return None if rows.empty else rows.iloc[0]


def _number(frame: pd.DataFrame, cell: Any, metric: str) -> float:
    """The cell's value on the test split, or on validation if it has no other."""
    row = _row(frame, cell)
    for column in (metric, f"{metric}_validation"):
        if row is not None and column in frame and math.isfinite(value := number(row[column])):
            return value
    return math.nan


def _status(frame: pd.DataFrame, cell: str) -> str:
    row = _row(frame, cell)
    return "absent" if row is None else str(row["status"])
