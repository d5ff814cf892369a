"""`sgm sample`: find a model by folder, cell or registry address, and write samples to a file."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flows.choices import as_written
from flows.project import Project
from sgm_core.cell import CELLS
from sgm_core.errors import SgmError, UsageError, unknown
from sgm_core.spec import all_cells
from sgm_core.store.files import read_json, write_atomic
from sgm_core.store.shared import store_at

Found = dict[str, tuple[Path, dict[str, Any]]]

SUFFIXES = (".npy", ".png")
PICTURED = 10_000  # images in one picture


def sample_to_file(
    model: str, out: Path, n: int, seed: int, label: str | None, options: dict[str, Any]
) -> None:
    """Draw `n` samples and write them as an array (.npy) or a picture (.png).

    Args:
        options: of `ScoreModel.sample`; None stands for the model's own setting.

    Raises:
        UsageError: the model, the file's ending or an option does not exist.
        SgmError: the model's files were altered, or the file cannot be written.
    """
    check_out(out)
    loaded = open_model(model)
    check_drawing(loaded, out, n, options)
    with as_written():
        result = loaded.sample(n, seed=seed, label=label_of(loaded, label), **options)
        write_result(out, loaded, result)


def check_out(out: Path, suffixes: Sequence[str] = SUFFIXES) -> None:
    """Refuse a file that cannot be written, before anything is drawn."""
    if out.suffix.lower() not in suffixes:
        raise UsageError(f"--out: {str(out)!r} is not valid; end it in {' or '.join(suffixes)}")
    if out.is_dir():
        raise UsageError(f"--out: {out} is a folder; name a file")
    try:  # by doing it: permissions do not tell of a read-only or virtual file system
        with tempfile.TemporaryFile(dir=out.parent):
            pass
    except OSError:
        raise UsageError(
            f"--out: {out.parent} is not a folder that can be written; choose another"
        ) from None


def check_drawing(model: Any, out: Path, n: int, options: Mapping[str, Any]) -> None:
    """Refuse guidance without classes, and a picture of too many images, before anything is drawn."""
    guidance = options.get("guidance")
    if guidance is not None and guidance != 1 and not model.labels:
        raise UsageError(
            f"--guidance: {guidance:g} was given and this model has no classes; leave it out"
        )
    if len(model.shape) == 3 and out.suffix.lower() == ".png" and n > PICTURED:
        raise UsageError(f"--out: {n} images do not fit into one picture; end it in .npy")


def write_result(
    out: Path, model: Any, result: Any, notes: Sequence[str] = (), columns: int | None = None
) -> None:
    """Write samples as an array (.npy) or a picture (.png), and print what was done.

    Args:
        notes: sentences to print as well.
        columns: images in a row of the picture; None: about as many as rows.

    Raises:
        SgmError: samples are not finite (nothing is written), or the file cannot be written.
    """
    _check_finite(result.x)
    if out.suffix.lower() == ".npy":
        _write_array(out, result.x)
    else:
        _write_picture(out, model, result, columns)
    shape = " x ".join(map(str, result.x.shape))
    print(f"{out}: {shape}, {result.nfe} evaluations per sample, {result.seconds:.2f} s")
    for note in notes:
        print(note)


def open_model(model: str) -> Any:
    """Load a model (see `find_model`); a cell samples by default as its experiment says.

    Raises:
        UsageError: there is no such model, or more than one.
        SgmError: its files are damaged or were altered.
    """
    folder, defaults = find_model(model)
    from sgm_core.model import ScoreModel

    loaded = ScoreModel.load(folder)
    loaded.config["sampling"] |= defaults
    return loaded


def label_of(model: Any, label: str | None) -> str | int | None:
    """Return a class as `ScoreModel.sample` takes it: a name, or an index written in digits."""
    if label is not None and label not in model.labels and label.lstrip("-").isdigit():
        return int(label)
    return label


def find_model(model: str) -> tuple[Path, dict[str, Any]]:
    """Return the folder of a model, and the sampling options of its experiment if it is a cell.

    Args:
        model: a folder with config.json; models:/NAME@alias or models:/NAME/3; a cell's name
            ("vp-mlp-s0", or "EXPERIMENT/vp-mlp-s0"); a cell's key or at least 8 digits of it.

    Raises:
        UsageError: there is no such model, or more than one.
    """
    if model.startswith("models:/"):
        return _registered(model), {}
    if (Path(model) / "config.json").is_file():
        return Path(model), {}
    if Path(model).is_dir():
        raise UsageError(f"model: {model} is a folder without config.json; name a model's folder")
    project = Project.find()
    found = _by_key(project, model) or _by_name(project, model)
    if not found:
        names = _cell_names(project)
        if (cell := model.rpartition("/")[2]) in names:
            raise UsageError(
                f"model: cell {cell!r} is not finished with the present parameters and code; "
                f"run: sgm run {names[cell]}"
            )
        raise unknown("model", model, names)
    if len(found) > 1:
        several = ", ".join(sorted(found))
        raise UsageError(f"model: {model!r} is not unique; name one of: {several}")
    return next(iter(found.values()))


def _by_key(project: Project, text: str) -> Found:
    if not re.fullmatch(r"[0-9a-f]{8,64}", text):
        return {}
    folders = (project.store / "cells").glob(f"{text}*/config.json")
    return {f.parent.name: (f.parent, {}) for f in folders if f.parent.name.isalnum()}


def _by_name(project: Project, text: str) -> Found:
    """Find finished cells of the current params.yaml by name."""
    wanted, _, cell = text.rpartition("/")
    store, found = store_at(project.store), Found()
    for name, experiment in project.config().experiments.items():
        meta = project.prepared(name) / "dataset.json"
        if (wanted and wanted != name) or not meta.is_file():
            continue
        for spec in all_cells(experiment, read_json(meta)["digest"]):
            if spec.name == cell and (entry := store.find(CELLS, spec.key)) is not None:
                found[f"{name}/{cell}"] = entry.path, experiment.sampling.model_dump(mode="json")
    return found


def _cell_names(project: Project) -> dict[str, str]:
    """Return cell -> experiment; of a name in several experiments the first active one."""
    config = project.config()
    names = {}
    for name in [*config.active, *config.experiments][::-1]:
        for spec in all_cells(config.experiments[name], ""):
            names[spec.name] = name
    return names


def _registered(uri: str) -> Path:
    """Return the model files of a registered version, compared with their hashes."""
    from flows.verify import verified
    from flows.versions import Registry, version_of

    registry = Registry(Project.find())
    return verified(registry, version_of(registry, uri)) / "artifacts" / "model"


def _check_finite(x: Any) -> None:
    import numpy as np

    lost = int((~np.isfinite(x)).reshape(len(x), -1).any(1).sum())
    if lost:
        raise SgmError(
            f"{lost} of {len(x)} samples are not finite, and nothing was written: the model or the "
            "path of sampling diverged; try more --steps, a smaller --guidance or another --sampler"
        )


def _write_array(out: Path, x: Any) -> None:
    import io

    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, x, allow_pickle=False)
    write_atomic(out, buffer.getvalue())


def _write_picture(out: Path, model: Any, result: Any, columns: int | None = None) -> None:
    """Write a mosaic of images, or a scatter of the first two coordinates of points."""
    from sgm_core.report.canvas import DARK, DPI, MADE, figure, place, png
    from sgm_core.report.images import enlargement, mosaic, pixels

    data, x = model.config["data"], result.x
    if data["kind"] == "images":
        columns = columns or min(len(x), max(1, round(len(x) ** 0.5)))
        sheet = mosaic(pixels(x, *data["range"]), columns, enlargement(x.shape, 64))
        edge = 12
        size = (sheet.shape[1] + 2 * edge) / DPI, (sheet.shape[0] + 2 * edge) / DPI
        drawn = figure(*size, DARK)
        place(drawn, sheet, edge, edge)
    else:
        drawn = figure(7, 7, DARK)
        axes = drawn.add_axes((0.02, 0.02, 0.96, 0.96), frameon=False)
        axes.set_xticks([])
        axes.set_yticks([])
        second = x[:, 1] if x.shape[1] > 1 else x[:, 0] * 0
        axes.scatter(x[:, 0], second, s=max(0.5, 400 / len(x) ** 0.8), c=MADE, linewidths=0)
        axes.set_aspect("equal", adjustable="datalim")
    write_atomic(out, png(drawn))
