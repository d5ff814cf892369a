"""The rule of promotion, on a registry in a temporary SQLite database."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flows.project import Project
from flows.registry import SAMPLING, WEIGHTS, Candidate, Decision, by_alias, submit
from sgm_core.errors import SgmError

NAME = "sgm-toy"


@pytest.fixture
def registry(
    tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Project, Any]]:
    from mlflow import MlflowClient

    (tmp_path / "mlflow.db").write_bytes(database.read_bytes())
    monkeypatch.setenv("SGM_HOME", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    project = Project.at(tmp_path)
    yield project, MlflowClient(project.tracking_uri, project.tracking_uri)


def candidate(
    project: Project, weights: str, value: float, steps: int = 25, **more: Any
) -> Candidate:
    """A candidate; the champion's value is read from its tags, as if measured again."""
    source = (project.state / "models" / weights).as_uri()
    sampling = f'{{"steps":{steps}}}'
    fields: dict[str, Any] = {
        "experiment": "toy",
        "metric": "fd",
        "value": value,
        "lower": True,
        "tags": {WEIGHTS: weights, SAMPLING: sampling, "sgm.cell": "vp-mlp-s0"},
        "card": lambda version: f"card of {version}",
        "run_id": None,
        "upload": lambda version: source,
        "measure": lambda version: float(version.tags["sgm.test_value"]),
    }
    return Candidate(**(fields | more))


def give(registry: tuple[Project, Any], given: Candidate, least: float = 0.0) -> Decision:
    project, client = registry
    return submit(project, client, given, least)


def aliases(registry: tuple[Project, Any]) -> dict[str, int]:
    found = registry[1].get_registered_model(NAME).aliases
    return {name: int(version) for name, version in found.items()}


def test_the_first_model_becomes_champion(registry: tuple[Project, Any]) -> None:
    project, client = registry
    decision = give(registry, candidate(project, "a", 3.0))
    assert (decision.action, decision.version) == ("promoted", 1)
    version = client.get_model_version(NAME, "1")
    assert version.description == "card of 1"
    assert version.tags["sgm.cell"] == "vp-mlp-s0"
    assert version.tags["sgm.test_value"] == "3.0"
    assert aliases(registry) == {"champion": 1}


def test_the_same_weights_and_sampling_make_no_version(registry: tuple[Project, Any]) -> None:
    project, client = registry
    give(registry, candidate(project, "a", 3.0))
    decision = give(registry, candidate(project, "a", 2.0))
    assert decision.action == "unchanged"
    assert len(client.search_model_versions(f"name='{NAME}'")) == 1


def test_the_same_weights_with_other_sampling_are_another_version(
    registry: tuple[Project, Any],
) -> None:
    project, client = registry
    give(registry, candidate(project, "a", 3.0, steps=25))
    assert give(registry, candidate(project, "a", 4.0, steps=5)).action == "challenger"
    assert aliases(registry) == {"champion": 1, "challenger": 2}
    assert give(registry, candidate(project, "a", 2.0, steps=50)).action == "promoted"
    assert aliases(registry) == {"champion": 3, "challenger": 2, "previous": 1}
    # Each of them is found again.
    assert give(registry, candidate(project, "a", 4.0, steps=5)).version == 2
    assert give(registry, candidate(project, "a", 2.0, steps=50)).action == "unchanged"
    assert len(client.search_model_versions(f"name='{NAME}'")) == 3


def test_a_better_model_replaces_the_champion(registry: tuple[Project, Any]) -> None:
    project, client = registry
    give(registry, candidate(project, "a", 3.0))
    assert give(registry, candidate(project, "b", 2.0)).action == "promoted"
    assert aliases(registry) == {"champion": 2, "previous": 1}
    tags = client.get_model_version(NAME, "2").tags
    assert (tags["sgm.compared_with"], tags["sgm.compared_value"]) == ("1", "3.0")
    assert float(tags["sgm.gain"]) == pytest.approx(1 / 3)


