"""What people write on the command line as text, as values: a process, options, a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from sgm_core.errors import UsageError


def one_model(model: str | None, source: str | None) -> str:
    """Return the model that was named, as MODEL or with --from.

    Raises:
        UsageError: none was named, or both.
    """
    if model is None and source is None:
        raise UsageError("no model was named; write MODEL, or --from MODEL")
    if model is not None and source is not None:
        raise UsageError(f"two models were named, {model!r} and --from {source!r}; leave one out")
    return str(model if source is None else source)


def process_of(text: str | None) -> str | dict[str, Any] | None:
    """Return the process of `--process NAME` or `--process "{kind: NAME, parameter: number}"`.

    Raises:
        UsageError: it is neither.
    """
    if text is None or not text.lstrip().startswith("{"):
        return text
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError:
        values = None
    if not isinstance(values, dict) or "kind" not in values:
        raise UsageError(
            f"--process: {text!r} is not valid; write a name, or a mapping with kind such as "
            '"{kind: ve, sigma_min: 0.002}"'
        )
    return values


def options_of(texts: Sequence[str] | None) -> dict[str, float] | None:
    """Return the sampler's options of `--option eta=0.5 --option order=3`; None if there are none.

    Raises:
        UsageError: one is not NAME=NUMBER, or is given twice.
    """
    found: dict[str, float] = {}
    for text in texts or ():
        name, _, value = (part.strip() for part in text.partition("="))
        try:
            number = int(value) if value.lstrip("+-").isdigit() else float(value)
        except ValueError:
            raise UsageError(
                f"--option: {text!r} is not valid; write NAME=NUMBER, for example eta=0.5"
            ) from None
        if name in found:
            raise UsageError(f"--option: {name!r} is given twice; leave one out")
        found[name] = number
    return found or None
