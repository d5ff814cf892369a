"""The data stages: raw -> data/prepared/NAME -> data/reference/NAME.

NAME is an experiment (its dataset is prepared for it) or a dataset by itself. DVC decides when a
stage runs; what the stage costs is decided here: a stamp in the state folder holds what the output
was made from (parameters, raw files, code) and the output's digest. If both still hold, the files
are verified and nothing is made again, so that an edited comment or an added dataset costs
milliseconds, and `sgm run` skips finished stages without DVC.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from flows.project import Project
from sgm_core.code import closure_hash
from sgm_core.config import Config
from sgm_core.config.data import DatasetParams
from sgm_core.errors import SgmError, UsageError, unknown
from sgm_core.store.files import canonical_json, read_json, sha256_bytes, sha256_file, write_json

Log = Callable[[str], None]
# Packages that decode or write the data: a new one may round or decode otherwise.
READERS = ("numpy", "scikit-learn", "pandas", "pyarrow", "pillow", "fonttools")


def dataset_of(config: Config, name: str) -> str:
    """Return the dataset behind a name: that of the experiment, else the dataset itself."""
    if name in config.experiments:
        return config.experiments[name].dataset
    if name in config.datasets:
        return name
    raise unknown("experiment or dataset", name, sorted({*config.experiments, *config.datasets}))


def prepare(project: Project, name: str, log: Log = print) -> bool:
    """Make data/prepared/NAME; return False if it was up to date.

    Raises:
        UsageError: the name is unknown or the raw data is wrong.
        SgmError: the output could not be written.
    """
    config = project.config()
    dataset = dataset_of(config, name)
    params, out = config.dataset(dataset), project.prepared(name)

    def build() -> None:
        from sgm_core.data import prepare as build_dataset

        build_dataset(dataset, params, project.root, out, log)

    inputs = {
        "dataset": dataset,
        "params": {"kind": params.kind, **params.model_dump(mode="json")},
        "raw": raw_state(project.root, params),
        "code": closure_hash(["sgm_core.data.prepare", params.target.partition(":")[0]]),
        "versions": {name: version(name) for name in READERS},
    }
    with project.lock(f"data-{name}", waiting=f"{name}: waiting for another prepare ..."):
        return _make(project, f"prepare-{name}", inputs, out / "dataset.json", build, log)


def reference(project: Project, name: str, log: Log = print) -> bool:
    """Make data/reference/NAME from data/prepared/NAME; return False if it was up to date.

    Raises:
        UsageError: the name is unknown.
        SgmError: the prepared data is missing or damaged, or the output could not be written.
    """
    config = project.config()
    dataset_of(config, name)
    source, out = project.prepared(name), project.reference(name)
    weights = weights_of(project, config, name)
    if not (source / "dataset.json").is_file():
        raise SgmError(f"{source} is missing; run: sgm prepare {name}")

    def build() -> None:
        from sgm_core.evaluate.reference import make_reference
        from sgm_core.threads import every_core

        with every_core():
            make_reference(source, out, log, weights=weights)

    inputs = {
        "weights": None if weights is None else sha256_file(weights),
        "dataset": read_json(source / "dataset.json")["digest"],
        "code": closure_hash(["sgm_core.evaluate.reference"]),
        "versions": {name: version(name) for name in ("numpy", "scipy", "torch")},
    }
    with project.lock(f"data-{name}", waiting=f"{name}: waiting for another reference ..."):
        return _make(project, f"reference-{name}", inputs, out / "reference.json", build, log)


def weights_of(project: Project, config: Config, name: str) -> Path | None:
    """Return the file of Inception-v3's weights, if the experiment's images are compared with it.

    Raises:
        UsageError: there is no such file.
    """
    experiment = config.experiments.get(name)
    if experiment is None or experiment.reference.extractor == "own":
        return None
    file = project.root / experiment.reference.weights
    if not file.is_file():
        why = "is not a file" if file.exists() else "does not exist"
        raise UsageError(f"experiments.{name}.reference.weights: {file} {why}; mend the path")
    return file


def _make(
    project: Project,
    stamp_name: str,
    inputs: dict[str, Any],
    index: Path,
    build: Callable[[], None],
    log: Log,
) -> bool:
    """Run `build` unless the stamp says that `index` came from the same inputs and still holds."""
    stamp = project.state / "stamps" / f"{stamp_name}.json"
    key = sha256_bytes(canonical_json(inputs))
    old = read_json(stamp) if stamp.is_file() else {}
    if old.get("inputs") == key and _holds(index, old.get("index")):
        log(f"{index.parent.relative_to(project.root)} is up to date")
        return False
    build()
    write_json(stamp, {"inputs": key, "index": sha256_file(index)})
    return True


def _holds(index: Path, digest: str | None) -> bool:
    """Check the index file and every file that it lists against their SHA-256."""
    try:
        if sha256_file(index) != digest:
            return False
        files = read_json(index).get("files", {})
        return all(
            sha256_file(index.parent / name) == _sha256(entry) for name, entry in files.items()
        )
    except (OSError, SgmError):
        return False


def _sha256(entry: Any) -> str:
    return str(entry["sha256"] if isinstance(entry, dict) else entry)


def raw_state(root: Path, params: DatasetParams) -> list[list[Any]]:
    """Return what the raw files of a dataset look like: name, size and time of change.

    They are the files at `path`, and what the reader's own `inputs(params, root)` names, for a
    reader that looks in several places; what is absent is for the reader to report. (Data that a
    reader downloads is not there before the first run, so the second one prepares it once more.)
    """
    reader = import_module(params.target.partition(":")[0])
    path = str(getattr(params, "path", ""))
    places = [root / path] if path else []
    if hasattr(reader, "inputs"):
        places = reader.inputs(params, root)
    files = {file for place in places for file in _files(place)}
    return [
        [os.path.relpath(f, root), f.stat().st_size, f.stat().st_mtime_ns] for f in sorted(files)
    ]


def _files(place: Path) -> list[Path]:
    return [file for file in (place, *place.rglob("*")) if file.is_file()]