def test_a_worse_model_is_the_challenger(registry: tuple[Project, Any]) -> None:
    project, _ = registry
    give(registry, candidate(project, "a", 3.0))
    assert give(registry, candidate(project, "b", 3.5)).action == "challenger"
    assert aliases(registry) == {"champion": 1, "challenger": 2}
    # A challenger that wins later (the champion measured anew is worse) keeps its version.
    won = candidate(project, "b", 3.5, measure=lambda version: 4.0)
    assert give(registry, won).action == "promoted"
    assert aliases(registry) == {"champion": 2, "previous": 1}


@pytest.mark.parametrize(
    ("new", "lower", "least", "action"),
    [
        (2.9, True, 0.05, "challenger"),
        (2.8, True, 0.05, "promoted"),
        (3.0, True, 0.0, "challenger"),
        (3.2, False, 0.05, "promoted"),
        (2.8, False, 0.0, "challenger"),
        (math.nan, True, 0.0, "challenger"),
    ],
)
def test_the_gain_must_exceed_the_least_improvement(
    registry: tuple[Project, Any], new: float, lower: bool, least: float, action: str
) -> None:
    project, _ = registry
    give(registry, candidate(project, "a", 3.0, lower=lower))
    assert give(registry, candidate(project, "b", new, lower=lower), least).action == action


def test_a_champion_of_other_data_is_replaced(registry: tuple[Project, Any]) -> None:
    project, _ = registry
    give(registry, candidate(project, "a", 1.0))
    decision = give(registry, candidate(project, "b", 9.0, measure=lambda version: None))
    assert decision.action == "promoted"
    assert "cannot be measured on this data" in decision.reason


def test_a_failing_measurement_changes_nothing(registry: tuple[Project, Any]) -> None:
    project, client = registry
    give(registry, candidate(project, "a", 1.0))

    def altered(version: Any) -> float:
        raise SgmError("model.safetensors was altered")

    with pytest.raises(SgmError, match="altered"):
        give(registry, candidate(project, "b", 0.5, measure=altered))
    assert aliases(registry) == {"champion": 1}
    assert len(client.search_model_versions(f"name='{NAME}'")) == 1


def test_the_journal_tells_who_replaced_whom(registry: tuple[Project, Any]) -> None:
    project, _ = registry
    for weights, value in (("a", 3.0), ("b", 2.0), ("c", 5.0)):
        give(registry, candidate(project, weights, value))
    lines = (project.state / "journal" / f"{NAME}.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    actions = ["promoting", "promoted", "promoting", "promoted", "challenger"]
    assert [entry["action"] for entry in entries] == actions
    assert (entries[3]["version"], entries[3]["replaced"]) == (2, 1)


def test_many_publishers_at_once_end_as_one_after_the_other(registry: tuple[Project, Any]) -> None:
    project, client = registry
    values = [5.0, 3.0, 4.0, 2.0, 6.0, 2.5]
    threads = [
        threading.Thread(target=give, args=(registry, candidate(project, f"w{i}", value)))
        for i, value in enumerate(values)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    champion = by_alias(client, NAME, "champion")
    assert champion is not None
    assert champion.tags["sgm.weights_sha256"] == "w3"


def test_no_moment_without_a_champion(registry: tuple[Project, Any]) -> None:
    """`previous` is set before `champion`, and a crash in between is repaired by the next call."""
    project, client = registry
    give(registry, candidate(project, "a", 3.0))

    class Dies:
        def __getattr__(self, name: str) -> Any:
            return getattr(client, name)

        def set_registered_model_alias(self, name: str, alias: str, version: str) -> None:
            if alias == "champion":
                raise ConnectionError
            client.set_registered_model_alias(name, alias, version)

    better = candidate(project, "b", 2.0)
    with pytest.raises(ConnectionError):
        submit(project, Dies(), better, 0.0)  # type: ignore[arg-type]
    assert aliases(registry)["champion"] == 1
    assert give(registry, replace(better)).action == "promoted"
    assert aliases(registry) == {"champion": 2, "previous": 1}
    assert len(client.search_model_versions(f"name='{NAME}'")) == 2
