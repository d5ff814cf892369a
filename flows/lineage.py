"""Lineage: everything that is needed to say where a model came from, as flat text tags.

cell and evaluation key -> what was trained and measured
git commit, dirty flag, parameters, constraints -> with which code and versions
DVC's md5 and the data digest -> on which data
weights' SHA-256 -> which bytes came out
"""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import suppress
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from flows.project import PARAMS, Project
from sgm_core.store.files import canonical_json, sha256_bytes, sha256_file

LOCK = "dvc.lock"


def lineage(project: Project, outcome: Any) -> dict[str, str]:
    """Return the tags of a finished cell (`sgm_core.cell.Outcome`) for its run and its versions."""
    spec, cell, evaluation = outcome.spec, outcome.cell, outcome.evaluation
    tags = {
        "sgm.experiment": spec.experiment,
        "sgm.cell": spec.name,
        "sgm.cell_key": cell.key,
        "sgm.evaluation_key": evaluation.key,
        "sgm.data_digest": spec.data_digest,
        "sgm.weights_sha256": str(cell.summary.get("weights_sha256", "")),
        "sgm.seed": str(spec.seed),
        "sgm.device": str(spec.training.get("device", "")),
        "sgm.params_sha256": sha256_bytes(
            canonical_json([spec.process, spec.net, spec.training, spec.seed])
        ),
        "sgm.trained": str(cell.manifest.get("created", "")),
    }
    return tags | environment_tags(project.root) | data_tags(project, spec.experiment)


def lineage_document(outcome: Any, tags: dict[str, str]) -> dict[str, Any]:
    """Return what a version needs to be made again (`sgm reproduce`), as plain JSON.

    `spec` is the cell as it was planned, `identity` everything that its key stands for.
    """
    identity = dict(outcome.cell.manifest["describe"])
    spec = outcome.spec.as_dict()
    return {"format": 1, "spec": spec, "identity": identity, "tags": tags}


def environment_tags(root: Path) -> dict[str, str]:
    """Return the tags of the checkout and the installed versions (the same for every cell)."""
    tags = dict(_git(root))
    for file in ("constraints.txt", PARAMS):
        if (root / file).is_file():
            tags[f"sgm.{Path(file).stem}_file_sha256"] = sha256_file(root / file)
    return tags | dict(_versions())


def data_tags(project: Project, experiment: str) -> dict[str, str]:
    """Return DVC's md5 of the experiment's inputs, from dvc.lock; empty without one."""
    md5 = dvc_md5(project.root)
    found = {}
    for kind, folder in (
        ("prepared", project.prepared(experiment)),
        ("reference", project.reference(experiment)),
    ):
        path = folder.relative_to(project.root).as_posix()
        if path in md5:
            found[f"sgm.dvc_md5.{kind}"] = md5[path]
    return found


def dvc_md5(root: Path) -> dict[str, str]:
    """Return path -> md5 of every output in dvc.lock; a missing or odd file gives nothing.

    During the first `dvc repro` dvc.lock already holds the stages that ran before the grid.
    """
    try:
        lock = yaml.safe_load((root / LOCK).read_text(encoding="utf-8")) or {}
        outs = [out for stage in lock["stages"].values() for out in stage.get("outs", [])]
        return {str(out["path"]): str(out["md5"]) for out in outs if "md5" in out}
    except (OSError, yaml.YAMLError, KeyError, AttributeError, TypeError):
        return {}


def params_of(spec: Any) -> dict[str, str]:
    """Return a cell's resolved parameters flat, e.g. `training.lr`, for MLflow."""
    flat = {"process": spec.process.get("kind", ""), "net": spec.net.get("kind", "")}
    for section in ("process", "net", "training"):
        for key, value in getattr(spec, section).items():
            flat[f"{section}.{key}"] = value
    flat["seed"] = spec.seed
    return {k: v if isinstance(v, str) else json.dumps(v) for k, v in flat.items()}


@lru_cache(maxsize=8)
def _git(root: Path) -> tuple[tuple[str, str], ...]:
    """Return commit and dirty flag as tags; none where there is no git or no commit."""
    commit = _run(root, "rev-parse", "HEAD")
    if commit is None:
        return ()
    # Reports and dvc.lock are what the run itself writes.
    ours = [".", f":!{LOCK}", ":!reports"]
    changes = _run(root, "status", "--porcelain", "--untracked-files=no", "--", *ours)
    dirty = "unknown" if changes is None else str(bool(changes)).lower()
    return (
        ("sgm.git_commit", commit),
        ("sgm.git_dirty", dirty),
        ("mlflow.source.git.commit", commit),
    )


@cache
def _versions() -> tuple[tuple[str, str], ...]:
    """Return the installed versions as tags; reading a package's metadata takes milliseconds."""
    found = []
    for package in ("torch", "numpy", "mlflow"):
        with suppress(PackageNotFoundError):
            found.append((f"sgm.version.{package}", version(package)))
    return tuple(found)


def _run(root: Path, *arguments: str) -> str | None:
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=root,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
