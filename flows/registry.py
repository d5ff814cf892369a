"""The registry of models `sgm-EXPERIMENT`: versions, aliases, and how a champion is replaced.

    champion     what consumers load
    previous     the champion before it
    challenger   the newest version that did not win

A version is weights and the sampling settings that are its defaults; the same pair is registered
once. Whether it may replace the champion is judged on evidence (`flows.judging`), which takes long;
MLflow sets an alias without a guard. So the evidence is gathered first, and then, alone under a
lock, the champion is read again: if it is another one, the evidence is gathered anew against it.

    register -> judge against C, and load it -> lock { settle what was left; is it still C? -> intent
                                    -> previous -> champion -> event -> intent forgotten }

Killed anywhere in between, the next caller finds the intent and finishes it: at no moment there is
no champion, and twenty publishers at once end as they would one after the other.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from flows import events
from flows.project import Project
from sgm_core.evaluate.decision import Verdict

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHAMPION, PREVIOUS, CHALLENGER = "champion", "previous", "challenger"
WEIGHTS, SAMPLING = "sgm.weights_sha256", "sgm.sampling"  # the tags that identify a version
DECISION, ROLLED_BACK = "sgm.decision", "sgm.rolled_back"
BACK = "rolled back"  # the action of a rollback


@dataclass(frozen=True)
class Candidate:
    """A model that asks to become champion.

    Attributes:
        experiment: name of the experiment.
        tags: lineage; WEIGHTS and SAMPLING identify the model.
        run_id: MLflow run of the cell.
        judge: version of the champion (None: there is none) -> what the numbers say; slow.
        upload: version number -> the URI of the model, which it logs, and tags of its files; called
            only if a new version is needed.
        describe: version number, verdict (None: not judged yet) -> description (Markdown).
        check: version -> why it must not be promoted although the numbers allow it; "" if it may. Called
            on another thread, while the numbers are gathered.
        verify: version -> None; raises SgmError if its files are not those that were published.
    """

    experiment: str
    tags: dict[str, str]
    run_id: str
    judge: Callable[[ModelVersion | None], Verdict]
    upload: Callable[[int], tuple[str, dict[str, str]]]
    describe: Callable[[int, Verdict | None], str]
    check: Callable[[ModelVersion], str]
    verify: Callable[[ModelVersion], object]


@dataclass(frozen=True)
class Decision:
    """What `submit` did: `action` is promoted, challenger or unchanged."""

    action: str
    model: str
    version: int
    champion: int | None
    reason: str
    verdict: Verdict | None = None


def model_name(experiment: str) -> str:
    """Return the registered name of an experiment's model."""
    return f"sgm-{experiment}"


def submit(project: Project, client: MlflowClient, candidate: Candidate) -> Decision:
    """Judge a candidate, register it, and decide on the champion.

    Raises:
        MlflowException: the registry failed; repeating the call goes on where it stopped.
        SgmError: the champion's files were altered, or it cannot be measured.
    """
    name = model_name(candidate.experiment)
    with locked(project, name):
        _ensure_model(client, name)
        settle(client, name)
    while True:
        champion = by_alias(client, name, CHAMPION)
        if champion is not None and _same(champion, candidate):
            number = int(champion.version)
            candidate.verify(champion)
            return Decision("unchanged", name, number, number, "it is the champion already")
        # Before anything is measured: with a champion whose files are damaged, here is the way out.
        with locked(project, name):
            version = _registered(client, name, candidate)
        with ThreadPoolExecutor(1, "sgm-check") as aside:  # a process of its own, for seconds
            checked = aside.submit(candidate.check, version)
            verdict = candidate.judge(champion)
            refusal = checked.result() if verdict.promote else ""
        with locked(project, name):
            settle(client, name)
            now = by_alias(client, name, CHAMPION)
            if number_of(now) == number_of(champion):
                return _decide(client, candidate, version, champion, verdict, refusal)
        # Somebody else was faster: what was measured is about another champion.


def _decide(
    client: MlflowClient,
    candidate: Candidate,
    version: ModelVersion,
    champion: ModelVersion | None,
    verdict: Verdict,
    refusal: str,
) -> Decision:
    """Write the decision down and carry it out; the caller holds the lock."""
    name, number, old = str(version.name), int(version.version), number_of(champion)
    reason = verdict.reason
    version = client.get_model_version(name, version.version)
    if back := version.tags.get(ROLLED_BACK):
        refusal = f"it was rolled back on {back}; sgm rollback {name} --to {number} brings it back"
    if refusal:
        reason = f"{refusal} ({reason})"
    promote = verdict.promote and not refusal
    verdict = replace(verdict, promote=promote, reason=reason)
    action = "promoted" if promote else CHALLENGER
    client.set_model_version_tag(name, str(number), DECISION, in_brief(verdict, action, old))
    client.update_model_version(name, str(number), candidate.describe(number, verdict))
    if promote:
        move_champion(client, name, number, champion, "promoted", reason, _numbers(verdict))
        return Decision(action, name, number, number, reason, verdict)
    client.set_registered_model_alias(name, CHALLENGER, str(number))
    entry = {"action": CHALLENGER, "version": number, "against": old, "reason": reason}
    told = [{key: e.get(key) for key in entry} for e in events.events(client, name)]
    if entry not in told:  # the same answer every night is told once
        events.record(client, name, **entry, **_numbers(verdict))
    return Decision(action, name, number, old, reason, verdict)


