"""A leaderboard in the terminal: a table with colours on a screen, plain lines in a pipe."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from rich.table import Table
from rich.text import Text

from sgm_core.errors import SgmError
from sgm_core.report.leaderboard import floor_of
from sgm_core.report.markdown import with_interval
from sgm_core.report.results import direction
from sgm_core.report.words import measured

SHOWN = 3  # metrics beside the ranking one


def load(file: Path) -> pd.DataFrame:
    """Read a leaderboard with its attributes (experiment, metric, ...).

    Raises:
        SgmError: the file is damaged or not a leaderboard.
    """
    try:
        frame = pd.read_parquet(file)
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SgmError(f"{file} cannot be read ({reason}); run dvc repro again") from None
    if "metric" not in frame.attrs or "cell" not in frame:
        raise SgmError(f"{file} is not a leaderboard; run dvc repro again")
    return frame


def rich_table(frame: pd.DataFrame) -> Table:
    """A leaderboard for a screen."""
    attrs = frame.attrs
    drawn = Table(
        title=Text(f"{attrs['experiment']}: ranked by {attrs['metric']}, {_direction(frame)}"),
        title_justify="left",
        title_style="bold",
        header_style="bold",
        caption=Text(_floor(frame)) if _floor(frame) else None,
        caption_justify="left",
    )
    head, rows = _cells(frame)
    for index, name in enumerate(head):
        right = index not in (1, len(head) - 1)
        drawn.add_column(Text(name), justify="right" if right else "left", no_wrap=index < 2)
    for row, status in zip(rows, frame["status"], strict=True):
        style = "bold green" if row[0] == "1" else "red" if status != "ok" else ""
        drawn.add_row(*(Text(cell) for cell in row), style=style)
    return drawn


def plain_table(frame: pd.DataFrame) -> str:
    """A leaderboard for a pipe or a log: aligned columns, no colour, one line a cell."""
    head, rows = _cells(frame)
    widths = [max(len(line[i]) for line in (head, *rows)) for i in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (head, *rows)
    ]
    title = f"{frame.attrs['experiment']}: ranked by {frame.attrs['metric']}, {_direction(frame)}"
    return "\n".join([title, *lines, *filter(None, [_floor(frame)])])


def _cells(frame: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    main = str(frame.attrs["metric"])
    more = [m for m in frame.attrs["metrics"] if m != main][:SHOWN]
    head = ["rank", "cell", "validation", main, *more, "NFE", "train s", "status"]
    rows = []
    for row in frame.to_dict("records"):
        status = str(row["status"]) + (f": {row['error']}" if row["status"] == "failed" else "")
        rows.append(
            [
                "-" if pd.isna(row["rank"]) else str(row["rank"]),
                str(row["cell"]),
                with_interval(row[f"{main}_validation"], None, None),
                with_interval(row[main], row[f"{main}_low"], row[f"{main}_high"]),
                *(with_interval(row[m], None, None) for m in more),
                "-" if pd.isna(row["nfe"]) else str(row["nfe"]),
                with_interval(row["train_seconds"], None, None),
                status,
            ]
        )
    return head, rows


def _direction(frame: pd.DataFrame) -> str:
    return direction(str(frame.attrs["metric"]))


def _floor(frame: pd.DataFrame) -> str:
    main = str(frame.attrs["metric"])
    floor = floor_of(frame, main)
    return "" if pd.isna(floor) else f"real against real: {main} {measured(floor)}"
