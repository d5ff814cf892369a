"""Makes what is published beside the weights: every variant, what it costs and what it loses.

An entry of the store, like any measurement of a model: the files of the bundle but for bundle.json,
which also names the registered version. Everything is made anew after a kill. The slow parts are the
tuning of the pruned network, a bounded number of steps, and the samples of every variant.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from sgm_core.at_once import in_order
from sgm_core.bundle import CONFIG, WEIGHTS
from sgm_core.data.dataset import Dataset, load_dataset
from sgm_core.device import device_class
from sgm_core.errors import SgmError
from sgm_core.evaluate.decision import Verdict
from sgm_core.export.bundle import FORMS, PUBLISHED, REJECTED
from sgm_core.export.cost import cpu_ms
from sgm_core.export.graph import network_graph
from sgm_core.export.half import half_graph, half_weights
from sgm_core.export.int8 import int8_graph
from sgm_core.export.onnx_network import OnnxNetwork
from sgm_core.export.pairs import Pairs, draw_pairs, errors
from sgm_core.export.prune import pruned
from sgm_core.export.quality import Quality, numbers
from sgm_core.export.tune import Emit, tune
from sgm_core.export.variant import open_variant
from sgm_core.model import ScoreModel
from sgm_core.store.files import os_errors, write_atomic

PARITY = 1e-4
# An ONNX graph and the weights it was exported from: they must agree.
TWINS = {"onnx": "fp32", "onnx_fp16": "fp16", "pruned_onnx": "pruned"}
# Variants whose quality is measured; the others have the same weights as one of them.
MEASURED = {"onnx_fp16": "fp16", "onnx_int8": None, "pruned_onnx": "pruned"}
NO_DATA = (
    "the prepared data of this model is not here: int8 is calibrated on its own samples, there is no "
    "pruned variant, and quality is not measured"
)


def make_bundle(
    model_dir: Path,
    dataset: Path | None,
    reference: Path | None,
    sampling: dict[str, Any],
    evaluation: dict[str, Any],
    out: Path,
    emit: Emit,
) -> dict[str, Any]:
    """Write the variants of a published model into `out`.

    Args:
        model_dir: the published model.
        dataset, reference: folders of the data that it was trained on, and of its reference; None:
            they are gone.
        sampling: what the version samples with by default.
        evaluation: `publish` (PublishConfig, `samples` as a number), `training` (how the model was
            trained), `floors` (SelectionConfig), `batch`, `metric`, `seed_of`.
        out: folder to fill.
        emit: receives progress and messages.

    Returns:
        {"variants": {name: {"status", "reason"?, "metrics"}}, "quality": {...} | None,
        "notes": [sentences]}.

    Raises:
        SgmError: a graph does not agree with its weights, or a file cannot be written.
    """
    publish, training = evaluation["publish"], evaluation["training"]
    with os_errors(out):
        model = ScoreModel.load(model_dir)
        data = None if dataset is None else load_dataset(dataset)
        calibrated, held = _pairs(model, data, int(publish["calibration"]), sampling)
        notes = [] if data is not None else [NO_DATA]
        _say(emit, "half precision, ONNX and int8")
        _write_whole(model, model_dir, calibrated, out)
        variants, quality = _opened(out), None
        if dataset is not None and reference is not None and publish["samples"]:
            quality = Quality.open(
                model_dir, variants["onnx"], dataset, reference, sampling, evaluation, emit
            )
        about: dict[str, Any] = {}
        verdicts: dict[str, Verdict] = {}

        def judge() -> None:
            """Judge what there is and was not judged yet, after the fp32 network was measured."""
            if quality is None:
                return
            if not about:
                _say(emit, f"{publish['samples']} samples of the fp32 network")
                about.update(quality.about())
            verdicts.update(_verdicts(quality, variants, set(verdicts), emit))

        def prune() -> None:
            assert data is not None
            notes.extend(_write_pruned(model, data, calibrated, publish, training, out, emit))

        if data is not None and publish["prune"] > 0:
            # While the pruned network is tuned, the quality of the others is measured. That ends first.
            for _ in in_order(lambda work: work(), [judge, prune]):
                pass
            variants = _opened(out)
        judge()
        metrics = _measure(variants, held, out)
    entries = {
        name: entry_of(metrics[name], verdicts.get(name), float(publish["max_rmse"]))
        for name in variants
    }
    return {"variants": entries, "quality": about or None, "notes": notes}


def _opened(out: Path) -> dict[str, ScoreModel]:
    """Open every variant that is written by now."""
    names = [name for name, form in FORMS.items() if (out / form.file).is_file()]
    return {name: open_variant(out, {"variants": names}, name) for name in names}


def _pairs(
    model: ScoreModel, data: Dataset | None, n: int, sampling: dict[str, Any]
) -> tuple[Pairs, Pairs]:
    """Pairs to calibrate on and others to compare on: of the data, or of the model's own samples."""
    if data is None:
        settings = {k: v for k, v in sampling.items() if k in ("sampler", "steps", "options")}
        drawn = model.sample(2 * n, seed=0, **settings)
        some = [(drawn.x[part], None if drawn.labels is None else drawn.labels[part])
                for part in (slice(0, n), slice(n, None))]  # fmt: skip
    else:
        splits = data.split("train"), data.split("validation")
        some = [(s.x[:n], None if s.labels is None else s.labels[:n]) for s in splits]
    first, second = (
        draw_pairs(model, np.asarray(x), labels, seed) for seed, (x, labels) in enumerate(some)
    )
    return first, second


