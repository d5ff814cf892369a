"""What does not fit the schema of a request, as one sentence with the field, the value and the fix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

WORDS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "a text",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "an object",
}
# pydantic ends a place with the type that it tried, where a field may have several.
TRIED = ("int", "float", "str")


def complaint(errors: Sequence[Any]) -> str:
    """Return pydantic's first complaint."""
    first = errors[0]
    place, kind = [str(part) for part in first["loc"]], first["type"]
    several = [e for e in errors if e["loc"][:-1] == first["loc"][:-1] and e["type"] in WORDS]
    if place[-1] in TRIED and len(several) > 1:
        place = place[:-1]
    else:
        several = several[:1] if kind in WORDS else []
    where = ".".join(place[1:]) or "body"  # the first part says body, or path
    if kind == "missing":
        return f"{where}: is missing; add it"
    if kind == "extra_forbidden":
        return f"{where}: there is no such field; see /openapi.json"
    if kind == "json_invalid":
        return "body: is not JSON"
    words = dict.fromkeys(WORDS[error["type"]] for error in several)
    message = str(first["msg"])
    fix = f"write {' or '.join(words)}" if words else f"{message[:1].lower()}{message[1:]}"
    shown = repr(first["input"])
    return f"{where}: {shown[:80]}{'...' if len(shown) > 80 else ''} is not valid: {fix}"
