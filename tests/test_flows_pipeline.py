"""The pipeline for real, in a checkout of its own: DVC, embedded Prefect, workers, MLflow.

Slow: each test starts the real tools. The first one kills the grid in the middle, and the others
go on with what it leaves.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from flows_checkout import (
    checkout,
    dvc,
    environment,
    finished,
    kill_grid,
    sgm,
    wait,
)

from flows.verify import WITHOUT_CHECKOUT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, int]]:
    """A checkout whose grid was killed (kill -9) with a finished cell and an unfinished one."""
    folder = checkout(tmp_path_factory.mktemp("pipeline"), steps=1500)
    done = dvc(folder, "repro", "reference@rolls")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, kill_grid(folder)


@pytest.fixture(scope="module")
def complete(killed: tuple[Path, dict[str, int]]) -> Path:
    """The same checkout after `dvc repro`."""
    folder, _ = killed
    done = dvc(folder, "repro")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_no_finished_cell_is_trained_again(
    killed: tuple[Path, dict[str, int]], complete: Path
) -> None:
    before, after = killed[1], finished(complete)
    assert len(after) == 3
    assert {key: after[key] for key in before} == before


def test_each_cell_has_one_finished_run(complete: Path) -> None:
    client, runs = _runs(complete)
    cells = [run for run in runs if run.data.tags["sgm.kind"] == "cell"]
    assert sorted(run.info.run_name for run in cells) == [
        f"{p}-mlp-s0" for p in ("subvp", "ve", "vp")
    ]
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert len(runs) == 4, "three cells and their grid, taken over after the kill"
    for run in cells:
        steps = [metric.step for metric in client.get_metric_history(run.info.run_id, "loss")]
        assert len(steps) == len(set(steps)) > 10
        assert {"test_sliced_w2", "test_sliced_w2_low", "test_sliced_w2_floor"} <= set(
            run.data.metrics
        )
        assert run.data.tags["sgm.dvc_md5.prepared"].endswith(".dir")
        assert run.data.params["training.steps"] == "1500"
        assert run.inputs.dataset_inputs[0].dataset.name == "points"
        files = {file.path for file in client.list_artifacts(run.info.run_id, "evaluation")}
        assert "evaluation/samples.png" in files


def test_the_best_cell_is_the_champion(complete: Path) -> None:
    client, _ = _runs(complete)
    version = client.get_model_version_by_alias("sgm-rolls", "champion")
    board = (complete / "reports" / "rolls" / "leaderboard.md").read_text()
    assert f"**{version.tags['sgm.cell']}**" in board
    assert "sgm-rolls" in version.description
    assert len(version.tags["sgm.weights_sha256"]) == 64


def test_nothing_to_do(complete: Path) -> None:
    done = dvc(complete, "repro")
    assert "Data and pipelines are up to date." in done.stdout
    command = [sys.executable, "-X", "importtime", "-m", "flows", "grid", "rolls"]
    done = subprocess.run(
        command, cwd=complete, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "rolls: nothing to do, 3 cells are finished and reported" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not imported & {"torch", "prefect", "mlflow"}
    done = dvc(complete, "metrics", "show", "--json")
    assert "reports/rolls/metrics.json" in json.dumps(json.loads(done.stdout))


def test_the_published_model_needs_no_checkout_and_no_pickle(
    complete: Path, tmp_path: Path
) -> None:
    script = tmp_path / "consumer.py"
    script.write_text(CONSUMER)
    uri = f"sqlite:///{complete}/.sgm/mlflow.db"
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd="/",
        env=environment(MLFLOW_TRACKING_URI=uri, MLFLOW_ALLOW_PICKLE_DESERIALIZATION="false"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["file"].startswith(str(complete / ".sgm" / "mlartifacts"))
    assert result["shape"] == [4, 2]
    assert result["same"] and result["other"]
    assert result["default"] == [16, 2]
    for asked, message in result["errors"]:
        assert message and "\n" not in message, asked
        assert next(iter(asked)) in message


CONSUMER = (
    WITHOUT_CHECKOUT
    + """
