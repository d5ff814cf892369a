"""What people write on the command line as text, as values: a process, options, a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from flows.project import Project
from sgm_core.config.custom import is_custom
from sgm_core.config.process import PROCESSES
from sgm_core.errors import SgmError, UsageError, unknown

# Arguments of `ScoreModel.sample` and sgm_core.control as the command line writes them.
FLAGS = {
    name: f"--{name}"
    for name in ("n", "count", "seed", "steps", "sampler", "label", "guidance", "strength")
} | {"options": "--option", "process": "--process"}


@contextmanager
def as_written() -> Iterator[None]:
    """Within this block messages name what was typed, and too little memory is one sentence."""
    try:
        yield
    except UsageError as error:
        name, colon, rest = str(error).partition(":")
        if colon and name in FLAGS:
            raise UsageError(f"{FLAGS[name]}:{rest}") from None
        raise
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "allocate memory" not in str(error):
            raise
        raise SgmError("the memory does not hold this many samples; take fewer") from None


def check_file(file: Path, name: str) -> None:
    """Refuse a file that is not there, or is a folder.

    Args:
        name: the option that named it, for the message.
    """
    if file.is_dir():
        raise UsageError(f"{name}: {file} is a folder; name a file")
    if not file.is_file():
        raise UsageError(f"{name}: {file} does not exist")


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

    A name is a kind, "module:Class", or the label of a process in an experiment of params.yaml.

    Raises:
        UsageError: it is neither, or a label that stands for different processes.
    """
    if text is None:
        return None
    if not text.lstrip().startswith("{"):
        return text if text in PROCESSES or is_custom(text) else _labelled(text)
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


def _labelled(label: str) -> dict[str, Any]:
    """Return the process that experiments of the project's params.yaml know by this label."""
    found: dict[str, Mapping[str, Any]] = {}
    names = [*PROCESSES]
    with suppress(UsageError):  # no project here, or one with an error that `sgm check` explains
        for experiment, entry in Project.find().config().experiments.items():
            names += entry.processes
            if (process := entry.processes.get(label)) is not None:
                found[experiment] = {"kind": process.kind, **process.model_dump()}
    if not found:
        raise unknown("process", label, set(names))
    first, *others = found.values()
    if any(other != first for other in others):
        raise UsageError(
            f"--process: {label!r} is not the same in the experiments {', '.join(found)}; "
            'write its parameters: "{kind: NAME, ...}"'
        )
    return dict(first)


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
