"""Reports and leaderboards: what `sgm_core.report` makes of the outcomes of a grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flows.project import Project
from sgm_core.errors import SgmError

if TYPE_CHECKING:
    from sgm_core.cell import Job, Outcome


def write_report(
    project: Project,
    experiment: str,
    jobs: dict[str, Job],
    outcomes: dict[str, Outcome],
    failures: dict[str, str],
) -> Any:
    """Write reports/EXPERIMENT and return the leaderboard (a pandas DataFrame).

    Two grids of one experiment build the same folder, so one writes it after the other.
    """
    from sgm_core.report.write import write_reports

    failed = [(jobs[name].spec, text) for name, text in sorted(failures.items())]
    config = project.config().experiment(experiment)
    with project.lock(f"report-{experiment}"):
        report = write_reports(config, outcomes.values(), failed, project.report(experiment))
    return report.frame


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
    from flows.registry import CHAMPION, by_alias, model_name
    from flows.tracking import Tracking

    name, tracking = model_name(experiment), Tracking(project, experiment)
    with tracking.errors():
        version = by_alias(tracking.client, name, CHAMPION)
    if version is None:
        return f"{name} has no champion yet; run: sgm publish {experiment}"
    cell = version.tags.get("sgm.cell", "?")
    return f"models:/{name}@champion is version {version.version} ({cell}); browse it with: sgm ui"