def _write_whole(model: ScoreModel, source: Path, pairs: Pairs, out: Path) -> None:
    """Write the variants that have all channels."""
    for name in (CONFIG, WEIGHTS):
        shutil.copyfile(source / name, out / name)
    net, graph = model.denoiser().net, network_graph(model)
    write_atomic(out / FORMS["fp16"].file, _bytes(half_weights(net)))
    graphs = {
        "onnx": graph,
        "onnx_fp16": half_graph(graph, net),
        "onnx_int8": int8_graph(graph, pairs),
    }
    for name, made in graphs.items():
        write_atomic(out / FORMS[name].file, made.SerializeToString())


def _write_pruned(
    model: ScoreModel,
    data: Dataset,
    pairs: Pairs,
    publish: Mapping[str, Any],
    training: Mapping[str, Any],
    out: Path,
    emit: Emit,
) -> list[str]:
    """Write the pruned and tuned network; return why there is none."""
    small = pruned(model, pairs, float(publish["prune"]))
    if small is None:
        return ["no channel can be pruned: the groups of its normalisation have one each"]
    steps = int(publish["tune_steps"])
    _say(emit, f"pruned to {small.parameters:,} of {model.parameters:,} numbers, {steps} steps")
    device = device_class(str(training.get("device", "cpu")))
    on_device = ScoreModel.of(small.config, small.net.state_dict(), device)
    if device == "cpu":  # onnxruntime is several times faster
        teacher: torch.nn.Module = OnnxNetwork(
            out / FORMS["onnx"].file, int(training.get("threads", 1))
        )
    else:
        teacher = model.denoiser().net.to(device)
    tune(on_device, teacher, data, training, steps, emit)
    model.net.to("cpu")
    tuned = ScoreModel.of(small.config, on_device.net.cpu().state_dict())
    folder = out / FORMS["pruned"].config
    tuned.save(folder)
    write_atomic(out / FORMS["pruned_onnx"].file, network_graph(tuned).SerializeToString())
    return []


def _measure(
    variants: Mapping[str, ScoreModel], held: Pairs, out: Path
) -> dict[str, dict[str, float]]:
    """Return size, CPU time and output error of each variant.

    Raises:
        SgmError: a graph does not agree with the weights that it was exported from.
    """
    outputs = {name: held.outputs(model.net) for name, model in variants.items()}
    for name, twin in TWINS.items():
        if name in outputs:
            check_parity(name, outputs[name], outputs[twin])
    return {
        name: {
            "bytes": float((out / FORMS[name].file).stat().st_size),
            **cpu_ms(model.net, held),
            **errors(outputs[name], outputs["fp32"]),
        }
        for name, model in variants.items()
    }


def check_parity(name: str, output: Tensor, wanted: Tensor) -> None:
    """Refuse an ONNX graph that says something else than its weights in PyTorch.

    Raises:
        SgmError: it does.
    """
    difference = float(((output - wanted).abs() / (1 + wanted.abs())).max())
    if not difference <= PARITY:
        raise SgmError(
            f"variant {name}: onnxruntime and PyTorch differ by {difference:.2g} on the same "
            f"weights (at most {PARITY:g}); it is not published"
        )


def _verdicts(
    quality: Quality, variants: Mapping[str, ScoreModel], known: set[str], emit: Emit
) -> dict[str, Verdict]:
    """Return the verdict on each variant that there is none of yet, and on those of the same weights."""

    def judge(name: str) -> Verdict:
        _say(emit, f"samples of {name}")
        return quality.judge(variants[name])

    due = [name for name in MEASURED if name in variants and name not in known]
    found: dict[str, Verdict] = {}
    each = in_order if len(due) > 1 else map  # one alone has its chunks drawn at once
    for name, verdict in zip(due, each(judge, due), strict=True):
        found[name] = found[MEASURED[name] or name] = verdict
    return found


def entry_of(
    metrics: Mapping[str, float], verdict: Verdict | None, max_rmse: float
) -> dict[str, Any]:
    """Return the manifest's entry of a variant: published, or rejected and why."""
    reasons = []
    if not metrics["rmse"] <= max_rmse:
        rmse = metrics["rmse"]
        reasons.append(f"its output differs by {rmse:.3g} RMSE from fp32 (at most {max_rmse:g})")
    if verdict is not None and not verdict.promote:
        reasons.append(verdict.reason)
    known = {**metrics, **({} if verdict is None else numbers(verdict))}
    finite = {k: None if v is None or v - v != 0 else v for k, v in known.items()}
    status = (
        {"status": REJECTED, "reason": "; ".join(reasons)} if reasons else {"status": PUBLISHED}
    )
    return {**status, "metrics": finite}


def _bytes(weights: Mapping[str, Tensor]) -> bytes:
    return save({name: value.detach().cpu().contiguous() for name, value in weights.items()})


def _say(emit: Emit, text: str) -> None:
    emit({"event": "message", "text": text})
