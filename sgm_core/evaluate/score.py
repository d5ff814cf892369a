"""The evidence on one model: fresh samples against one split, with the replicates of every metric.

Two models that are scored with the same seeds, data and bootstrap share the noise of their samples
and of the real items, resample by resample, so that `decision` can subtract one from the other.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sgm_core.evaluate.evidence import REPLICATES, RESULT, Score
from sgm_core.evaluate.likelihood import metric_of
from sgm_core.evaluate.session import Emit, Session, costs, open_session
from sgm_core.store.files import os_errors, write_json

FORMAT = 1


def score(
    model_dir: Path,
    dataset: Path,
    reference: Path,
    sampling: dict[str, Any],
    evaluation: dict[str, Any],
    out: Path,
    emit: Emit,
) -> dict[str, Any]:
    """Score the model in `model_dir` and write score.json and replicates.safetensors into `out`.

    The arguments are those of `sgm_core.evaluate.run.evaluate`; `evaluation` has its own `seed`,
    `samples` and `bootstrap`, and names one split as `splits`.

    Raises:
        SgmError: the reference is of other data, or the model of another shape.
        UsageError: the main metric does not exist for this data, or is not asked to be measured.
    """
    from safetensors.numpy import save_file

    session = open_session(model_dir, dataset, reference, sampling, evaluation, emit)
    with os_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    found = scored(session, str(evaluation["splits"][0]))
    replicates = {
        metric: np.ascontiguousarray(values, dtype=np.float64)
        for metric, values in found.replicates.items()
    }
    with os_errors(out):
        save_file(replicates, str(out / REPLICATES))
        write_json(out / RESULT, {**found.info, "rows": list(found.rows.values())})
    return {metric: row["value"] for metric, row in found.rows.items()}


def scored(session: Session, split: str, names: list[str] | None = None) -> Score:
    """Draw the samples of a session's model and measure them against one split.

    Args:
        names: metrics of samples; None: all of them, and the likelihood where the session ranks by it.
    """
    drawn, chosen = session.drawer.main(), session.names if names is None else names
    found = list(session.yardstick.scored(drawn, chosen, session.boot, (split,)))
    if names is None and session.main == metric_of(session.data.kind):
        found += session.likelihood((split,))
    info = {**drawn.facts, **costs(drawn), **session.provenance(), "format": FORMAT, "split": split}
    rows = {entry.row["metric"]: entry.row for entry in found}
    known = {entry.row["metric"]: entry.replicates for entry in found}
    return Score(info, rows, {name: v for name, v in known.items() if v is not None})
