"""The evaluation of one model: draw samples, measure, compare with the floors, draw pictures.

The same samples are measured against the validation split (on which models are chosen) and the
test split (which is reported). Everything is seeded: the same model, data, reference and settings
give the same `metrics.json` up to the seconds.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from sgm_core.errors import SgmError
from sgm_core.evaluate.draw import Drawn, kept
from sgm_core.evaluate.session import Emit, Session, costs, open_session
from sgm_core.evaluate.under import measured_under, metrics_under
from sgm_core.store.files import os_errors, write_json

FORMAT = 2
SPLITS = ("validation", "test")
CURVE_FIELDS = ("metric", "value", "low", "high", "n", "n_reference", "split", "details")
CURVE_METRICS = ("sliced_w2", "off", "local", "fd", "kid")


def evaluate(
    model_dir: Path,
    dataset: Path,
    reference: Path,
    sampling: dict[str, Any],
    evaluation: dict[str, Any],
    out: Path,
    emit: Emit,
) -> dict[str, Any]:
    """Evaluate the model in `model_dir` and write the results into `out`.

    Args:
        model_dir: folder of a saved `ScoreModel`.
        dataset: folder of the prepared dataset.
        reference: folder that `make_reference` wrote for it.
        sampling: fields of `SamplingConfig`.
        evaluation: fields of `EvaluationConfig`; if there, `metric` names the main metric, `device`
            ("auto", "cpu", "cuda") where samples are drawn, `splits` those that are measured
            against (both), and `pictures` whether any are drawn (yes).
        out: folder for metrics.json, samples.safetensors and the pictures.
        emit: receives progress and message events.

    Returns:
        {"main_metric", "validation": {metric: value}, "test": {metric: value}, "nfe", "sampler",
        "samples", "finite", "seconds_per_sample", "cpu_seconds_per_sample"}.

    Raises:
        SgmError: the reference is of other data, or the model of another shape.
        UsageError: the main metric does not exist for this data, or is not asked to be measured.
    """
    session = open_session(model_dir, dataset, reference, sampling, evaluation, emit)
    drawer, yardstick, names = session.drawer, session.yardstick, session.names
    with os_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    drawn = drawer.main()
    splits = tuple(evaluation.get("splits", SPLITS))
    rows = yardstick.rows(drawn, names, session.boot, splits)
    wanted = [name for name in names if name in CURVE_METRICS or name == session.main]
    curve = _curve(session, drawn, wanted)
    if session.items:
        emit({"event": "message", "text": f"likelihood of {session.items} items of each split"})
        rows += [scored.row for scored in session.likelihood(splits)]
    others = [str(process) for process in evaluation.get("under", ())]
    shown = metrics_under(names, session.main)
    under = list(measured_under(drawer, yardstick, shown, others, drawer.curve_n))
    result = {
        **drawn.facts,
        **costs(drawn),
        **session.provenance(),
        "format": FORMAT,
        "samples_kept": len(kept(drawn)),
        "rows": rows,
        "curve": curve,
        **({"under": under} if under else {}),
    }
    with os_errors(out):
        _write_samples(drawn, out / "samples.safetensors")
        write_json(out / "metrics.json", result)
    if evaluation.get("pictures", True):
        _pictures(session, drawn, out, emit)
    return _summary(result, splits)


def _curve(session: Session, drawn: Drawn, names: list[str]) -> list[dict[str, Any]]:
    """Quality against NFE on the validation split, where a sampler's steps would be chosen."""
    curve = []
    for part in session.drawer.curve(drawn):
        for entry in session.yardstick.rows(part, names, session.boot, ("validation",)):
            point = {key: entry[key] for key in CURVE_FIELDS}
            curve.append(point | {"nfe": part.nfe})
    return curve


def _write_samples(drawn: Drawn, file: Path) -> None:
    from safetensors.numpy import save_file

    some = kept(drawn)
    with np.errstate(over="ignore"):  # a diverged model's samples are infinite in float32
        tensors = {"x": np.ascontiguousarray(some.x, dtype=np.float32)}
    if some.labels is not None:
        tensors["labels"] = some.labels.astype(np.int64)
    save_file(tensors, str(file))


def _pictures(session: Session, drawn: Drawn, out: Path, emit: Emit) -> None:
    """Draw the cell's pictures; metrics are worth keeping even where a picture cannot be drawn."""
    from sgm_core.report.figures import cell_pictures
    from sgm_core.report.nearest import nearest_picture

    try:
        cell_pictures(session.model, session.data, kept(drawn), out)
        if session.data.kind == "images" and drawn.finite.all():
            nearest_picture(session.data, drawn.x, *session.yardstick.closest(drawn), out)
    except (SgmError, MemoryError):  # somebody else has this entry, or nothing can be written
        raise
    except Exception as error:
        text = f"pictures were not drawn: {type(error).__name__}: {error}"
        emit({"event": "message", "text": text})


def _summary(result: dict[str, Any], splits: tuple[str, ...]) -> dict[str, Any]:
    summary = {
        key: result[key]
        for key in (
            "main_metric",
            "nfe",
            "sampler",
            "samples",
            "finite",
            "seconds_per_sample",
            "cpu_seconds_per_sample",
        )
    }
    for split in splits:
        summary[split] = {r["metric"]: r["value"] for r in result["rows"] if r["split"] == split}
    return summary
