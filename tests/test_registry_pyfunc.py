"""A published model in a clean process: no checkout on its path, no pickle, checked parameters."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flows_checkout import environment

from flows.packaging import log_model, parameters
from flows.project import Project
from flows.tracking import Tracking
from flows.verify import WITHOUT_CHECKOUT
from sgm_core.model import ScoreModel

LABELS = ["zero", "one", "two"]
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"n": 0}, "n = 0 is not valid"),
    ({"n": "4"}, "'n'"),
    ({"steps": 2.5}, "'steps'"),
    ({"steps": 0}, "steps = 0 is not valid"),
    ({"seed": -1}, "seed = -1 is not valid"),
    ({"guidance": -1.0}, "guidance = -1.0 is not valid"),
    ({"sampler": "dimm"}, "did you mean 'ddim'?"),
    ({"label": 3}, "label: 3 is not valid"),
    ({"step": 5}, "unknown parameter 'step'; did you mean 'steps'?"),
    ({"batch": 2}, "unknown parameter 'batch'"),
]
CONSUMER = (
    WITHOUT_CHECKOUT
    + """
import mlflow
model = mlflow.pyfunc.load_model(sys.argv[1])
import sgm_core
def draw(**params): return model.predict(None, params=params)
x, y = (draw(n=4, sampler="ddim", steps=3, seed=3, label=2) for _ in range(2))
errors = []
for params in json.loads(sys.argv[2]):
    try:
        draw(**params)
        errors.append("")
    except Exception as error:
        errors.append(str(error))
print(json.dumps({
    "type": type(x).__module__, "shape": x.shape, "dtype": str(x.dtype), "errors": errors,
    "range": [float(x.min()), float(x.max())], "same": bool((x == y).all()),
    "other_seed": bool((x != draw(n=4, sampler="ddim", steps=3, seed=4, label=2)).any()),
    "shifted": bool((x[1:] == draw(n=3, sampler="ddim", steps=3, seed=4, label=2)).all()),
    "default": model.predict(None).shape, "code": sgm_core.__file__,
}))
"""
)


@pytest.fixture(scope="module")
def published(
    tmp_path_factory: pytest.TempPathFactory, migrated: Callable[[Path], None]
) -> tuple[Project, str]:
    """An untrained conditional model of images in [0, 16], logged as the pipeline does it."""
    folder = tmp_path_factory.mktemp("published")
    net = {"kind": "unet", "channels": 4, "multipliers": [1], "heads": 1}
    model = ScoreModel(img_size=8, num_channels=1, net=net, labels=LABELS, data_range=(0, 16))
    cell = folder / "cell"
    cell.mkdir()
    model.save(cell)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SGM_HOME", str(folder / "state"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        project = Project.at(folder)
        migrated(folder)
        tracking = Tracking(project, "toy")
        run = tracking.client.create_run(tracking.id)
        outcome: Any = SimpleNamespace(
            cell=SimpleNamespace(path=cell, key="0" * 64),
            evaluation=SimpleNamespace(path=cell),
        )
        sampling = {**model.config["sampling"], "steps": 2}
        uri = log_model(tracking, run.info.run_id, outcome, sampling, "# card", {"tags": {}})
        assert tracking.client.get_run(run.info.run_id).info.status == "FINISHED"
    return project, uri


@pytest.fixture(scope="module")
def result(published: tuple[Project, str]) -> dict[str, Any]:
    """What a consumer in a clean process sees."""
    project, uri = published
    done = subprocess.run(
        [sys.executable, "-I", "-c", CONSUMER, uri, json.dumps([given for given, _ in WRONG])],
        cwd="/",
        env=environment(
            MLFLOW_TRACKING_URI=f"sqlite:///{project.state}/mlflow.db",
            MLFLOW_ALLOW_PICKLE_DESERIALIZATION="false",
        ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_samples_are_arrays_in_the_range_of_the_data(result: dict[str, Any]) -> None:
    assert (result["type"], result["shape"]) == ("numpy", [4, 1, 8, 8])
    assert result["dtype"] == "float32"
    assert 0 <= result["range"][0] < result["range"][1] <= 16
    assert result["range"][1] > 1.5, "not in [-1, 1]"
    assert result["default"] == [parameters()["n"][1], 1, 8, 8]


def test_a_sample_depends_on_its_seed_only(result: dict[str, Any]) -> None:
    assert result["same"] and result["other_seed"] and result["shifted"]


def test_the_code_comes_with_the_model(
    published: tuple[Project, str], result: dict[str, Any]
) -> None:
    assert result["code"].startswith(str(published[0].artifacts))


@pytest.mark.parametrize("index", range(len(WRONG)), ids=[str(given) for given, _ in WRONG])
def test_a_wrong_parameter_is_one_sentence(result: dict[str, Any], index: int) -> None:
    message = result["errors"][index]
    assert WRONG[index][1] in message
    assert "\n" not in message


def test_no_pickle_is_published(published: tuple[Project, str]) -> None:
    files = [file for file in Path(published[0].artifacts).rglob("*") if file.is_file()]
    ours = [f for f in files if "sgm_core" not in f.parts and f.suffix != ".pyc"]
    suffixes = {file.suffix for file in ours}
    assert suffixes <= {".safetensors", ".json", ".md", ".py", ".yaml", ".yml", ".txt", ""}
    assert {file.name for file in files} >= {"MLmodel", "model.safetensors", "README.md"}
    config = next(f for f in files if f.name == "config.json")
    assert json.loads(config.read_text())["sampling"]["steps"] == 2
