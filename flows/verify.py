"""Are a version's files those that were published, and does it load where nothing of ours is?

sgm.files_sha256   tag of a version: SHA-256 over {file: SHA-256} of everything that it holds
files-DIGEST.json  that list, an artifact of the version's run: names the file that differs
"""

from __future__ import annotations

import atexit
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.project import mlflow_is_away
from flows.registry import WEIGHTS
from sgm_core.errors import SgmError
from sgm_core.store.files import canonical_json, json_bytes, read_json, sha256_bytes, sha256_file

if TYPE_CHECKING:
    from flows.versions import Registry

FILES = "sgm.files_sha256"
FOLDER = "published-files"
# MLflow adds this file where it downloads a version.
ADDED = "registered_model_meta"
# Python puts these beside what it imports, also in the registry's own folder.
CACHES = "__pycache__"
SECONDS = 600
# The first lines of a script that stands for a consumer of a published model.
WITHOUT_CHECKOUT = """
import json, os, sys
# An installation of the checkout must not help: consumers have none. One in the folder of all
# packages stays on the path, behind what MLflow puts there for the model.
sys.meta_path[:] = [f for f in sys.meta_path if "__editable__" not in getattr(f, "__module__", "")]
def ours(folder):
    has = lambda name: os.path.isdir(os.path.join(folder, name))
    return has("sgm_core") and not has("mlflow")
sys.path[:] = [p for p in sys.path if not ours(p)]
"""
LOADS = (
    WITHOUT_CHECKOUT
    + """
import mlflow, numpy
model = mlflow.pyfunc.load_model(sys.argv[1])
x = numpy.asarray(model.predict(None, params={"n": 2, "steps": 5}))
import sgm_core
place = os.path.realpath(sgm_core.__file__)
assert place.startswith(os.path.realpath(sys.argv[1])), "it runs code that was not published"
assert len(x) == 2 and numpy.isfinite(x).all(), "its samples are not finite"
print(json.dumps("loaded"))
"""
)


def listed(folder: Path) -> dict[str, str]:
    """Return file -> SHA-256 of everything that a published version holds."""
    files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
    return {
        file.relative_to(folder).as_posix(): sha256_file(file)
        for file in files
        if file != folder / ADDED
    }


def digest_of(files: dict[str, str]) -> str:
    """Return the hash that stands for a list of files."""
    return sha256_bytes(canonical_json(files))


def log_files(registry: Registry, run_id: str, uri: str) -> dict[str, str]:
    """Log the list of a model's files to its run; return the tag that the version gets."""
    files = listed(download(registry, uri))
    digest = digest_of(files)
    text = json_bytes(files).decode()
    with registry.errors():
        registry.client.log_text(run_id, text, f"{FOLDER}/{_name(digest)}")
    return {FILES: digest}


def download(registry: Registry, uri: str) -> Path:
    """Return a folder of this process's own with everything of a model.

    Nobody else can alter it after it was verified, and it has no compiled code in it, which would
    be run in place of the sources. It goes when the process ends.

    Raises:
        SgmError: MLflow failed, or the artifacts are gone.
    """
    import mlflow

    with registry.errors():
        mlflow.set_tracking_uri(registry.project.tracking_uri)
        place = tempfile.mkdtemp(prefix="sgm-version-")
        atexit.register(shutil.rmtree, place, ignore_errors=True)
        folder = Path(mlflow.artifacts.download_artifacts(uri, dst_path=place))
    for cache in [*folder.rglob(CACHES)] if folder.is_dir() else []:
        shutil.rmtree(cache)
    return folder


def verified(registry: Registry, version: Any) -> Path:
    """Return a local folder with the files of a version, every one compared with its hash.

    Raises:
        SgmError: a file is missing, was altered or added; the message names it.
    """
    name = f"version {version.version} of {version.name}"
    try:
        folder = download(registry, f"models:/{version.name}/{version.version}")
    except SgmError as error:
        if mlflow_is_away(error.__cause__ or error):
            raise
        why = " ".join(str(error.__cause__ or error).split())[:200]
        raise SgmError(f"{name}: its files cannot be read ({why}); {_advice(version)}") from error
    found, wanted = listed(folder), str(version.tags.get(FILES, ""))
    if not wanted:  # registered before the list was kept
        if _weights(found) != version.tags.get(WEIGHTS):
            raise SgmError(f"{name}: model.safetensors was altered; {_advice(version)}")
        return folder
    if digest_of(found) == wanted:
        return folder
    raise SgmError(f"{name}: {_difference(registry, version, found, wanted)}; {_advice(version)}")


def loads(folder: Path) -> str:
    """Load a model in a clean process and draw from it; return why it cannot be done, or ""."""
    with tempfile.TemporaryDirectory(prefix="sgm-load-") as empty:
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-B", "-c", LOADS, str(folder)],
                cwd=empty,
                capture_output=True,
                text=True,
                check=False,
                timeout=SECONDS,
            )
        except subprocess.TimeoutExpired:
            return f"it did not load in a clean process within {SECONDS} s"
    if done.returncode == 0:
        return ""
    last = (done.stderr.strip().splitlines() or ["no message"])[-1]
    return f"it does not load in a clean process ({last[:300]})"


def _difference(registry: Registry, version: Any, found: dict[str, str], wanted: str) -> str:
    """Name the files that are not what was published."""
    try:
        uri = f"runs:/{version.run_id}/{FOLDER}/{_name(wanted)}"
        files = dict(read_json(download(registry, uri)))
    except SgmError:
        return "its files were altered, and the list of them is gone"
    if digest_of(files) != wanted:
        return f"the list of its files, {_name(wanted)}, was altered"
    altered = [file for file in files if file in found and found[file] != files[file]]
    missing, more = sorted(set(files) - set(found)), sorted(set(found) - set(files))
    parts = [
        f"{_some(names)} {'was' if len(names) == 1 else 'were'} {word}"
        for names, word in ((altered, "altered"), (missing, "removed"), (more, "added"))
        if names
    ]
    return ", ".join(parts)


def _some(names: Iterable[str]) -> str:
    first, *rest = names
    return f"{first} and {len(rest)} more" if rest else first


def _advice(version: Any) -> str:
    return (
        "it is not used; restore its artifacts, or make another version the champion: "
        f"sgm rollback {version.name} --to N (sgm ui shows the versions)"
    )


def _weights(found: dict[str, str]) -> str | None:
    return next((sha for file, sha in found.items() if file.endswith("/model.safetensors")), None)


def _name(digest: str) -> str:
    return f"files-{digest[:16]}.json"