def move_champion(
    client: MlflowClient,
    name: str,
    number: int,
    champion: ModelVersion | None,
    action: str,
    reason: str,
    numbers: dict[str, Any] | None = None,
) -> None:
    """Make a version the champion; the caller holds the lock."""
    entry = {"action": action, "version": number, "replaced": number_of(champion)}
    events.intend(client, name, **entry, reason=reason, **(numbers or {}))
    settle(client, name)


def in_brief(verdict: Verdict, action: str, old: int | None) -> str:
    """Return a decision as JSON that a tag can hold; all gains stand in card/ of the run."""
    evidence = verdict.as_dict() | {"action": action, "compared_with": old}
    del evidence["gains"]
    text = json.dumps(evidence, sort_keys=True)
    if len(text) > events.LONGEST:  # an odd sampler's options, a long refusal
        del evidence["evidence"]
        text = json.dumps(evidence, sort_keys=True)
    return text


def settle(client: MlflowClient, name: str) -> dict[str, Any] | None:
    """Finish a change of champion that was begun: `previous` first, so that there is always one.

    The caller holds the lock; every step may be repeated. A version that somebody deleted in
    between is left out.

    Returns:
        The change that was found and finished, if there was one.
    """
    entry = events.intent(client, name)
    if entry is None:
        return None
    number, old = int(entry["version"]), entry.get("replaced")
    there = {int(v.version) for v in client.search_model_versions(f"name = '{name}'")}
    if number not in there:
        events.done(client, name)
        return None
    if old in there:
        client.set_registered_model_alias(name, PREVIOUS, str(old))
    client.set_registered_model_alias(name, CHAMPION, str(number))
    if entry["action"] == BACK:
        _mark_back(client, name, number, old if old in there else None, str(entry["time"]))
    challenger = by_alias(client, name, CHALLENGER)
    if challenger is not None and int(challenger.version) == number:
        client.delete_registered_model_alias(name, CHALLENGER)
    if entry["id"] not in [event.get("id") for event in events.events(client, name)]:
        events.record(client, name, **entry)
    events.done(client, name)
    return entry


def _mark_back(client: MlflowClient, name: str, number: int, old: int | None, time: str) -> None:
    """Mark the version that was left, so that no schedule promotes it again; unmark the other."""
    if old is not None:
        client.set_model_version_tag(name, str(old), ROLLED_BACK, time)
    if client.get_model_version(name, str(number)).tags.get(ROLLED_BACK):
        client.delete_model_version_tag(name, str(number), ROLLED_BACK)


def by_alias(client: MlflowClient, name: str, alias: str) -> ModelVersion | None:
    """Return the version behind an alias, or None."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def locked(project: Project, name: str) -> AbstractContextManager[Any]:
    """Return the lock of a registered model."""
    return project.lock(f"registry-{name}", waiting=f"{name}: waiting for another publisher ...")


def number_of(version: ModelVersion | None) -> int | None:
    """Return the number of a version."""
    return None if version is None else int(version.version)


def _registered(client: MlflowClient, name: str, candidate: Candidate) -> ModelVersion:
    """Return the version that is this model, registering it if there is none.

    Tags and description are part of the creation, so that no version exists without its lineage.
    """
    versions = client.search_model_versions(f"name = '{name}'")
    for version in versions:
        if _same(version, candidate):
            return client.get_model_version(name, version.version)
    expected = 1 + max((int(version.version) for version in versions), default=0)
    uri, tags = candidate.upload(expected)
    return client.create_model_version(
        name,
        source=uri,
        run_id=candidate.run_id,
        tags={**candidate.tags, **tags},
        description=candidate.describe(expected, None),
        model_id=uri.removeprefix("models:/") if uri.startswith("models:/") else None,
    )


def _numbers(verdict: Verdict) -> dict[str, Any]:
    """The main numbers of a verdict, for the journal."""
    gain = verdict.gain
    if gain is None:
        return {}
    numbers = {
        "value": gain.new,
        "champion_value": gain.champion,
        "gain": gain.value,
        "gain_low": gain.low,
        "gain_high": gain.high,
    }
    finite = {key: value if math.isfinite(value) else None for key, value in numbers.items()}
    return {"metric": gain.metric, **finite}


def _same(version: ModelVersion, candidate: Candidate) -> bool:
    return all(version.tags.get(tag) == candidate.tags[tag] for tag in (WEIGHTS, SAMPLING))


def _ensure_model(client: MlflowClient, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
