"""`sgm history` and `sgm rollback`: who replaced whom on what evidence, and the way back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flows import events
from flows.project import Project
from flows.registry import (
    BACK,
    CHAMPION,
    PREVIOUS,
    ROLLED_BACK,
    by_alias,
    locked,
    model_name,
    move_champion,
    number_of,
    settle,
)
from flows.verify import loads, verified
from flows.versions import Registry
from sgm_core.errors import SgmError, UsageError, unknown

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion


def print_history(project: Project, name: str) -> None:
    """Print every decision about a registered model, the oldest first.

    Raises:
        UsageError: there is no such model.
        SgmError: MLflow failed.
    """
    registry = Registry(project)
    name = registered_name(project, registry, name)
    with registry.errors():
        aliases = dict(registry.client.get_registered_model(name).aliases)
        told = events.events(registry.client, name)
        versions = registry.client.search_model_versions(f"name = '{name}'")
        cells = {int(v.version): str(v.tags.get("sgm.cell", "?")) for v in versions}
    print(f"{name}: " + ", ".join(f"{alias} {aliases[alias]}" for alias in sorted(aliases)))
    if not told:
        print("no decision is recorded")
    for entry in told:
        print(in_words(entry, cells))


def in_words(entry: dict[str, Any], cells: dict[int, str]) -> str:
    """Return one event as a line."""
    number = int(entry["version"])
    who = f"version {number} ({cells.get(number, '?')})"
    time = str(entry["time"])
    old = entry.get("replaced")
    if entry["action"] == "challenger":
        against = entry.get("against")
        role = "not promoted" if against is None else f"the challenger of version {against}"
        return f"{time}  challenger   {who} is {role}: {entry['reason']}"
    over = "is the first champion" if old is None else f"replaced version {old}"
    return f"{time}  {entry['action']:<12} {who} {over}: {entry['reason']}"


def rollback(project: Project, name: str, to: int | None, why: str = "") -> str:
    """Make the previous champion (or version `to`) the champion again; return a sentence.

    Its files are compared with their hashes and it is loaded in a clean process before any alias
    moves. The version that is left is not promoted again by a schedule.

    Raises:
        UsageError: there is no such model or version.
        SgmError: there is nothing to go back to, its files were altered, or MLflow failed.
    """
    registry = Registry(project)
    name = registered_name(project, registry, name)
    client = registry.client
    with registry.errors(), locked(project, name):
        finished = settle(client, name)
        champion = by_alias(client, name, CHAMPION)
        if (
            finished is not None
            and finished["action"] == BACK
            and to in (None, finished["version"])
        ):
            number = finished["version"]
            return (
                f"{name}: version {number} is the champion again; an interrupted rollback is done"
            )
        target = _target(client, name, to, champion)
        if number_of(target) == number_of(champion):
            raise SgmError(f"{name}: version {target.version} is the champion already")
        refusal = loads(verified(registry, target))
        if refusal:
            raise SgmError(f"{name}: version {target.version} is not used: {refusal}")
        reason = why or "rolled back by hand; its hashes match and it loads in a clean process"
        move_champion(client, name, int(target.version), champion, BACK, reason)
    left = "" if champion is None else f" in place of version {champion.version}"
    return f"{name}: version {target.version} is the champion again{left}"


def registered_name(project: Project, registry: Registry, text: str) -> str:
    """Return the registered model that is meant: sgm-digits, digits, or models:/sgm-digits@champion.

    Raises:
        UsageError: there is no such model.
        SgmError: MLflow failed.
    """
    name = text.removeprefix("models:/").partition("@")[0].partition("/")[0]
    with registry.errors():
        known = [str(model.name) for model in registry.client.search_registered_models()]
    for candidate in (name, model_name(name)):
        if candidate in known:
            return candidate
    if model_name(name) in map(model_name, project.config().experiments):
        raise UsageError(f"{model_name(name)} has no version yet; run: sgm publish {name}")
    raise unknown("registered model", name, known)


def _target(client: Any, name: str, to: int | None, champion: ModelVersion | None) -> ModelVersion:
    if to is None:
        previous = by_alias(client, name, PREVIOUS)
        if previous is None:
            raise SgmError(
                f"{name} has no previous champion to go back to; name a version with --to"
            )
        if back := previous.tags.get(ROLLED_BACK):
            number = previous.version
            raise SgmError(
                f"{name}: the previous champion, version {number}, was itself rolled back on {back}; "
                f"name the version that you want with --to ({number} brings it back)"
            )
        return previous
    versions = {int(v.version): v for v in client.search_model_versions(f"name = '{name}'")}
    if to not in versions:
        numbers = ", ".join(map(str, sorted(versions)))
        raise UsageError(f"--to: {to} is not a version of {name}; choose one of: {numbers}")
    return client.get_model_version(name, str(to))
