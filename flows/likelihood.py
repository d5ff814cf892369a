"""`sgm likelihood`: log densities of the items of a file under a model."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path
from typing import Any

from flows.sampling import open_model
from sgm_core.errors import UsageError
from sgm_core.store.files import write_atomic

BATCH = 250


def likelihood_of_file(
    model: str, file: Path, out: Path | None, rtol: float, exact: bool, seed: int = 0
) -> None:
    """Print the mean log density of the items of a .npy file, for images also bits/dim.

    Whole-numbered images are dequantised first: a value v is spread over [v - 1/2, v + 1/2].

    Args:
        model: see `flows.sampling.find_model`.
        file: items (n, *shape) in the data's own range.
        out: .npy file for log p of each item, (n,) float64, nats, over the data's own units.
        rtol: relative and absolute tolerance of the solver.
        exact: the trace by d products instead of random signs.
        seed: of dequantisation and signs; item i uses seed + i.

    Raises:
        UsageError: a file or an option is wrong.
        SgmError: the model's files were altered, or `out` cannot be written.
    """
    if out is not None:
        if out.suffix.lower() != ".npy":
            raise UsageError(f"--out: {str(out)!r} is not valid; end it in .npy")
        if not out.parent.is_dir() or not os.access(out.parent, os.W_OK):
            raise UsageError(
                f"--out: {out.parent} is not a folder that can be written; choose another"
            )
    if not 0 < rtol <= 1:
        raise UsageError(f"--rtol: {rtol!r} is not valid; choose between 0 and 1")
    items = _read(file)
    loaded = open_model(model)
    _check(file, items, loaded)
    import numpy as np

    from sgm_core.evaluate.likelihood import dequantise, image_bits, log_probs

    images = loaded.config["data"]["kind"] == "images"
    whole = images and bool((items == np.round(items)).all())
    begin = time.perf_counter()
    values, record = log_probs(
        loaded,
        dequantise(items, seed) if whole else items,
        batch=BATCH,
        seed=seed,
        sigma_min=loaded.config["sampling"]["sigma_min"],
        rtol=rtol,
        atol=rtol,
        divergence="exact" if exact else "auto",
    )
    seconds = time.perf_counter() - begin
    finite = np.isfinite(values)
    lost = int((~finite).sum())
    mean = float(values[finite].mean()) if lost < len(values) else float("nan")
    text = f"{file}: {len(values)} items, mean log p {mean:.4f} nats"
    if whole and lost < len(values):
        bits = image_bits(values[finite], loaded.shape)
        text += f", {float(bits.mean()):.4f} bits/dim"
    trace = f"{record.probes} sign vector" if record.probes else "exact trace"
    text += (
        f"; {record.nfe} evaluations, {trace}, rtol {rtol:g}, data smoothed by "
        f"sigma_eps {record.sigma_eps:g}, {seconds:.2f} s"
    )
    print(text)
    if images and not whole:
        print("values are not whole numbers: densities of the values as they are, no bits/dim")
    if lost:
        print(f"{lost} of {len(values)} items have no finite log p and are left out of the mean")
    if out is not None:
        buffer = io.BytesIO()
        np.save(buffer, values, allow_pickle=False)
        write_atomic(out, buffer.getvalue())
        print(f"{out}: log p of each item, nats")


def _read(file: Path) -> Any:
    """Read an array of numbers.

    Raises:
        UsageError: the file is missing or holds something else.
    """
    import numpy as np

    if not file.is_file():
        raise UsageError(f"{file} does not exist; name a .npy file")
    try:
        array = np.load(file, allow_pickle=False)
    except (ValueError, EOFError, OSError):
        array = None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
        raise UsageError(f"{file} is not a .npy file of numbers; write one with numpy.save")
    return array.astype(np.float64)


def _check(file: Path, items: Any, model: Any) -> None:
    """Refuse items that the model is not of, before anything is computed."""
    import numpy as np

    wanted = ", ".join(map(str, model.shape))
    if items.ndim != len(model.shape) + 1 or items.shape[1:] != model.shape or not len(items):
        raise UsageError(f"{file}: shape {items.shape} does not fit; the model takes (n, {wanted})")
    if bad := int((~np.isfinite(items)).sum()):
        raise UsageError(f"{file}: {bad} of its values are NaN or infinite; remove them")
    if model.config["data"]["kind"] == "images":
        low, high = model.config["data"]["range"]
        if items.min() < low or items.max() > high:
            raise UsageError(
                f"{file}: values from {items.min():g} to {items.max():g} leave the model's range "
                f"{low:g} to {high:g}; rescale them"
            )
