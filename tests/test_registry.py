"""Who becomes champion, and what every interruption leaves, on a registry in a temporary database."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from decision_fakes import judged

from flows import events
from flows.project import Project
from flows.registry import DECISION, SAMPLING, WEIGHTS, Candidate, Decision, by_alias, submit
from sgm_core.errors import SgmError

NAME = "sgm-toy"


@pytest.fixture
def registry(
    tmp_path: Path, migrated: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Project, Any]]:
    from mlflow import MlflowClient

    monkeypatch.setenv("SGM_HOME", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    migrated(tmp_path)
    project = Project.at(tmp_path)
    yield project, MlflowClient(project.tracking_uri, project.tracking_uri)


def candidate(
    project: Project,
    weights: str,
    value: float,
    steps: int = 25,
    least: float = 0.0,
    noise: float = 0.0,
    **more: Any,
) -> Candidate:
    """A candidate; the champion's value is read from its tags, as if measured again."""
    source = (project.state / "models" / weights).as_uri()

    def judge(champion: Any) -> Any:
        theirs = None if champion is None else float(champion.tags["value"])
        return judged(value, theirs, least, noise)

    tags = {WEIGHTS: weights, SAMPLING: f'{{"steps":{steps}}}', "sgm.cell": "vp-mlp-s0"}
    fields: dict[str, Any] = {
        "experiment": "toy",
        "tags": {**tags, "value": repr(value)},
        "run_id": None,
        "judge": judge,
        "upload": lambda version: (source, {"sgm.files_sha256": "f" * 64}),
        "describe": lambda version, verdict: f"card of {version}",
        "check": lambda version: "",
        "verify": lambda version: None,
    }
    return Candidate(**(fields | more))


def give(registry: tuple[Project, Any], given: Candidate) -> Decision:
    project, client = registry
    return submit(project, client, given)


def aliases(registry: tuple[Project, Any]) -> dict[str, int]:
    found = registry[1].get_registered_model(NAME).aliases
    return {name: int(version) for name, version in found.items()}


def journal(registry: tuple[Project, Any]) -> list[tuple[str, int, int | None]]:
    told = events.events(registry[1], NAME)
    return [(e["action"], e["version"], e.get("replaced")) for e in told]


def test_the_first_model_becomes_champion(registry: tuple[Project, Any]) -> None:
    project, client = registry
    decision = give(registry, candidate(project, "a", 3.0))
    assert (decision.action, decision.version) == ("promoted", 1)
    version = client.get_model_version(NAME, "1")
    assert version.description == "card of 1"
    assert version.tags["sgm.cell"] == "vp-mlp-s0"
    assert version.tags["sgm.files_sha256"] == "f" * 64
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


def test_a_better_model_replaces_the_champion_and_keeps_its_evidence(
    registry: tuple[Project, Any],
) -> None:
    import json

    project, client = registry
    give(registry, candidate(project, "a", 3.0))
    assert give(registry, candidate(project, "b", 2.0, noise=0.1)).action == "promoted"
    assert aliases(registry) == {"champion": 2, "previous": 1}
    evidence = json.loads(client.get_model_version(NAME, "2").tags[DECISION])
    assert (evidence["action"], evidence["compared_with"]) == ("promoted", 1)
    assert evidence["gain"]["value"] == pytest.approx(1 / 3)
    assert evidence["gain"]["low"] < 1 / 3 < evidence["gain"]["high"]
    assert {floor["name"] for floor in evidence["floors"]} >= {"finite"}
    last = events.events(client, NAME)[-1]
    assert last["gain_low"] == pytest.approx(evidence["gain"]["low"])


def test_a_worse_model_is_the_challenger_and_is_told_once(registry: tuple[Project, Any]) -> None:
    project, _ = registry
    give(registry, candidate(project, "a", 3.0))
    for _ in range(3):
        assert give(registry, candidate(project, "b", 3.5)).action == "challenger"
    assert aliases(registry) == {"champion": 1, "challenger": 2}
    assert journal(registry) == [("promoted", 1, None), ("challenger", 2, None)]
    # A challenger that wins later (the champion measured anew is worse) keeps its version.
    won = candidate(project, "b", 3.5, judge=lambda version: judged(3.5, 4.0))
    assert give(registry, won).action == "promoted"
    assert aliases(registry) == {"champion": 2, "previous": 1}


def test_the_gain_must_exceed_the_least_effect_with_certainty(
    registry: tuple[Project, Any],
) -> None:
    project, _ = registry
    give(registry, candidate(project, "a", 3.0))
    assert give(registry, candidate(project, "b", 2.9, least=0.05)).action == "challenger"
    assert give(registry, candidate(project, "c", 2.5, noise=0.5)).action == "challenger"
    assert give(registry, candidate(project, "c", 2.5, noise=0.1)).action == "promoted"


def test_a_version_that_does_not_load_is_not_promoted(registry: tuple[Project, Any]) -> None:
    project, _ = registry
    give(registry, candidate(project, "a", 3.0))
    refused = candidate(project, "b", 1.0, check=lambda version: "it does not load")
    decision = give(registry, refused)
    assert decision.action == "challenger"
    assert decision.reason.startswith("it does not load (fd 1 against 3")
    assert aliases(registry) == {"champion": 1, "challenger": 2}


