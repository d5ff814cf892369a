"""Quality against NFE of one model under each sampler, on the validation split.

    samplers.json   {rows: [{sampler, steps, nfe, metric, value, low, high, floor, n,
                             seconds_per_sample, cpu_seconds_per_sample}], sampler, steps, ...}

A sampler's steps, and the sampler itself, would be chosen by these numbers, so they are not those
of the test split. Options of the samplers are their defaults, but for the model's own sampler.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sgm_core.errors import SgmError
from sgm_core.evaluate.draw import Drawn, Progress, chunk_count
from sgm_core.evaluate.measure import reason
from sgm_core.evaluate.session import Emit, Session, costs, open_session
from sgm_core.store.files import os_errors, write_json

FORMAT = 1
RESULT = "samplers.json"
SPLIT = "validation"
ADAPTIVE = "ode"  # takes as many steps as its tolerance asks for, whatever is wanted
FIELDS = ("metric", "value", "low", "high", "floor", "better", "n", "n_reference", "details")


def compare_samplers(
    model_dir: Path,
    dataset: Path,
    reference: Path,
    sampling: dict[str, Any],
    evaluation: dict[str, Any],
    out: Path,
    emit: Emit,
) -> dict[str, Any]:
    """Measure the model under every sampler of `evaluation["samplers"]`; write samplers.json.

    The arguments are those of `sgm_core.evaluate.run.evaluate`. Each sampler does the steps of
    `nfe_curve` with `curve_samples` samples from the common seeds.

    Returns:
        {"samplers": how many could be measured}.

    Raises:
        SgmError: the reference is of other data, or the model of another shape.
    """
    session = open_session(model_dir, dataset, reference, sampling, evaluation, emit)
    samplers, drawer = [str(name) for name in evaluation["samplers"]], session.drawer
    plan = [(name, steps) for name in samplers for steps in steps_of(name, drawer.points)]
    total = sum(chunk_count(drawer.curve_n, drawer.batch) * steps for _, steps in plan)
    drawer.progress = Progress(emit, total)
    rows: list[dict[str, Any]] = []
    for name, steps in plan:
        try:
            drawn = drawer.by(name, steps)
        except SgmError as error:  # too few steps for it, or it did not come to an end
            emit({"event": "message", "text": f"{name}, {steps} steps left out: {reason(error)}"})
            continue
        rows += _rows(session, drawn, name, steps)
    result = {**session.provenance(), "format": FORMAT, "split": SPLIT, "rows": rows}
    result |= {"sampler": drawer.sampler, "steps": drawer.settings["steps"]}
    with os_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / RESULT, result)
    return {"samplers": len({row["sampler"] for row in rows})}


def steps_of(sampler: str, points: list[int]) -> list[int]:
    """Return the steps at which a sampler is measured; an adaptive one once."""
    return points[-1:] if sampler == ADAPTIVE else points


def _rows(session: Session, drawn: Drawn, name: str, steps: int) -> list[dict[str, Any]]:
    about = {"sampler": name, "steps": steps, "nfe": drawn.nfe, **costs(drawn)}
    names = [metric for metric in session.names if metric in _shown(session)]
    rows = session.yardstick.rows(drawn, names, session.boot, (SPLIT,))
    return [about | {key: row[key] for key in FIELDS} for row in rows]


def _shown(session: Session) -> set[str]:
    """The ranking metric if it is of samples, and the usual one of this kind of data."""
    return {session.main, "fd" if session.data.kind == "images" else "sliced_w2"}
