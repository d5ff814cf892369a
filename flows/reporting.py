"""Reports and leaderboards: what `sgm_core.report` makes of the outcomes of a grid."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from flows.project import Project
from sgm_core.errors import SgmError

if TYPE_CHECKING:
    from flows.executors import CellExecutor
    from flows.searching import Searched
    from sgm_core.report.scene import Pictures, Scene

PICTURES, DRAW = "the report's pictures", "sgm_core.report.drawing:draw"


def write_report(
    project: Project,
    searched: Searched,
    failures: dict[str, str],
    experiment: str,
    samplers: dict[str, Any] | None,
    executor: CellExecutor,
) -> Any:
    """Write reports/EXPERIMENT and return the leaderboard (a pandas DataFrame).

    Two grids of one experiment build the same folder, so one writes it after the other. The executor's
    workers draw the pictures, at once: they have matplotlib already, and idle.
    """
    from sgm_core.report.write import write_reports

    specs = {job.spec.name: job.spec for job in searched.all_jobs}
    failed = [(specs[name], text) for name, text in sorted(failures.items())]
    config, out = project.config().experiment(experiment), project.report(experiment)
    finals, draw = searched.finals.values(), partial(_drawn, executor)
    with project.lock(f"report-{experiment}"):
        report = write_reports(config, finals, failed, out, searched.cheap, samplers, draw)
    return report.frame


def _drawn(executor: CellExecutor, scene: Scene, parts: Sequence[str]) -> Pictures:
    """Draw with the executor's workers, and here what they have not drawn."""
    from flows.executors import LocalProcesses
    from sgm_core.report.scene import draw_here

    drawn: dict[str, Any] = {}
    if isinstance(executor, LocalProcesses):
        found = executor.starmap(PICTURES, DRAW, [(scene, part) for part in parts])
        drawn = {part: one for part, one in zip(parts, found, strict=True) if one is not None}
    left = [part for part in parts if part not in drawn]
    return {**drawn, **(draw_here(scene, left) if left else {})}


def print_leaderboards(project: Project, names: list[str]) -> None:
    """Print the leaderboard of each experiment, where its report is, and its champion."""
    from rich.console import Console

    from sgm_core.report import terminal

    console, away = Console(), ""  # why MLflow failed: asking once is enough
    for name in names:
        file = project.report(name) / "leaderboard.parquet"
        if not file.is_file():
            print(f"{name}: no report yet; run: sgm run {name} (or dvc repro)\n")
            continue
        frame = terminal.load(file)
        if console.is_terminal:
            console.print(terminal.rich_table(frame))
        else:  # a log wants one line per cell, however long
            print(terminal.plain_table(frame))
        print(f"report:   {project.report(name) / 'report.html'}")
        if not away:
            try:
                champion = _champion(project, name)
            except SgmError as error:
                champion = away = str(error)
        print(f"registry: {champion}\n")


def _champion(project: Project, experiment: str) -> str:
    """Tell which version is the champion, or how to get one.

    Raises:
        SgmError: MLflow cannot be reached.
    """
    from flows.registry import CHALLENGER, CHAMPION, by_alias, model_name
    from flows.versions import Registry

    name, registry = model_name(experiment), Registry(project)
    with registry.errors():
        version = by_alias(registry.client, name, CHAMPION)
        newest = by_alias(registry.client, name, CHALLENGER)
    if version is None and newest is not None:
        return f"{name} has no champion; why version {newest.version} is not: sgm history {name}"
    if version is None:
        return f"{name} has no champion yet; run: sgm publish {experiment}"
    cell = version.tags.get("sgm.cell", "?")
    return f"models:/{name}@champion is version {version.version} ({cell}); browse it with: sgm ui"
