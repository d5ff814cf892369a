"""`sgm reproduce models:/NAME@champion`: the same weights again, from nothing but the lineage.

    version -> lineage.json -> clone of its commit -> its data prepared anew -> trained anew
            -> SHA-256 of the weights against the published one

The clone trains only if it would train exactly this cell: process, network, training, seed, data,
code and torch release must be those of the lineage, else the first that differs is named. On the CPU
the weights are equal, bit for bit, on the same kind of machine; those of a cell that was trained in a
stack (`training.stack`) are so up to rounding, and how far they are is said.
"""

from __future__ import annotations

import contextlib
import filecmp
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flows import rebuild
from flows.packaging import LINEAGE, WEIGHTS
from flows.progress import display
from flows.project import Project
from flows.registry import WEIGHTS as WEIGHTS_TAG
from flows.verify import verified
from flows.versions import Registry, version_of
from sgm_core.errors import SgmError, UsageError
from sgm_core.store.files import read_json
from sgm_core.worker import thread_environment

MARK = ".sgm-reproduce"
NAMES = {
    "code": "the code of sgm_core (the tree had changes that are not committed)",
    "torch": "the torch release",
    "training": "the training's fields",
    "process": "the process's fields",
    "net": "the network's fields",
}


def reproduce(project: Project, uri: str, into: Path | None = None) -> str:
    """Train a registered version again in a clean clone and compare the weights.

    Args:
        uri: models:/NAME@alias or models:/NAME/3.
        into: folder for clone and training, kept; an interrupted one is gone on with. None: a
            temporary one.

    Returns:
        A sentence: the weights are equal, or, of a cell of a stack, how far they are.

    Raises:
        UsageError: there is no such version, or `into` is in use.
        SgmError: its files were altered, it cannot be trained again here, or the weights differ.
    """
    registry = Registry(project)
    version = version_of(registry, uri)
    name = f"version {version.version} of {version.name}"
    folder = verified(registry, version) / "artifacts" / "model"
    if not (folder / LINEAGE).is_file():
        raise SgmError(f"{name} was published without {LINEAGE}; publish it again")
    record = read_json(folder / LINEAGE)
    commit = str(record["tags"].get("sgm.git_commit", ""))
    if not commit:
        raise SgmError(f"{name} was published from a folder without git; it has no commit to clone")
    with _workplace(into) as place:
        clone = _clone(project, commit, place / "clone")
        dataset = _prepare(record, clone, place)
        print(f"training {record['spec']['name']} again", flush=True)
        result = _rebuild(record, clone, dataset, place)
        if result["differs"]:
            what = NAMES.get(result["differs"][0], result["differs"][0])
            raise SgmError(f"{name} cannot be trained again from {commit[:12]}: other is {what}")
        wanted, found = str(version.tags[WEIGHTS_TAG]), str(result["weights_sha256"])
        if found != wanted:
            far = _distance(folder / WEIGHTS, Path(result["folder"]) / WEIGHTS)
            if record["spec"]["training"].get("stack", 1) > 1:
                return (
                    f"{name} is trained again from {commit[:12]}, alone and not in its stack: its weights "
                    f"are equal up to rounding only, {far}"
                )
            raise SgmError(
                f"{name}: other weights came out of {commit[:12]}: {found[:16]} in place of "
                f"{wanted[:16]}, {far}"
            )
    return f"{name} is reproduced: commit {commit[:12]} gives the same weights, SHA-256 {found}"


@contextlib.contextmanager
def _workplace(into: Path | None) -> Iterator[Path]:
    if into is not None:
        yield _kept(into.resolve())
        return
    with tempfile.TemporaryDirectory(prefix="sgm-reproduce-") as name:
        yield Path(name).resolve()


def _kept(place: Path) -> Path:
    """Return a folder of the user's that is new, empty, or of an earlier `sgm reproduce`.

    Git is told to check out a commit by force in there: nothing else may be in its way.
    """
    mark = place / MARK
    if place.exists() and not mark.is_file() and not (place.is_dir() and not any(place.iterdir())):
        raise UsageError(
            f"--into: {place} is neither empty nor of an earlier sgm reproduce; name a new folder"
        )
    try:
        place.mkdir(parents=True, exist_ok=True)
        mark.write_text("Made by sgm reproduce; may be deleted.\n", encoding="utf-8")
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"--into: {place} cannot be written ({reason}); name another") from None
    return place


