"""A finished cell as a registered version: code, safetensors, signature, requirements, card."""

from __future__ import annotations

import ast
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sgm_core
from sgm_core.code import outside
from sgm_core.config.custom import is_custom, load_class
from sgm_core.errors import SgmError
from sgm_core.store.files import read_json, write_json

if TYPE_CHECKING:
    from flows.tracking import Tracking
    from sgm_core.cell import Outcome

CODE = Path(__file__).with_name("model_code.py")
PACKAGE = Path(sgm_core.__file__).parent
WEIGHTS, CONFIG = "model.safetensors", "config.json"
LINEAGE = "lineage.json"
PICTURES = ("samples.png", "trajectory.png", "field.png", "nearest.png")
# What loading and sampling import; floors are the versions below which weights are not safe to load
# or an interface is missing.
REQUIREMENTS = {
    "torch": "2.11",
    "numpy": "2.0",
    "scipy": "1.13",
    "safetensors": "0.4.5",
    "pydantic": "2.8",
    "pyyaml": "6.0.1",
}


def log_model(
    tracking: Tracking,
    run_id: str,
    outcome: Outcome,
    sampling: dict[str, Any],
    card: str,
    record: dict[str, Any],
) -> str:
    """Log the cell's model with its card and pictures to its run; return the model's URI.

    Args:
        sampling: the settings that it was measured with; they become its defaults.
        card: the model card (Markdown).
        record: its lineage (see `flows.lineage.lineage_document`).

    Raises:
        SgmError: MLflow failed.
    """
    import mlflow

    with tracking.errors(), _staged(outcome, sampling, card, record) as folder:
        mlflow.set_tracking_uri(tracking.project.tracking_uri)
        # MLflow asks for an example of an input; this model takes none.
        warnings.filterwarnings("ignore", message=".*input example was not provided")
        with mlflow.start_run(run_id=run_id, log_system_metrics=False):
            info = mlflow.pyfunc.log_model(
                name="published",
                python_model=str(CODE),
                code_paths=sorted(str(path) for path in (folder / "code").iterdir()),
                artifacts={"model": str(folder / "model")},
                signature=signature(outcome),
                pip_requirements=requirements(),
                metadata={"cell_key": outcome.cell.key},
            )
    return str(info.model_uri)


def signature(outcome: Outcome) -> Any:
    """Return MLflow's signature: no required input, samples out, and the inference parameters."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types.schema import ParamSchema, ParamSpec, Schema, TensorSpec

    data = read_json(outcome.cell.path / CONFIG)["data"]
    kind = np.dtype(np.float64 if data["kind"] == "points" else np.float32)
    output = Schema([TensorSpec(kind, (-1, *data["shape"]))])
    params = [ParamSpec(name, kind, default) for name, (kind, default, _) in parameters().items()]
    return ModelSignature(outputs=output, params=ParamSchema(params))


def parameters() -> dict[str, tuple[str, Any, str]]:
    """Return PARAMETERS of `model_code`, read without running it (running declares a model)."""
    for node in ast.parse(CODE.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "PARAMETERS":
            assert node.value is not None
            return dict(ast.literal_eval(node.value))
    raise SgmError(f"{CODE} has no PARAMETERS; restore the file")


def requirements() -> list[str]:
    """Return the pip requirements of a published model."""
    fixed = [f"mlflow=={version('mlflow')}"]
    return fixed + [f"{name}>={floor}" for name, floor in REQUIREMENTS.items()]


@contextmanager
def _staged(
    outcome: Outcome, sampling: dict[str, Any], card: str, record: dict[str, Any]
) -> Iterator[Path]:
    """Lay out what is published: code without caches, the model's files, card, pictures."""
    with tempfile.TemporaryDirectory(prefix="sgm-publish-") as name:
        folder = Path(name)
        # A cell is trained for any sampler; what is published samples as it was measured.
        config = {**read_json(outcome.cell.path / CONFIG), "sampling": sampling}
        _copy_code(folder / "code", config["process"]["kind"])
        (folder / "model").mkdir()
        shutil.copy2(outcome.cell.path / WEIGHTS, folder / "model" / WEIGHTS)
        write_json(folder / "model" / CONFIG, config)
        write_json(folder / "model" / LINEAGE, record)
        for file in PICTURES:
            if (outcome.evaluation.path / file).is_file():
                shutil.copy2(outcome.evaluation.path / file, folder / "model" / file)
        (folder / "model" / "README.md").write_text(card, encoding="utf-8")
        yield folder


def _copy_code(folder: Path, process: str) -> None:
    """Copy `sgm_core`, and the module of a custom process with what it imports of its project."""
    ignore = shutil.ignore_patterns("__pycache__", "*.pyc")
    shutil.copytree(PACKAGE, folder / "sgm_core", ignore=ignore)
    if not is_custom(process):
        return
    load_class(process)  # makes the module importable
    for name, path in outside([process.partition(":")[0]]).items():
        file = folder.joinpath(*name.split("."))
        file = file / path.name if path.name == "__init__.py" else file.with_suffix(".py")
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, file)
