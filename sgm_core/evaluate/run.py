"""The evaluation of one model: draw samples, measure, compare with the floors, draw pictures.

The same samples are measured against the validation split (on which models are chosen) and the
test split (which is reported). Everything is seeded: the same model, data, reference and settings
give the same `metrics.json` up to the seconds.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgm_core.data.dataset import Dataset, load_dataset
from sgm_core.device import device_class
from sgm_core.errors import SgmError, UsageError
from sgm_core.evaluate.compare import Yardstick
from sgm_core.evaluate.draw import Drawn, kept
from sgm_core.evaluate.likelihood import likelihood_rows
from sgm_core.evaluate.names import METRICS, main_metric, names_for
from sgm_core.evaluate.plan import Drawer
from sgm_core.evaluate.reference import open_reference
from sgm_core.evaluate.uncertainty import Bootstrap
from sgm_core.evaluate.under import measured_under, metrics_under
from sgm_core.store.files import os_errors, write_json

Array = NDArray[Any]
Emit = Callable[[dict[str, Any]], None]
FORMAT = 1
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
        evaluation: fields of `EvaluationConfig`; if there, `metric` names the main metric and
            `device` ("auto", "cpu", "cuda") where samples are drawn.
        out: folder for metrics.json, samples.safetensors and the pictures.
        emit: receives progress and message events.

    Returns:
        {"main_metric", "validation": {metric: value}, "test": {metric: value}, "nfe", "sampler",
        "samples", "finite", "seconds_per_sample", "cpu_seconds_per_sample"}.

    Raises:
        SgmError: the reference is of other data, or the model of another shape.
        UsageError: the main metric does not exist for this data, or is not asked to be measured.
    """
    # Only an evaluation needs the network's code; the tables beside it are imported without.
    from sgm_core.model import ScoreModel

    data = load_dataset(dataset)
    held = open_reference(reference, data)
    source = str(data.meta.get("source", ""))
    main = main_metric(data.kind, evaluation.get("metric", "auto"), source, bool(data.labels))
    names = names_for(data.kind, source, bool(data.labels))
    drawn_names = [name for name in names if METRICS[name].of == "samples"]
    items = int(evaluation.get("likelihood_items", 0))
    if main not in drawn_names and items == 0:
        raise UsageError(f"evaluation.likelihood_items: 0 is not valid: {main} needs at least 1")
    device = device_class(str(evaluation.get("device", "auto")))
    model = ScoreModel.load(model_dir, device=device)
    config = _model_config(model_dir, data)
    with os_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    drawer = Drawer(model, config, data, held, sampling, evaluation, emit)
    yardstick = Yardstick(data, held)
    drawn = drawer.main()
    facts = {
        "sampler": drawer.sampler,
        "options": dict(sampling.get("options") or {}),
        "grid": sampling.get("grid"),
        "steps": sampling["steps"],
        "nfe": drawn.nfe,
        "device": device,
    }
    seeds = [drawer.seed, drawer.seed + len(drawn) - 1]
    boot = Bootstrap(int(evaluation["bootstrap"]), drawer.seed)
    rows = yardstick.rows(drawn, drawn_names, boot, facts | {"seeds": seeds})
    wanted = [name for name in drawn_names if name in CURVE_METRICS or name == main]
    curve = _curve(drawer, drawn, yardstick, wanted)
    if items:
        emit({"event": "message", "text": f"likelihood of {items} items of each split"})
        rows += likelihood_rows(model, data, items, drawer.settings, drawer.batch, boot, device)
    others = [str(process) for process in evaluation.get("under", ())]
    shown = metrics_under(drawn_names, main)
    under = list(measured_under(drawer, yardstick, shown, others, drawer.curve_n))
    result = {
        **facts,
        **_facts(drawn),
        "format": FORMAT,
        "rows": rows,
        "curve": curve,
        **({"under": under} if under else {}),
        "main_metric": main,
        "sigma_min": sampling.get("sigma_min"),
        "guidance": sampling.get("guidance"),
        "seed": drawer.seed,
        "dataset_digest": data.digest,
        "reference_digest": held.digest,
    }
    with os_errors(out):
        _write_samples(drawn, out / "samples.safetensors")
        write_json(out / "metrics.json", result)
    _pictures(model, data, drawn, out, emit)
    return _summary(result)


def _curve(
    drawer: Drawer, drawn: Drawn, yardstick: Yardstick, names: list[str]
) -> list[dict[str, Any]]:
    """Quality against NFE on the validation split, where a sampler's steps would be chosen."""
    curve = []
    for part in drawer.curve(drawn):
        for entry in yardstick.rows(part, names, None, {}, ("validation",)):
            point = {key: entry[key] for key in ("metric", "value", "n", "split")}
            curve.append(point | {"nfe": part.nfe})
    return curve


def _facts(drawn: Drawn) -> dict[str, Any]:
    return {
        "samples": len(drawn),
        "samples_kept": len(kept(drawn)),
        "finite": float(drawn.finite.mean()),
        "seconds_per_sample": drawn.seconds / len(drawn),
        "cpu_seconds_per_sample": drawn.cpu_seconds / len(drawn),
    }


def _model_config(model_dir: Path, data: Dataset) -> dict[str, Any]:
    """Return the model's config.json, after checking that it was trained on such items."""
    try:
        config = json.loads((model_dir / "config.json").read_text(encoding="utf-8"))
        shape = tuple(config["data"]["shape"])
    except (OSError, ValueError, KeyError, TypeError):
        raise SgmError(f"{model_dir}/config.json cannot be read; train the cell again") from None
    if shape != data.shape:
        raise SgmError(
            f"{model_dir} was trained on items of shape {shape} and {data.folder} has "
            f"{data.shape}; evaluate it on the data it was trained on"
        )
    return dict(config)


def _write_samples(drawn: Drawn, file: Path) -> None:
    from safetensors.numpy import save_file

    some = kept(drawn)
    with np.errstate(over="ignore"):  # a diverged model's samples are infinite in float32
        tensors = {"x": np.ascontiguousarray(some.x, dtype=np.float32)}
    if some.labels is not None:
        tensors["labels"] = some.labels.astype(np.int64)
    save_file(tensors, str(file))


def _pictures(model: Any, data: Dataset, drawn: Drawn, out: Path, emit: Emit) -> None:
    """Draw the cell's pictures; metrics are worth keeping even where a picture cannot be drawn."""
    from sgm_core.report.figures import cell_pictures

    try:
        cell_pictures(model, data, kept(drawn), out)
    except (SgmError, MemoryError):  # stopped by a signal, or nothing more can be written
        raise
    except Exception as error:
        text = f"pictures were not drawn: {type(error).__name__}: {error}"
        emit({"event": "message", "text": text})


def _summary(result: dict[str, Any]) -> dict[str, Any]:
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
    for split in ("validation", "test"):
        summary[split] = {r["metric"]: r["value"] for r in result["rows"] if r["split"] == split}
    return summary