def _clone(project: Project, commit: str, clone: Path) -> Path:
    """Clone the project's repository at a commit; raw data that is not in git comes along."""
    top = Path(_git(project.root, "rev-parse", "--show-toplevel")).resolve()
    if not (clone / ".git").is_dir():
        shutil.rmtree(clone, ignore_errors=True)
        print(f"cloning {commit[:12]}", flush=True)
        part = clone.with_name(f"{clone.name}.part")  # one that was killed is begun again
        shutil.rmtree(part, ignore_errors=True)
        _git(project.root, "clone", "--quiet", "--no-checkout", str(top), str(part))
        part.rename(clone)
    _git(clone, "checkout", "--quiet", "--force", "--detach", commit)
    home = clone / project.root.relative_to(top)
    raw = project.root / "data" / "raw"
    committed = set(_git(home, "ls-files", "data/raw").splitlines())
    for file in raw.rglob("*"):
        path = file.relative_to(project.root)
        target = home / path
        if not file.is_file() or path.as_posix() in committed:
            continue
        if not (target.is_file() and filecmp.cmp(file, target, shallow=False)):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, target)
    return home


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise SgmError("git is not installed; install it and repeat") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise SgmError(
            f"git {arguments[0]} failed in {folder}: {last}; fetch the commit and repeat"
        )
    return done.stdout.strip()


def _prepare(record: dict[str, Any], clone: Path, place: Path) -> Path:
    """Prepare the cell's data in the clone; its digest must be that of the lineage."""
    experiment, digest = record["spec"]["experiment"], record["spec"]["data_digest"]
    print(f"preparing the data of {experiment}", flush=True)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "flows", "prepare", experiment],
        cwd=clone,
        env=_environment(clone, place),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise SgmError(f"the data of {experiment} could not be prepared in the clone: {last}")
    dataset = clone / "data" / "prepared" / experiment
    found = str(read_json(dataset / "dataset.json")["digest"])
    if found != digest:
        raise SgmError(
            f"the data of {experiment} is not what the version was trained on: digest {found[:16]} "
            f"in place of {digest[:16]}; restore data/raw (dvc pull), or commit the dataset's "
            "parameters before publishing"
        )
    return dataset


def _rebuild(record: dict[str, Any], clone: Path, dataset: Path, place: Path) -> dict[str, Any]:
    """Run `flows.rebuild` with the clone's sgm_core; show its progress."""
    lineage = place / LINEAGE
    lineage.write_text(json.dumps(record), encoding="utf-8")
    # -P: the script's own folder is not on the path, so only the clone's code is found.
    command = [sys.executable, "-P", str(Path(rebuild.__file__)), str(lineage), str(dataset)]
    environment = _environment(clone, place) | thread_environment(record["spec"]["training"])
    process = subprocess.Popen(
        [*command, str(place / "work")],
        cwd=clone,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    last = "no message"
    assert process.stdout is not None and process.stderr is not None
    try:
        with display() as shown:
            for line in process.stderr:
                try:
                    shown.event("reproduce", dict(json.loads(line)))
                except (ValueError, TypeError):
                    last = line.strip() or last
        output = process.stdout.read()
    except BaseException:
        process.terminate()  # it saves a checkpoint
        raise
    if process.wait():
        raise SgmError(f"the training in the clone failed: {last}")
    return dict(json.loads(output.strip().splitlines()[-1]))


def _environment(clone: Path, place: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "PREFECT_"))}
    return kept | {"PYTHONPATH": str(clone), "SGM_HOME": str(place / "state")}


def _distance(published: Path, again: Path) -> str:
    """Say how far two sets of weights are from each other."""
    import numpy as np
    from safetensors.numpy import load_file

    a, b = load_file(str(published)), load_file(str(again))
    if {k: v.shape for k, v in a.items()} != {k: v.shape for k, v in b.items()}:
        return "of other shapes"
    square = sum(float(((a[k].astype(np.float64) - b[k]) ** 2).sum()) for k in a)
    size = sum(float((a[k].astype(np.float64) ** 2).sum()) for k in a)
    return f"relative distance {np.sqrt(square / max(size, 1e-300)):.2g}"
