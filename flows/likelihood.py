"""`sgm likelihood`: log densities of the items of a file under a model."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any

from flows.choices import as_written, check_file
from flows.sampling import check_out, open_model
from sgm_core.errors import UsageError
from sgm_core.store.files import write_atomic

BATCH = 250


def likelihood_of_file(
    model: str,
    file: Path,
    out: Path | None,
    rtol: float,
    exact: bool,
    seed: int = 0,
    *,
    process: Any = None,
    bound: bool = False,
) -> None:
    """Print the mean log density of the items of a .npy file, for images also bits/dim.

    Images of whole numbers are dequantised first, if the model's are such (`has_levels`): a value v
    is spread over [v - 1/2, v + 1/2].

    Args:
        model: see `flows.sampling.find_model`.
        file: items (n, *shape) in the data's own range.
        out: .npy file for log p of each item, (n,) float64, nats, over the data's own units.
        rtol: relative and absolute tolerance of the solver.
        exact: the trace by d products instead of random signs.
        seed: of dequantisation and signs; item i uses seed + i.
        process: the path of integration, see `ScoreModel.log_prob`.
        bound: print the augmented processes' lower bound as well.

    Raises:
        UsageError: a file or an option is wrong.
        SgmError: the model's files were altered, or `out` cannot be written.
    """
    if out is not None:
        check_out(out, (".npy",))
    if not 0 < rtol <= 1:
        raise UsageError(f"--rtol: {rtol!r} is not valid; choose between 0 and 1")
    items = _read(file)
    loaded = open_model(model)
    _check(file, items, loaded)
    import numpy as np

    from sgm_core.evaluate.likelihood import dequantise, image_bits, log_probs

    images = loaded.config["data"]["kind"] == "images"
    levels = images and has_levels(*loaded.space.range)
    whole = levels and bool((items == np.round(items)).all())
    spread = dequantise(items, seed) if whole else items
    chosen = {
        "sigma_min": loaded.config["sampling"]["sigma_min"],
        "rtol": rtol,
        "atol": rtol,
        "divergence": "exact" if exact else "auto",
        "process": process,
    }
    begin = time.perf_counter()
    with as_written():
        forward = loaded.denoiser(process).process
        if bound and forward.k == 1:
            raise UsageError(
                f"--bound: {forward.kind!r} has no auxiliary channels, its log p is the exact one; "
                "leave --bound out or write --process cld"
            )
        values, record = log_probs(loaded, spread, batch=BATCH, seed=seed, **chosen)
        lower = _bounds(loaded, spread, seed, chosen) if bound else None
    seconds = time.perf_counter() - begin
    finite = np.isfinite(values)
    lost = int((~finite).sum())
    mean = float(values[finite].mean()) if lost < len(values) else float("nan")
    text = f"{file}: {len(values)} items, mean log p {mean:.4f} nats"
    if whole and lost < len(values):
        bits = image_bits(values[finite], loaded.shape)
        text += f", {float(bits.mean()):.4f} bits/dim"
    if lower is not None:
        text += f"; {forward.kind}'s bound {float(lower.mean()):.4f} nats"
    trace = f"{record.probes} sign vector" if record.probes else "exact trace"
    text += (
        f"; {record.nfe} evaluations, {trace}, rtol {rtol:g}, data smoothed by "
        f"sigma_eps {record.sigma_eps:g}, {seconds:.2f} s"
    )
    print(text)
    if images and not whole:
        low, high = loaded.space.range
        why = f"a range of {low:g} to {high:g} has no whole-numbered levels"
        why = "values are not whole numbers" if levels else why
        print(f"{why}: densities of the values as they are, no bits/dim")
    if lost:
        print(f"{lost} of {len(values)} items have no finite log p and are left out of the mean")
    if out is not None:
        buffer = io.BytesIO()
        np.save(buffer, values, allow_pickle=False)
        write_atomic(out, buffer.getvalue())
        print(f"{out}: log p of each item, nats")


def has_levels(low: float, high: float) -> bool:
    """Return whether images of this range have whole numbers for levels, such as 0 to 16 or 0 to 255.

    The values alone do not tell: black and white pixels of images in [0, 1] are whole numbers too. So
    are three levels of [-1, 1], which is a scale, and so a range must be wider than 2.
    """
    return low == round(low) and high == round(high) and high - low > 2


def _bounds(model: Any, items: Any, seed: int, options: dict[str, Any]) -> Any:
    """Return the lower bound of log p of each item, (n,) nats over the data's own units."""
    import numpy as np

    parts = [
        np.asarray(model.bound(items[i : i + BATCH], seeds=seed + i, **options).value)
        for i in range(0, len(items), BATCH)
    ]
    return np.concatenate(parts)


def _read(file: Path) -> Any:
    """Read an array of numbers.

    Raises:
        UsageError: the file is missing or holds something else.
    """
    import numpy as np

    check_file(file, "file")
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
    if not items.size:
        raise UsageError(f"{file}: is empty; the model takes (n, {wanted})")
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
