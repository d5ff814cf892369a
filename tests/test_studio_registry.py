"""The studio on MLflow's own server: both are processes, and only HTTP is between them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from studio_server import Client, numbers, points, serving, write
from team import answers, free_port, until

from flows.bundling import TAG as BUNDLE
from flows.registry import CHAMPION, WEIGHTS
from flows.verify import FILES, digest_of, listed
from sgm_core.store.files import read_json, sha256_file

NAME = "sgm-toy"


@contextmanager
def mlflow_server(folder: Path, database: Path) -> Iterator[str]:
    """Run `mlflow server`; yield its address."""
    (folder / "mlflow.db").write_bytes(database.read_bytes())
    port = free_port()
    command = [
        sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination", str(folder / "artifacts"),
    ]  # fmt: skip
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    try:
        address = f"http://127.0.0.1:{port}"
        until(lambda: answers(f"{address}/health"), "MLflow's server", 120)
        yield address
    finally:
        process.terminate()
        process.wait(30)


class Team:
    """Who publishes: weights of a seed become a version, and the files' bytes can be damaged."""

    def __init__(self, address: str, folder: Path) -> None:
        from mlflow import MlflowClient

        self.client, self.folder = MlflowClient(address, address), folder
        self.client.create_registered_model(NAME)
        experiment = self.client.create_experiment("toy")
        self.run = self.client.create_run(experiment).info

    def publish(self, seed: int, damaged: bool = False) -> int:
        made = self.folder / f"version-{seed}"
        points(seed).save(made / "artifacts" / "model")
        config = read_json(made / "artifacts" / "model" / "config.json")
        tags = {FILES: digest_of(listed(made)), WEIGHTS: config["weights"]["sha256"]}
        self._log(made, made.name, damaged)
        source = f"{self.run.artifact_uri}/{made.name}"
        found = self.client.create_model_version(NAME, source, self.run.run_id, tags=tags)
        self.client.set_registered_model_alias(NAME, CHAMPION, found.version)
        return int(found.version)

    def bundle(self, seed: int, number: int, damaged: bool) -> None:
        made = write(points(seed), self.folder / f"bundle-{seed}-{damaged}", NAME, number)
        self._log(made, made.name, damaged)
        tag = {
            "uri": f"runs:/{self.run.run_id}/{made.name}",
            "sha256": sha256_file(made / "bundle.json"),
        }
        self.client.set_model_version_tag(NAME, str(number), BUNDLE, json.dumps(tag))

    def _log(self, made: Path, path: str, damaged: bool) -> None:
        self.client.log_artifacts(self.run.run_id, str(made), path)
        if damaged:
            (stored,) = (self.folder / "artifacts").glob(f"**/{path}/**/model.safetensors")
            data = bytearray(stored.read_bytes())
            data[-1] ^= 1
            stored.write_bytes(data)


@pytest.mark.slow
def test_the_alias_is_followed_and_damaged_files_are_not_served(
    tmp_path: Path, database: Path
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    with mlflow_server(tmp_path, database) as address:
        team = Team(address, tmp_path)
        assert team.publish(0) == 1
        variables = {"MLFLOW_TRACKING_URI": address, "SGM_HOME": str(state)}
        with serving("--model", f"models:/{NAME}@{CHAMPION}", **variables) as studio:
            assert drawn(studio) == (1, expected(0))
            assert team.publish(1) == 2
            until(lambda: drawn(studio)[0] == 2, "the new champion", 60)
            assert drawn(studio) == (2, expected(1))
            assert health(studio) == ("ok", [])

            assert team.publish(2, damaged=True) == 3
            until(lambda: health(studio)[0] == "degraded", "the damaged champion's end", 60)
            assert "altered" in health(studio)[1][0]["detail"]
            assert drawn(studio) == (2, expected(1))

            assert team.publish(3) == 4
            until(lambda: drawn(studio)[0] == 4, "the champion after it", 60)
            team.bundle(3, 4, damaged=True)  # what is served was verified, and stays
            until(lambda: health(studio)[0] == "degraded", "the damaged bundle's end", 60)
            assert drawn(studio) == (4, expected(3)) and not has_bundle(studio, 4)
            team.bundle(3, 4, damaged=False)
            until(lambda: health(studio) == ("ok", []), "the bundle, after a minute", 150)
            assert has_bundle(studio, 4)


def drawn(studio: Client) -> tuple[int, list[float]]:
    """Which version draws, and what."""
    events = studio.generate(model=NAME, n=2, steps=3)
    samples = numbers(events[-1][1]["x"], (2,))
    return events[0][1]["version"], samples.flatten().tolist()


def expected(seed: int) -> Any:
    return pytest.approx(points(seed).generate(2, steps=3).flatten().tolist(), abs=1e-4)


def health(studio: Client) -> tuple[str, list[Any]]:
    found = studio.json("/api/health")
    return found["status"], found["problems"]


def has_bundle(studio: Client, number: int) -> bool:
    status, _, content = studio.ask(f"/api/models/{NAME}/{number}/files/bundle.json")
    return status == 200 and json.loads(content)["name"] == NAME
