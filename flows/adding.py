"""`sgm data add`: the dataset enters the project, and its raw files enter DVC."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from flows.project import Project
from sgm_core.errors import SgmError, UsageError


def add(project: Project, name: str, path: Path, options: dict[str, Any], track: bool) -> None:
    """Add a dataset and track data/raw/NAME with DVC.

    What can be wrong with git and DVC is found before anything is changed. A call that was
    interrupted between the two steps can be repeated.

    Raises:
        UsageError: the data, the name or an option is wrong, or git or DVC are missing.
        SgmError: DVC failed; the dataset itself is added.
    """
    if track:
        _require_dvc(project.root)
    raw = project.root / "data" / "raw" / name
    # params.yaml is read, extended and written, and DVC refuses to run twice at once.
    with project.lock("data-add", waiting="waiting for another sgm data add ..."):
        if not (track and name in project.config().datasets and _untracked(raw)):
            from sgm_core.data import add_dataset

            add_dataset(project.root, name, path, **options)
        if track:
            _dvc_add(project.root, raw)
    chosen = options["experiment"] or options["activate"]
    print(_next_steps(name, chosen, options["activate"]))


def _require_dvc(root: Path) -> None:
    advice = "or pass --no-dvc to add it untracked"
    if find_spec("dvc") is None:
        raise UsageError(f"DVC is not installed; install it (pip install dvc), {advice}")
    if not (root / ".dvc").is_dir():
        raise UsageError(f"{root} is not a DVC project; run: dvc init, {advice}")
    no_scm = "no_scm = true" in (root / ".dvc" / "config").read_text(encoding="utf-8").lower()
    if no_scm:
        return
    if shutil.which("git") is None:
        raise UsageError(f"git is not installed, and DVC needs it; install git, {advice}")
    inside = subprocess.run(
        ["git", "rev-parse", "--git-dir"], cwd=root, capture_output=True, check=False
    )
    if inside.returncode:
        raise UsageError(f"{root} is not a git repository; run: git init, {advice}")


def _untracked(raw: Path) -> bool:
    return raw.is_dir() and not raw.with_name(f"{raw.name}.dvc").exists()


def _dvc_add(root: Path, raw: Path) -> None:
    relative = raw.relative_to(root).as_posix()
    command = [sys.executable, "-m", "dvc", "add", "--quiet", relative]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no message"]
        reason = lines[0].removeprefix("ERROR: ").rstrip(". ")
        raise SgmError(
            f"the dataset is added, but DVC could not track it ({reason}); run: dvc add {relative}"
        )
    print(f"tracked: {relative}.dvc (commit it with params.yaml; dvc push stores the files)")


def _next_steps(name: str, experiment: bool, active: bool) -> str:
    if active:
        return f"next: dvc repro (or: sgm run {name})"
    if experiment:
        return f"next: add {name} to `active` in params.yaml and run dvc repro, or: sgm run {name}"
    return f"next: add an experiment with `dataset: {name}` to params.yaml (or use --experiment)"
