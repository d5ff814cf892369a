"""The registry of models `sgm-EXPERIMENT`: versions, aliases, and the rule of promotion.

    champion     what consumers load
    previous     the champion before it
    challenger   the newest version that did not win

A version is weights and the sampling settings that are its defaults; the same pair is registered
once. The alias moves if there is no champion, or if the new model's main metric on the test split
is better than the champion's by the share `min_improvement`, both measured on the same data, with
the same settings (but two versions of the same weights each with its own sampling settings):

    gain = (champion - new) / |champion|      (sign turned where higher is better)
    promote  <=>  gain > min_improvement

MLflow sets an alias without a guard, so promotion holds a lock, reads the aliases inside of it, and
writes each decision to a journal.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flows.project import Project, make_folder

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHAMPION, PREVIOUS, CHALLENGER = "champion", "previous", "challenger"
WEIGHTS, SAMPLING = "sgm.weights_sha256", "sgm.sampling"  # the tags that identify a version


@dataclass(frozen=True)
class Candidate:
    """A model that asks to become champion.

    Attributes:
        experiment: name of the experiment.
        metric, value: the main metric and its value on the test split.
        lower: whether less is better.
        tags: lineage; WEIGHTS and SAMPLING identify the model.
        card: version number -> model card (Markdown).
        upload: version number -> the URI of the model, which it logs; called only if a new version
            is needed.
        run_id: MLflow run of the cell.
        measure: version of the champion -> its value of the same metric on the same data, or None
            if it cannot be measured there (data of another shape); called only if needed.
    """

    experiment: str
    metric: str
    value: float
    lower: bool
    tags: dict[str, str]
    card: Callable[[int], str]
    run_id: str
    upload: Callable[[int], str]
    measure: Callable[[Any], float | None]


@dataclass(frozen=True)
class Decision:
    """What `submit` did: `action` is promoted, challenger or unchanged."""

    action: str
    model: str
    version: int
    champion: int | None
    reason: str


def model_name(experiment: str) -> str:
    """Return the registered name of an experiment's model."""
    return f"sgm-{experiment}"


def submit(
    project: Project, client: MlflowClient, candidate: Candidate, min_improvement: float
) -> Decision:
    """Register a candidate and decide on the champion, alone under a lock.

    Raises:
        MlflowException: the registry failed; repeating the call goes on where it stopped.
    """
    name = model_name(candidate.experiment)
    with project.lock(f"registry-{name}", waiting=f"{name}: waiting for another publisher ..."):
        _ensure_model(client, name)
        champion = by_alias(client, name, CHAMPION)
        if champion is not None and _same(champion, candidate):
            number = int(champion.version)
            return Decision("unchanged", name, number, number, "it is the champion already")
        promote, reason, against = _judge(champion, candidate, min_improvement)
        number = _register(client, name, candidate, against)
        if promote:
            _promote(project, client, name, number, champion, reason)
            return Decision("promoted", name, number, number, reason)
        client.set_registered_model_alias(name, CHALLENGER, str(number))
        decision = Decision(CHALLENGER, name, number, _number(champion), reason)
        journal(project, name, **asdict(decision))
        return decision


def by_alias(client: MlflowClient, name: str, alias: str) -> ModelVersion | None:
    """Return the version behind an alias, or None."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def journal(project: Project, name: str, **entry: Any) -> None:
    """Append one line to the journal of a model, on the disk before it returns."""
    folder = make_folder(project.state / "journal")
    entry = {"time": datetime.now(UTC).isoformat(timespec="seconds"), **entry}
    with open(folder / f"{name}.jsonl", "a", encoding="utf-8") as stream:
        stream.write(json.dumps(entry, sort_keys=True) + "\n")
        stream.flush()
        os.fsync(stream.fileno())


def _judge(
    champion: ModelVersion | None, candidate: Candidate, min_improvement: float
) -> tuple[bool, str, dict[str, str]]:
    """Return whether to promote, why in one sentence, and the tags that record the comparison."""
    metric, value = candidate.metric, candidate.value
    own = {"sgm.test_metric": metric, "sgm.test_value": repr(value)}
    if not math.isfinite(value):
        return False, f"its {metric} on the test split is not finite", own
    if champion is None:
        return True, f"there was no champion; {metric} is {value:.4g} on the test split", own
    tags = {**own, "sgm.compared_with": str(champion.version)}
    theirs = candidate.measure(champion)
    if theirs is None:
        text = f"version {champion.version} cannot be measured on this data"
        return True, f"{text}, so the new model replaces it", tags
    tags["sgm.compared_value"] = repr(theirs)
    sign = 1.0 if candidate.lower else -1.0
    gain = sign * (theirs - value) / max(abs(theirs), 1e-12) if math.isfinite(theirs) else math.inf
    tags["sgm.gain"] = repr(gain)
    text = f"{metric} {value:.4g} against {theirs:.4g} of version {champion.version}"
    if gain > min_improvement:
        return True, f"{text}: a gain of {gain:.1%}", tags
    return False, f"{text}: a gain of {gain:.1%}, not above {min_improvement:.1%}", tags


def _register(
    client: MlflowClient, name: str, candidate: Candidate, comparison: dict[str, str]
) -> int:
    """Return the version that is this model, registering it if there is none.

    Tags and description are part of the creation, so that no version exists without its lineage.
    """
    versions = client.search_model_versions(f"name = '{name}'")
    for version in versions:
        if _same(version, candidate):
            for key, value in comparison.items():
                client.set_model_version_tag(name, version.version, key, value)
            return int(version.version)
    expected = 1 + max((int(version.version) for version in versions), default=0)
    uri = candidate.upload(expected)
    created = client.create_model_version(
        name,
        source=uri,
        run_id=candidate.run_id,
        tags={**candidate.tags, **comparison},
        description=candidate.card(expected),
        model_id=uri.removeprefix("models:/") if uri.startswith("models:/") else None,
    )
    number = int(created.version)
    if number != expected:  # versions were deleted
        client.update_model_version(name, str(number), description=candidate.card(number))
    return number


def _promote(
    project: Project,
    client: MlflowClient,
    name: str,
    number: int,
    champion: ModelVersion | None,
    reason: str,
) -> None:
    """Move the aliases: `previous` first, so that at no moment there is no champion."""
    old = _number(champion)
    journal(project, name, action="promoting", version=number, replaced=old, reason=reason)
    if old is not None:
        client.set_registered_model_alias(name, PREVIOUS, str(old))
    client.set_registered_model_alias(name, CHAMPION, str(number))
    challenger = by_alias(client, name, CHALLENGER)
    if challenger is not None and int(challenger.version) == number:
        client.delete_registered_model_alias(name, CHALLENGER)
    journal(project, name, action="promoted", version=number, replaced=old, reason=reason)


def _same(version: ModelVersion, candidate: Candidate) -> bool:
    return all(version.tags.get(tag) == candidate.tags[tag] for tag in (WEIGHTS, SAMPLING))


def _number(version: ModelVersion | None) -> int | None:
    return None if version is None else int(version.version)


def _ensure_model(client: MlflowClient, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
