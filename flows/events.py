"""The journal of a registered model, kept where everybody can read it: in the registry itself.

    sgm.event.00001   {"time", "action", "version", "replaced", "reason", ...}   one per decision
    sgm.intent        the change of aliases that is under way; finished by whoever comes next

Tags of the registered model survive the machine that wrote them, and a change of champion that was
killed between two aliases is found and finished.
"""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient

PREFIX, INTENT = "sgm.event.", "sgm.intent"
LONGEST = 4900  # characters of such a tag; a database column holds 5,000


def record(client: MlflowClient, name: str, **entry: Any) -> None:
    """Append one event, with the present time unless it has its own; the caller holds the lock."""
    numbers = [int(key.removeprefix(PREFIX)) for key in _tags(client, name) if _is_event(key)]
    key = f"{PREFIX}{1 + max(numbers, default=0):05d}"
    client.set_registered_model_tag(name, key, _text({"time": _now(), **entry}))


def events(client: MlflowClient, name: str) -> list[dict[str, Any]]:
    """Return all events, the oldest first.

    Raises:
        MlflowException: there is no such model, or the registry failed.
    """
    tags = _tags(client, name)
    return [dict(json.loads(tags[key])) for key in sorted(filter(_is_event, tags))]


def intend(client: MlflowClient, name: str, **entry: Any) -> None:
    """Write down a change of aliases before it is made."""
    entry = {"time": _now(), "id": uuid.uuid4().hex, **entry}
    client.set_registered_model_tag(name, INTENT, _text(entry))


def intent(client: MlflowClient, name: str) -> dict[str, Any] | None:
    """Return the change that was begun and not finished."""
    text = _tags(client, name).get(INTENT)
    return None if text is None else dict(json.loads(text))


def done(client: MlflowClient, name: str) -> None:
    """Forget the change that was intended: it is made."""
    client.delete_registered_model_tag(name, INTENT)


def _tags(client: MlflowClient, name: str) -> dict[str, str]:
    return dict(client.get_registered_model(name).tags)


def _is_event(key: str) -> bool:
    return key.startswith(PREFIX) and key.removeprefix(PREFIX).isdigit()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _text(entry: dict[str, Any]) -> str:
    """JSON that fits; only the reason can be long."""
    text = json.dumps(entry, sort_keys=True)
    over = len(text) - LONGEST
    if over > 0:
        reason = str(entry.get("reason", ""))
        text = json.dumps({**entry, "reason": reason[: -over - 1] + "…"}, sort_keys=True)
    return text
