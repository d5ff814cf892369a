"""The evidence on one model: fresh samples against one split, with the replicates of every metric.

Two models that are scored with the same seeds, data and bootstrap share the noise of their samples
and of the real items, resample by resample, so that `decision` can subtract one from the other.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sgm_core.evaluate.evidence import REPLICATES, RESULT
from sgm_core.evaluate.likelihood import metric_of
from sgm_core.evaluate.session import Emit, costs, open_session
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
    drawer, splits = session.drawer, tuple(evaluation["splits"])
    with os_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    drawn = drawer.main()
    found = list(session.yardstick.scored(drawn, session.names, session.boot, splits))
    if session.main == metric_of(session.data.kind):
        found += session.likelihood(splits)
    result = {**drawn.facts, **costs(drawn), **session.provenance()}
    result |= {"format": FORMAT, "split": splits[0], "rows": [scored.row for scored in found]}
    replicates = {
        scored.row["metric"]: np.ascontiguousarray(scored.replicates, dtype=np.float64)
        for scored in found
        if scored.replicates is not None
    }
    with os_errors(out):
        save_file(replicates, str(out / REPLICATES))
        write_json(out / RESULT, result)
    return {row["metric"]: row["value"] for row in result["rows"]}
