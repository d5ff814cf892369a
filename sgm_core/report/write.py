"""The report of an experiment as a folder that appears complete or not at all.

    leaderboard.parquet, leaderboard.md   the table
    metrics.json                          flat numbers, for `dvc metrics diff`
    loss.png nfe.png heatmap.png training_time.png
    cells/NAME/{samples,trajectory,field}.png
    report.html                           everything in one file, works without a network

The same outcomes give the same bytes: no clock is read here.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from sgm_core.config.experiment import ExperimentConfig
from sgm_core.errors import SgmError
from sgm_core.report import curves, heatmap, html, markdown, under
from sgm_core.report.canvas import DARK, LIGHT, Ground, png
from sgm_core.report.folder import swapped
from sgm_core.report.leaderboard import Choice, choose, leaderboard
from sgm_core.report.results import Failures, Outcome, Result, kind_of, read
from sgm_core.store.files import os_errors, write_atomic, write_json

PICTURES = ("samples.png", "trajectory.png", "field.png")


@dataclass(frozen=True)
class Report:
    """What `write_reports` found."""

    frame: pd.DataFrame
    choice: Choice
    out: Path


def write_reports(
    experiment: ExperimentConfig, outcomes: Iterable[Outcome], failures: Failures, out: Path
) -> Report:
    """Write the report of an experiment into `out`, replacing the folder in one step.

    Args:
        experiment: its parameters.
        outcomes: finished cells, in any order.
        failures: (spec, message) of cells that failed.
        out: the folder, e.g. reports/digits.

    Raises:
        SgmError: there is no cell at all, an entry lacks a file, or `out` cannot be written.
    """
    outcomes, out = list(outcomes), Path(out)
    if not outcomes and not failures:
        raise SgmError(f"{experiment.name}: there is no cell to report; run the grid first")
    results = read(outcomes, experiment)
    frame = leaderboard(outcomes, failures, experiment)
    choice = choose(frame, experiment.selection, kind_of(experiment))
    charts = {ground.name: _charts(experiment, results, frame, choice, ground)
              for ground in (LIGHT, DARK)}  # fmt: skip
    board, section = (
        markdown.leaderboard(frame, choice),
        under.markdown_section(results, choice.cell),
    )
    page = html.report_page(experiment, results, frame, choice, charts)
    with swapped(out) as folder:
        with os_errors(folder):
            frame.to_parquet(folder / "leaderboard.parquet", index=False)
        write_atomic(
            folder / "leaderboard.md", (board + (f"\n{section}" if section else "")).encode()
        )
        write_json(folder / "metrics.json", flat_metrics(frame, choice))
        for name, data in charts[LIGHT.name].items():
            write_atomic(folder / name, data)
        for result in results:
            _copy_pictures(result, folder / "cells" / result.name)
        write_atomic(folder / "report.html", page.encode())
    return Report(frame, choice, out)


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


def _charts(
    experiment: ExperimentConfig,
    results: list[Result],
    frame: pd.DataFrame,
    choice: Choice,
    ground: Ground,
) -> dict[str, bytes]:
    """The PNG bytes of the experiment's charts on one ground."""
    metric = str(frame.attrs["metric"])
    grid = list(experiment.processes), list(experiment.nets)
    drawn: dict[str, Figure] = {
        "loss.png": curves.loss_figure(results, ground),
        "nfe.png": curves.nfe_figure(results, metric, ground),
        "heatmap.png": heatmap.heatmap_figure(results, *grid, metric, choice.cell, ground),
        "training_time.png": curves.training_time_figure(results, metric, ground),
    }
    return {name: png(picture) for name, picture in drawn.items()}


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
