"""The report of an experiment as a folder that appears complete or not at all.

    leaderboard.parquet, leaderboard.md   the table
    metrics.json                          flat numbers, for `dvc metrics diff`
    loss.png nfe.png samplers.png heatmap.png training_time.png side_by_side.png
    cells/NAME/{samples,trajectory,field,nearest}.png
    report.html                           everything in one file, works without a network

The same outcomes give the same bytes: no clock is read here. What changed since the last report is
told from the leaderboard that is replaced.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sgm_core.config.experiment import ExperimentConfig
from sgm_core.errors import SgmError
from sgm_core.report import html, markdown, rungs, sampler_table, under
from sgm_core.report.changes import since_last
from sgm_core.report.choice import Choice, choose
from sgm_core.report.content import Content, searched_board
from sgm_core.report.folder import swapped
from sgm_core.report.results import Failures, Outcome, Result, read
from sgm_core.report.scene import CELLS, LIGHT, PARTS, SIDE_BY_SIDE, Draw, Scene, draw_here
from sgm_core.store.files import os_errors, write_atomic, write_json

PICTURES = ("samples.png", "trajectory.png", "field.png", "nearest.png")
BOARD = "leaderboard.parquet"


@dataclass(frozen=True)
class Report:
    """What `write_reports` found."""

    frame: pd.DataFrame
    choice: Choice
    out: Path


def write_reports(
    experiment: ExperimentConfig,
    outcomes: Iterable[Outcome],
    failures: Failures,
    out: Path,
    cheap: Iterable[Iterable[Outcome]] = (),
    samplers: Mapping[str, Any] | None = None,
    draw: Draw = draw_here,
) -> Report:
    """Write the report of an experiment into `out`, replacing the folder in one step.

    Args:
        experiment: its parameters.
        outcomes: finished cells that may be chosen, in any order.
        failures: (spec, message) of cells that failed.
        out: the folder, e.g. reports/digits.
        cheap: finished cells of each cheap rung of the search.
        samplers: samplers.json of the chosen cell (see sgm_core.evaluate.samplers).
        draw: draws the pictures, here or elsewhere.

    Raises:
        SgmError: there is no cell at all, an entry lacks a file, or `out` cannot be written.
    """
    outcomes, tried, out = list(outcomes), [list(rung) for rung in cheap], Path(out)
    if not outcomes and not failures and not any(tried):
        raise SgmError(f"{experiment.name}: there is no cell to report; run the grid first")
    frame = searched_board(experiment, outcomes, failures, tried)
    choice = choose(frame)
    frame.attrs["chosen"] = choice.cell
    frame.attrs["since"] = since_last(frame, choice.cell, out / BOARD)
    results, trials = read(outcomes, experiment), [read(rung, experiment) for rung in tried]
    content = Content(experiment, results, trials, frame, choice, samplers)
    pictures = draw(Scene.of(content), PARTS)
    page = html.report_page(content, pictures)
    with swapped(out) as folder:
        with os_errors(folder):
            frame.to_parquet(folder / BOARD, index=False)
        write_atomic(folder / "leaderboard.md", _markdown(content).encode())
        write_json(folder / "metrics.json", flat_metrics(frame, choice))
        for name, data in pictures[LIGHT].items():
            write_atomic(folder / name, data)
        write_atomic(folder / SIDE_BY_SIDE, pictures[CELLS][SIDE_BY_SIDE])
        for result in results:
            _copy_pictures(result, folder / "cells" / result.name)
        write_atomic(folder / "report.html", page.encode())
    return Report(frame, choice, out)


def _markdown(content: Content) -> str:
    frame, choice = content.frame, content.choice
    parts = [
        markdown.leaderboard(frame, choice),
        rungs.markdown_sections(frame, content.cheap, content.results),
        sampler_table.markdown_section(content.samplers, content.metric),
        under.markdown_section(content.results, choice.cell),
    ]
    return "\n".join(part for part in parts if part)


def flat_metrics(frame: pd.DataFrame, choice: Choice) -> dict[str, Any]:
    """Numbers by cell and metric, for `dvc metrics diff`: what is not a number is left out."""
    metrics, main = frame.attrs["metrics"], frame.attrs["metric"]
    columns = [*metrics, f"{main}_validation", "nfe", "train_seconds", "parameters"]
    cells = {}
    for row in frame.to_dict("records"):
        numbers = {str(c): _plain(row[c]) for c in columns if _known(row[c])}
        if numbers:
            cells[str(row["cell"])] = numbers
    best = {} if choice.cell is None else cells.get(choice.cell, {})
    return {"best": best, "cells": dict(sorted(cells.items()))}


def _copy_pictures(result: Result, folder: Path) -> None:
    with os_errors(folder):
        folder.mkdir(parents=True)
        for name in PICTURES:
            picture = result.outcome.evaluation.path / name
            if picture.is_file():
                shutil.copyfile(picture, folder / name)


def _known(value: Any) -> bool:
    return not pd.isna(value) and math.isfinite(float(value))


def _plain(value: Any) -> int | float:
    return (
        int(value) if float(value).is_integer() and not isinstance(value, float) else float(value)
    )