import numpy as np
import mlflow
model = mlflow.pyfunc.load_model("models:/sgm-rolls@champion")
import sgm_core
def draw(**params): return model.predict(None, params=params)
a, b = (draw(n=4, sampler="ddim", steps=10, seed=3) for _ in range(2))
assert isinstance(a, np.ndarray)
errors = []
wrong = [{"n": 0}, {"n": "4"}, {"n": 2.5}, {"sampler": "dimm"}, {"steps": -1}, {"seed": -3},
         {"label": 7}, {"step": 5}, {"guidance": -1.0}]
for params in wrong:
    try:
        draw(**params)
        errors.append((params, ""))
    except Exception as error:
        errors.append((params, str(error)))
print(json.dumps({"file": sgm_core.__file__, "shape": a.shape, "same": bool((a == b).all()),
                  "other": bool((a != draw(n=4, sampler="ddim", steps=10, seed=4)).any()),
                  "default": model.predict(None).shape, "errors": errors}))
"""
)


def test_samples_from_the_command_line(complete: Path) -> None:
    arrays = []
    for name, model in (("a", "models:/sgm-rolls@champion"), ("b", "rolls/vp-mlp-s0")):
        done = sgm(complete, "sample", model, "--n", "5", "--steps", "4", "--out", f"{name}.npy")
        assert done.returncode == 0, done.stderr
        arrays.append(complete / f"{name}.npy")
    assert all(file.stat().st_size > 128 for file in arrays)
    done = sgm(complete, "sample", "rolls/ve-mlp-s0", "--out", "picture.png")
    assert (complete / "picture.png").read_bytes().startswith(b"\x89PNG"), done.stderr


def test_the_leaderboard_says_where_everything_is(complete: Path) -> None:
    done = sgm(complete, "leaderboard")
    assert str(complete / "reports" / "rolls" / "report.html") in done.stdout
    assert "models:/sgm-rolls@champion is version" in done.stdout


def test_an_edit_of_one_process_trains_its_cells_only(complete: Path) -> None:
    before = finished(complete)
    params = complete / "params.yaml"
    params.write_text(params.read_text().replace("vp: {}, ve", "vp: {beta_max: 15}, ve"))
    done = dvc(complete, "repro")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Stage 'prepare@rolls' didn't change" in done.stdout
    # It depends on the whole experiment (DVC cannot name a field that may be absent).
    assert "data/reference/rolls is up to date" in done.stdout
    after = finished(complete)
    assert len(after) == len(before) + 1
    assert {key: after[key] for key in before} == before
    _, runs = _runs(complete)
    trained = [run.info.run_name for run in runs if run.data.tags["sgm.kind"] == "cell"]
    assert sorted(trained) == ["subvp-mlp-s0", "ve-mlp-s0", "vp-mlp-s0", "vp-mlp-s0"]


def test_a_second_experiment_shares_data_and_cells(complete: Path) -> None:
    before = finished(complete)
    params = complete / "params.yaml"
    params.write_text(params.read_text().replace("active: [rolls]", "active: [rolls, again]"))
    done = dvc(complete, "repro")
    assert done.returncode == 0, done.stdout + done.stderr
    assert finished(complete) == before, "its only cell had been trained for the first experiment"
    assert (complete / "reports" / "again" / "report.html").is_file()


def test_an_interrupt_ends_workers_and_keeps_a_checkpoint(complete: Path) -> None:
    params = complete / "params.yaml"
    params.write_text(params.read_text().replace("steps: 1500", "steps: 30000"))
    process = subprocess.Popen(
        [sys.executable, "-m", "flows", "grid", "rolls", "--no-publish"],
        cwd=complete,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    work = complete / ".sgm" / "store" / "cells"
    wait(lambda: list(work.glob("*.work/*")), process)
    workers = psutil.Process(process.pid).children(recursive=True)
    assert any("sgm_core.worker" in worker.cmdline() for worker in workers)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert "interrupted" in error and "Traceback" not in error
    assert list(work.glob("*.work/*")), "the checkpoint of the interrupted cell"
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive


def _runs(folder: Path) -> tuple[Any, list[Any]]:
    from mlflow import MlflowClient

    uri = f"sqlite:///{folder}/.sgm/mlflow.db"
    client = MlflowClient(uri, uri)
    found = client.get_experiment_by_name("rolls")
    assert found is not None
    return client, list(client.search_runs([found.experiment_id], "tags.`sgm.kind` != ''"))
