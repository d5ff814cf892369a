"""What a finished training leaves in its folder: weights, description, loss over steps, summary."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sgm_core.bundle import read_bundle, write_bundle
from sgm_core.errors import SgmError
from sgm_core.parts import Parts
from sgm_core.store.files import read_json, write_json
from sgm_core.train.checkpoint import clear_checkpoints
from sgm_core.train.history import History
from sgm_core.train.loop import TrainState

SUMMARY = "summary.json"
DATA_FIELDS = ("name", "kind", "shape", "range", "center", "scale", "sigma_data", "labels")


def leave(
    work: Path,
    spec: Mapping[str, Any],
    data: Mapping[str, Any],
    parts: Parts,
    state: TrainState,
    history: History,
    cpu_seconds: float,
    together: int = 1,
) -> dict[str, Any]:
    """Write model.safetensors, config.json, history.json and the summary, which is returned.

    together: how many cells were trained as one; each has its share of the seconds.
    """
    training = spec["training"]
    config = {
        "process": dict(spec["process"]),
        "net": dict(spec["net"]),
        "parametrisation": training["parametrisation"],
        "data": {name: data[name] for name in DATA_FIELDS},
        "parameters": parts.parameters,
    }
    written = write_bundle(work, state.ema_net.state_dict(), config)
    write_json(work / "history.json", history.points)
    summary = {
        "parameters": parts.parameters,
        "steps": state.step,
        "final_loss": history.points[-1]["loss"],
        "train_seconds": round(history.points[-1]["seconds"] / together, 3),
        "cpu_seconds": round(cpu_seconds, 3),
        "weights_sha256": written["weights"]["sha256"],
    }
    if training["weighting"] == "likelihood":
        summary["final_nats"] = summary["final_loss"] * state.objective.normaliser
    if together > 1:
        summary["trained_together"] = together
    # From here on a kill costs nothing: the next attempt finds the summary and trains no step.
    write_json(work / SUMMARY, summary)
    clear_checkpoints(work)
    return summary


def finished(work: Path) -> dict[str, Any] | None:
    """Return the summary of an attempt that was interrupted after its last step, if it is intact."""
    if not (work / SUMMARY).is_file():
        return None
    try:
        summary: dict[str, Any] = read_json(work / SUMMARY)
        read_bundle(work)
        read_json(work / "history.json")
    except SgmError:
        return None
    clear_checkpoints(work)
    return summary
