"""Prepared data on a machine that has none yet: `dvc pull` in its own checkout.

Agents that share no disk have the project at the same path, at the same commit, and DVC's remote.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

from flows.project import Project
from sgm_core.errors import SgmError

SECONDS = 3600.0


def pull_data(
    project: Project,
    experiment: str,
    log: Callable[[str], None],
    digest: str = "",
    reference: str = "",
) -> None:
    """Get the prepared data and the reference of an experiment from DVC's remote, if they are missing.

    Args:
        digest, reference: of the prepared data and of its reference that are wanted ("": any).

    Raises:
        SgmError: they cannot be got.
    """
    folders = [project.prepared(experiment), project.reference(experiment)]
    files = [folders[0] / "dataset.json", folders[1] / "reference.json"]

    def there() -> bool:
        wanted = zip(files, (digest, reference), strict=True)
        return all(f.is_file() and d in f.read_text(encoding="utf-8") for f, d in wanted)

    if there():
        return
    with project.lock("dvc-pull"):
        if there():  # another worker of this machine was faster
            return
        names = [folder.relative_to(project.root).as_posix() for folder in folders]
        log(f"dvc pull {' '.join(names)}")
        done = subprocess.run(
            [sys.executable, "-m", "dvc", "pull", "--quiet", *names],
            cwd=project.root,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    if not there():
        words = (done.stderr.strip() or done.stdout.strip()).splitlines()
        why = words[0][:300] if words else "what it got is of another version"
        raise SgmError(
            f"{folders[0]}: the data is not here and dvc pull did not get it ({why}); run dvc push "
            "where it was made, commit dvc.lock, and git pull here"
        )
