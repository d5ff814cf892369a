"""What all configuration models share: frozen, strict about names, and clear when wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator

from sgm_core.errors import UsageError, did_you_mean, unknown


class Frozen(BaseModel):
    """A configuration object: immutable, and an unknown field is an error."""

    # Built when they are used: a command uses few of the kinds.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_numbers(cls, value: object, info: ValidationInfo) -> object:
        """Refuse `steps: true`, which would count as 1."""
        field = cls.model_fields[str(info.field_name)]
        if isinstance(value, bool) and field.annotation in (int, float):
            raise ValueError("write a number, not true or false")
        return value


M = TypeVar("M", bound=Frozen)


def build(model: type[M], values: object, where: Iterable[str] = ()) -> M:
    """Validate `values` as `model`.

    Args:
        model: the configuration model.
        values: a mapping as read from YAML (None counts as empty).
        where: the path of this object for the message, e.g. ("experiments", "digits").

    Raises:
        UsageError: one sentence that names the field, the value and the fix.
    """
    path = list(where)
    if values is None:
        values = {}
    if not isinstance(values, Mapping):
        name = ".".join(path) or model.__name__
        raise UsageError(f"{name}: {values!r} is not valid: write a mapping of fields")
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise _explain(error, path, model) from None


def build_kind(kinds: Mapping[str, type[M]], label: str, values: object, where: Iterable[str]) -> M:
    """Validate an entry whose model is chosen by its `kind` (default: its own label).

    So `vp: {}` is the process vp, and `vp_short: {kind: vp, beta_max: 10}` a second variant of it.
    """
    path = list(where)
    fields: dict[str, Any] = dict(values) if isinstance(values, Mapping) else {}
    if values is not None and not isinstance(values, Mapping):
        raise UsageError(f"{'.'.join(path)}: {values!r} is not valid: write a mapping of fields")
    kind = fields.pop("kind", label)
    if not isinstance(kind, str) or kind not in kinds:
        raise UsageError(f"{'.'.join(path)}: {unknown('kind', kind, kinds)}")
    return build(kinds[str(kind)], fields, path)


def _explain(error: ValidationError, path: list[str], model: type[Frozen]) -> UsageError:
    """Turn pydantic's first complaint into one sentence."""
    first = error.errors()[0]
    where = ".".join([*path, *(str(part) for part in first["loc"])])
    if first["type"] == "extra_forbidden":
        name = str(first["loc"][-1])
        choices = [] if len(first["loc"]) > 1 else list(model.model_fields)
        return UsageError(f"{where}: unknown field {name!r}{did_you_mean(name, choices)}")
    if first["type"] == "missing":
        if isinstance(first["loc"][-1], int):
            where = where.rpartition(".")[0]
            return UsageError(f"{where}: {first['input']!r} is not valid: has too few entries")
        return UsageError(f"{where}: is missing; add it")
    message = _message(first)
    shown = "" if first["type"] == "value_error" and not first["loc"] else f"{first['input']!r} "
    return UsageError(f"{where}: {shown}is not valid: {message[:1].lower()}{message[1:]}")


def _message(complaint: Any) -> str:
    """What is wrong in a reader's words: YAML has lists and no tuples."""
    context = complaint.get("ctx", {})
    if complaint["type"] in ("tuple_type", "list_type"):
        return "write a list, such as [a, b]"
    if complaint["type"] == "too_long":
        return f"write at most {context['max_length']} entries"
    if complaint["type"] == "too_short":
        return f"write at least {context['min_length']} entries"
    return str(complaint["msg"]).removeprefix("Value error, ")
