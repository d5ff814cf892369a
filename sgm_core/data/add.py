"""One's own data into the project: read it, copy it to data/raw/NAME, enter it into params.yaml.

Everything is checked before anything is written, and the copy appears under its name at once (it is
made beside it and renamed), so a failure leaves the project as it was.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sgm_core.config import load_config, parse_config
from sgm_core.config.base import build
from sgm_core.config.data import DATASETS, DatasetParams
from sgm_core.data.image import is_hidden, is_image_name
from sgm_core.data.prepare import inspect
from sgm_core.data.snippet import experiment_snippet
from sgm_core.data.table import SUFFIXES
from sgm_core.data.yaml_edit import add_entry, add_item
from sgm_core.errors import SgmError, UsageError
from sgm_core.store.files import fsync_dir, os_errors, write_atomic

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")


def add_dataset(
    root: Path,
    name: str,
    source: Path,
    *,
    height: int = 0,
    width: int = 0,
    channels: int = 0,
    label: str = "",
    skip_unreadable: bool = False,
    experiment: bool = False,
    activate: bool = False,
    log: Callable[[str], None] = print,
) -> DatasetParams:
    """Add a folder of images or a file of points (or of arrays) as dataset `name`.

    Args:
        root: the project's folder (it holds params.yaml).
        name: the new dataset: a letter, then letters, digits, - and _.
        source: folder of images, or a CSV, TSV, Parquet, .npy or .npz file (copied).
        height, width: size of the images in pixels (0: as in the files).
        channels: 1 or 3 (0: as in the files).
        label: column (or array of .npz) with classes.
        skip_unreadable: leave unreadable images out instead of failing.
        experiment: also enter a first experiment (`experiment_snippet`).
        activate: also add it to `active`; implies `experiment`.
        log: called with lines for the user.

    Returns:
        The dataset's parameters, as they now stand in params.yaml.

    Raises:
        UsageError: the name is taken or not usable, or the data is wrong.
        SgmError: the copy or params.yaml cannot be written.
    """
    root, source = Path(root), Path(source)
    file = root / "params.yaml"
    config = load_config(file)
    if not NAME.fullmatch(name):
        raise UsageError(
            f"name: {name!r} is not usable; write a letter, then letters, digits, - or _"
        )
    experiment = experiment or activate
    if name in config.datasets:
        raise UsageError(
            f"name: dataset {name!r} exists already in {file.name}; choose another name"
        )
    if experiment and name in config.experiments:
        raise UsageError(f"name: experiment {name!r} exists already; choose another name")
    target = root / "data" / "raw" / name
    in_place = _check_places(source, target)
    fields = _fields(source, height, width, channels, label, skip_unreadable)
    path = f"data/raw/{name}" if source.is_dir() else f"data/raw/{name}/{source.name}"
    model = DATASETS[str(fields.pop("kind"))]
    where = ("datasets", name)
    checked = inspect(
        name, build(model, fields | {"path": str(source.resolve())}, where), root, log
    )
    params = build(model, fields | {"path": path}, where)

    text = _read(file)
    entry = ", ".join(
        f"{key}: {_scalar(value)}" for key, value in ({"path": path} | fields).items()
    )
    new = add_entry(text, "datasets", name, f"  {name}: {{kind: {model.kind}, {entry}}}\n")
    if experiment:
        new = add_entry(new, "experiments", name, experiment_snippet(name, checked.meta))
    if activate:
        new = add_item(new, "active", name)
    _check_text(new)
    if not in_place:
        _copy(source, target)
    try:
        with os_errors(file):
            write_atomic(file.resolve(), new.encode())
    except SgmError:
        if not in_place:
            shutil.rmtree(target, ignore_errors=True)
        raise
    shape = " x ".join(str(size) for size in checked.meta["shape"])
    classes = f", {len(checked.meta['labels'])} classes" if checked.meta["labels"] else ""
    total = sum(checked.meta["counts"].values())
    log(f"{name}: {total} {checked.meta['kind']} of {shape}{classes} added to {file.name}")
    return params


def _check_places(source: Path, target: Path) -> bool:
    """Check that the data can be copied; return True if it lies at its place already."""
    if not source.exists():
        raise UsageError(f"path: {source} does not exist; name a folder of images or a file")
    inside = source.resolve() if source.is_dir() else source.resolve().parent
    if inside == target.resolve():
        return True
    if target.exists() or target.is_symlink():
        raise UsageError(f"{target} exists already and is never overwritten; choose another name")
    if source.is_dir() and target.resolve().is_relative_to(source.resolve()):
        raise UsageError(f"path: {source} contains the project's data folder; name one outside it")
    return False


def _fields(
    source: Path, height: int, width: int, channels: int, label: str, skip_unreadable: bool
) -> dict[str, Any]:
    """Return the entry's fields without `path`; an option of the other kind is an error."""
    folder = {"height": height, "width": width, "channels": channels}
    images = folder | {"skip_unreadable": skip_unreadable}
    if source.is_dir():
        if label:
            raise UsageError(
                f"label: {label!r} is for tables; a folder's classes are its sub-folders"
            )
        return {"kind": "folder"} | {key: value for key, value in images.items() if value}
    if is_image_name(source.name) and not source.name.lower().endswith(SUFFIXES):
        raise UsageError(f"path: {source} is one image; name the folder that holds the images")
    for key, value in images.items():
        if value:
            raise UsageError(f"{key}: {value} is for folders of images, and {source} is a file")
    return {"kind": "table"} | ({"label": label} if label else {})


def _scalar(value: object) -> str:
    """Write a value in YAML; a text is quoted wherever a plain one could be misread."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) or re.fullmatch(r"[A-Za-z][A-Za-z0-9_./-]*", str(value)):
        text = str(value)
        if text.lower() not in ("y", "n", "yes", "no", "on", "off", "true", "false", "null"):
            return text
    return "'" + str(value).replace("'", "''") + "'"


def _read(file: Path) -> str:
    with file.open(encoding="utf-8", newline="") as stream:
        return stream.read()


def _check_text(text: str) -> None:
    """Make sure that the new params.yaml is valid before anything is written."""
    import yaml

    parse_config(yaml.safe_load(text))


def _copy(source: Path, target: Path) -> None:
    """Copy a file or a folder (without hidden files) and make it appear at once."""
    partial = target.with_name(f".{target.name}.partial")
    with os_errors(target):
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            if source.is_dir():
                _copy_folder(source, partial)
            else:
                shutil.copyfile(source, partial / source.name)
            partial.rename(target)
            fsync_dir(target.parent)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _copy_folder(source: Path, target: Path) -> None:
    for child in sorted(source.iterdir()):
        if is_hidden(child.name):
            continue
        if child.is_dir():
            (target / child.name).mkdir()
            _copy_folder(child, target / child.name)
        elif child.is_file():
            shutil.copyfile(child, target / child.name)
