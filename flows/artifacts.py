"""What Prefect's pages show: a page per cell with picture and metrics, a table per leaderboard."""

from __future__ import annotations

import base64
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.project import shown
from sgm_core.store.files import read_json

if TYPE_CHECKING:
    from flows.tracking import Tracking
    from sgm_core.cell import Outcome

PICTURE_BYTES = 400_000  # larger pictures stay in MLflow


def cell_artifact(outcome: Outcome, run_id: str, tracking: Tracking | None) -> None:
    """Publish a cell's page: metrics with intervals and floors, samples, link to its MLflow run."""
    from prefect.artifacts import create_markdown_artifact

    spec = outcome.spec
    lines = [f"# {spec.experiment}: {spec.name}", ""]
    if run_id and tracking is not None:
        lines += [f"MLflow run [{run_id}]({run_url(tracking, run_id)})", ""]
    lines += _metric_table(outcome.evaluation.path / "metrics.json")
    picture = outcome.evaluation.path / "samples.png"
    if picture.is_file() and picture.stat().st_size < PICTURE_BYTES:
        data = base64.b64encode(picture.read_bytes()).decode()
        lines += ["", f"![samples](data:image/png;base64,{data})"]
    with suppress(Exception):  # a page that cannot be published must not fail a finished cell
        create_markdown_artifact(
            key=artifact_key("cell", spec.experiment, spec.name),
            markdown="\n".join(lines),
            description=f"{spec.experiment} / {spec.name}",
        )


def leaderboard_artifact(experiment: str, table: Any) -> None:
    """Publish the leaderboard (a pandas DataFrame) as a table."""
    from prefect.artifacts import create_table_artifact

    rows = [
        {key: (value if isinstance(value, str) else _number(value)) for key, value in row.items()}
        for row in table.to_dict(orient="records")
    ]
    with suppress(Exception):
        create_table_artifact(
            key=artifact_key("leaderboard", experiment),
            table=rows,
            description=f"Leaderboard of {experiment}",
        )


def artifact_key(*parts: str) -> str:
    """Return a key as Prefect wants it: lower-case letters, digits and dashes.

    >>> artifact_key("cell", "swiss_roll", "vp-mlp-s0")
    'cell-swiss-roll-vp-mlp-s0'
    """
    return re.sub(r"[^a-z0-9]+", "-", "-".join(parts).lower()).strip("-")


def run_url(tracking: Tracking, run_id: str) -> str:
    """Return the address of a run in MLflow's pages (of `sgm ui` if there is no server)."""
    uri = shown(tracking.project.tracking_uri)
    server = uri.rstrip("/") if uri.startswith("http") else "http://127.0.0.1:5000"
    return f"{server}/#/experiments/{tracking.id}/runs/{run_id}"


def _metric_table(file: Path) -> list[str]:
    lines = ["| metric | split | value | 95 % interval | floor |", "|---|---|---|---|---|"]
    for row in read_json(file)["rows"]:
        interval = f"{_number(row.get('low'))} to {_number(row.get('high'))}"
        cells = [row["metric"], row["split"], _number(row["value"]), interval]
        lines.append("| " + " | ".join(map(str, [*cells, _number(row.get("floor"))])) + " |")
    return lines


def _number(value: Any) -> Any:
    """Return a number rounded for reading; anything that is not finite as a dash."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return "-" if value is None else str(value)
    return float(f"{number:.4g}") if number - number == 0 else "-"