def test_a_failing_measurement_leaves_the_champion_and_a_version_to_go_to(
    registry: tuple[Project, Any],
) -> None:
    project, client = registry
    give(registry, candidate(project, "a", 1.0))

    def altered(version: Any) -> Any:
        raise SgmError("model.safetensors was altered")

    with pytest.raises(SgmError, match="altered"):
        give(registry, candidate(project, "b", 0.5, judge=altered))
    assert aliases(registry) == {"champion": 1}
    versions = client.search_model_versions(f"name='{NAME}'")
    assert sorted(int(v.version) for v in versions) == [1, 2]
    # The next attempt judges this version and registers no other.
    decision = give(registry, candidate(project, "b", 0.5))
    assert (decision.action, decision.version) == ("promoted", 2)


def test_an_altered_champion_is_told_though_it_stays_the_best(
    registry: tuple[Project, Any],
) -> None:
    project, _ = registry
    give(registry, candidate(project, "a", 1.0))

    def altered(version: Any) -> None:
        raise SgmError(f"version {version.version}: model.safetensors was altered")

    with pytest.raises(SgmError, match=r"version 1: model\.safetensors was altered"):
        give(registry, candidate(project, "a", 1.0, verify=altered))


def test_the_journal_tells_who_replaced_whom(registry: tuple[Project, Any]) -> None:
    project, _ = registry
    for weights, value in (("a", 3.0), ("b", 2.0), ("c", 5.0)):
        give(registry, candidate(project, weights, value))
    assert journal(registry) == [
        ("promoted", 1, None), ("promoted", 2, 1), ("challenger", 3, None),
    ]  # fmt: skip


def test_a_champion_that_changes_meanwhile_is_judged_against_anew(
    registry: tuple[Project, Any],
) -> None:
    project, _ = registry
    give(registry, candidate(project, "a", 3.0))
    against = []

    def judge(champion: Any) -> Any:
        against.append(int(champion.version))
        if len(against) == 1:  # somebody is faster, and better than we are
            give(registry, candidate(project, "fast", 1.0))
        return judged(2.0, float(champion.tags["value"]))

    decision = give(registry, candidate(project, "slow", 2.0, judge=judge))
    assert against == [1, 3]
    assert (decision.action, decision.champion) == ("challenger", 3)
    assert aliases(registry) == {"champion": 3, "previous": 1, "challenger": 2}


def test_twenty_publishers_at_once_end_as_one_after_the_other(
    registry: tuple[Project, Any],
) -> None:
    project, client = registry
    give(registry, candidate(project, "first", 100.0))
    values = [50.0 - ((7 * i) % 20) for i in range(20)]
    seen, stop = [], threading.Event()

    def watch() -> None:
        while not stop.is_set():
            champion = by_alias(client, NAME, "champion")
            seen.append(None if champion is None else champion.tags["value"])

    def publish(i: int) -> None:
        give(registry, candidate(project, f"w{i}", values[i]))

    threads = [threading.Thread(target=publish, args=(i,)) for i in range(20)]
    watcher = threading.Thread(target=watch)
    watcher.start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    watcher.join()
    champion = by_alias(client, NAME, "champion")
    assert champion is not None
    assert float(champion.tags["value"]) == min(values)
    assert len(client.search_model_versions(f"name='{NAME}'")) == 21
    assert seen and None not in seen
    shown = [float(value) for value in seen if value is not None]
    assert shown == sorted(shown, reverse=True), "no worse model ever replaced a better one"
    promotions = [e for e in journal(registry) if e[0] == "promoted"]
    assert [old for _, _, old in promotions[1:]] == [new for _, new, _ in promotions[:-1]]


CALLS = (
    "set_registered_model_tag", "set_registered_model_alias", "set_model_version_tag",
    "update_model_version", "delete_registered_model_tag", "create_model_version",
)  # fmt: skip


class Dies:
    """A client whose process is killed before its n-th change of the registry."""

    def __init__(self, client: Any, after: int) -> None:
        self.client, self.left = client, after

    def __getattr__(self, name: str) -> Any:
        call = getattr(self.client, name)
        if name not in CALLS:
            return call

        def counted(*arguments: Any, **named: Any) -> Any:
            if self.left == 0:
                raise ConnectionError("killed")
            self.left -= 1
            return call(*arguments, **named)

        return counted


@pytest.mark.parametrize("after", range(10))
def test_killed_at_any_step_there_is_a_champion_and_the_next_call_finishes(
    registry: tuple[Project, Any], after: int
) -> None:
    project, client = registry
    give(registry, candidate(project, "a", 3.0))
    give(registry, candidate(project, "worse", 4.0))
    better = candidate(project, "b", 2.0)
    dying: Any = Dies(client, after)
    try:
        submit(project, dying, better)
    except ConnectionError:
        assert aliases(registry)["champion"] in (1, 3)
    # Another publisher comes first, and finds what was begun finished or not begun.
    give(registry, candidate(project, "worse", 4.0))
    assert give(registry, better).action in ("promoted", "unchanged")
    assert {k: aliases(registry)[k] for k in ("champion", "previous")} == {
        "champion": 3, "previous": 1,
    }  # fmt: skip
    assert len(client.search_model_versions(f"name='{NAME}'")) == 3
    assert events.intent(client, NAME) is None
    assert [e for e in journal(registry) if e[0] == "promoted"] == [
        ("promoted", 1, None), ("promoted", 3, 1),
    ]  # fmt: skip
