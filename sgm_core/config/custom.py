"""Forward processes of the user's own: `processes: {ou: {kind: "custom.ou:OU", theta: 2.0}}`.

`custom.ou` is the file custom/ou.py beside params.yaml (DVC depends on that folder; any other module
of the project, or an installed one, will do without it), `OU` a subclass of
`sgm_core.process.base.Process` with the class attributes `kind` and `k` (and `langevin = True`, if
the samplers for Langevin processes can split it). Its parameters are the keyword arguments of
`__init__`: annotations and defaults become a model like those of the built-in processes, so that the
same mistakes get the same sentences; and the process that they make is asked whether it keeps the
contract (sgm_core.process.probe).

Reading such an entry imports the module, and with it torch; a params.yaml without one stays light.
"""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Iterable
from importlib import import_module, invalidate_caches
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, get_type_hints

from pydantic import ConfigDict, create_model, model_validator

from sgm_core.code import installed, outside
from sgm_core.config.process import PROCESSES, ProcessParams
from sgm_core.errors import UsageError, did_you_mean

PARAMS = "params.yaml"
FOLDER = "custom"
PROCESS = ("sgm_core.process.base", "Process")
RESERVED = ("kind", "target", "langevin", "process_class")


class CustomParams(ProcessParams):
    """Base of the parameters of a custom process."""

    # A default is read like a value (`theta: float = 5` is 5.0), so that both have one key.
    model_config = ConfigDict(validate_default=True)
    process_class: ClassVar[type]

    @model_validator(mode="after")
    def _accepted(self) -> CustomParams:
        """Ask the class itself: __init__ may refuse values, and its kernel must work."""
        process = self._process()
        try:
            # By name: configuration imports no torch, the user's class has.
            import_module("sgm_core.process.probe").probe(process)
        except ValueError as error:
            raise ValueError(f"{self.kind}: {error}") from None
        return self

    def _process(self) -> Any:
        try:
            return type(self).process_class(**self.model_dump())
        except Exception as error:
            raise ValueError(f"{self.kind} refuses these parameters: {_words(error)}") from None

    def largest_level(self) -> float:
        """Return sigma_eff(t_max), as the class computes it."""
        process = self._process()
        return float(process.marginal.sigma_eff(process.t_max))


class Processes(dict[str, type[ProcessParams]]):
    """The built-in processes by name, and any other as "module:Class"."""

    def __contains__(self, kind: object) -> bool:
        return super().__contains__(kind) or is_custom(kind)

    def __missing__(self, kind: str) -> type[ProcessParams]:
        return custom_params(kind)


# The registry to look a `kind` up in; iterating gives the built-in ones.
ALL_PROCESSES = Processes(PROCESSES)


def is_custom(kind: object) -> bool:
    """Whether a kind names a class of the user's."""
    return isinstance(kind, str) and ":" in kind


def use_folder(folder: Path) -> None:
    """Look for modules in this project's folder, if they are nowhere else."""
    _project[:] = [folder.resolve()]


def used_folders() -> list[Path]:
    """The folders given to `use_folder`: a process that this one starts needs them too."""
    return list(_project)


_project: list[Path] = []


def folder_of(kinds: Iterable[str]) -> Path | None:
    """Return the folder that another process needs to import these kinds; None: it needs none."""
    for kind in filter(is_custom, kinds):
        load_class(kind)
        module = kind.partition(":")[0]
        file = Path(str(sys.modules[module].__file__)).resolve()
        folder = file.parents[module.count(".") + (file.name == "__init__.py")]
        if not installed(folder):
            return folder
    return None


def custom_params(kind: str) -> type[ProcessParams]:
    """Return the parameter model of "module:Class".

    Raises:
        UsageError: there is no such module or class, it is no process, or a parameter cannot be
            written in params.yaml.
    """
    cls = load_class(kind)
    if kind not in _models or _models[kind].process_class is not cls:
        _models[kind] = _model(kind, cls)
    return _models[kind]


_models: dict[str, type[CustomParams]] = {}


def load_class(kind: str) -> type:
    """Import the class of "module:Class".

    Raises:
        UsageError: see `custom_params`.
    """
    module_name, _, name = kind.partition(":")
    if not name.isidentifier() or not all(p.isidentifier() for p in module_name.split(".")):
        raise UsageError(
            f"{kind!r} is not valid: write {FOLDER}.FILE:CLASS, such as {FOLDER}.ou:OU"
        )
    module = _import(kind, module_name)
    cls = getattr(module, name, None)
    if cls is None:
        ours = [n for n, v in vars(module).items() if isinstance(v, type) and _is_process(v)]
        file = getattr(module, "__file__", None) or f"module {module_name!r}"
        raise UsageError(f"{kind}: {file} has no class {name!r}{did_you_mean(name, ours)}")
    if not isinstance(cls, type):
        base = ".".join(PROCESS)
        raise UsageError(f"{kind}: {name!r} is no class; name a class derived from {base}")
    if not _is_process(cls):
        raise UsageError(f"{kind} is no forward process; derive the class from {'.'.join(PROCESS)}")
    if inspect.isabstract(cls):
        missing = ", ".join(sorted(cls.__abstractmethods__))  # type: ignore[attr-defined]
        raise UsageError(f"{kind} has no {missing}; write these methods")
    if not isinstance(getattr(cls, "kind", None), str):
        raise UsageError(f"{kind} has no name; write kind = {name.lower()!r} in the class")
    k = getattr(cls, "k", None)
    if not isinstance(k, int) or k < 1:
        raise UsageError(
            f"{kind} does not say its channels; write k = 1 in the class (2 or 3: Langevin)"
        )
    return cls


def check_kind(kind: object) -> None:
    """Refuse the name of a file in place of "module:Class".

    Raises:
        UsageError: says how to write it.
    """
    if isinstance(kind, str) and "." in kind and not is_custom(kind):
        module = kind.removesuffix(".py").replace("/", ".").strip(".")
        raise UsageError(f"{kind!r} names a file and no class in it; write {module}:CLASS")


def _advice(kind: str) -> str:
    """Where a module that is not there belongs."""
    module, _, name = kind.partition(":")
    parts = module.split(".")
    if parts[0] == FOLDER and len(parts) > 1:
        return f"put {'/'.join(parts)}.py next to {PARAMS}"
    file = parts[-1]
    return f"put {FOLDER}/{file}.py next to {PARAMS} and write {FOLDER}.{file}:{name}"


def _is_process(cls: type) -> bool:
    """Whether Process is among the base classes, known without importing it (and torch)."""
    return cls.__module__ != PROCESS[0] and any(
        (base.__module__, base.__name__) == PROCESS for base in cls.__mro__
    )


def _import(kind: str, name: str) -> ModuleType:
    """Import a module, from the project's folder if it is nowhere else; anew if it was edited."""
    top = name.partition(".")[0]
    try:
        _forget_if_edited(name)
        try:
            module = import_module(name)
        except ModuleNotFoundError as error:
            if error.name not in (top, name):
                raise
            # Last on the path: a file of the project must not shadow an installed module.
            sys.path += [str(folder) for folder in _folders() if str(folder) not in sys.path]
            invalidate_caches()
            module = import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise UsageError(f"{kind}: there is no module {name!r}; {_advice(kind)}") from None
        raise UsageError(f"{kind}: {name} cannot be imported ({error}); install it") from None
    except Exception as error:
        raise UsageError(f"{kind}: {name} cannot be imported ({_words(error)}); mend it") from None
    found = getattr(sys.modules[top], "__file__", None)
    for wanted in (folder / f"{top}.py" for folder in _folders()):
        if wanted.is_file() and found and Path(found).resolve() != wanted.resolve():
            raise UsageError(f"{kind}: the name {top!r} is taken by {found}; rename {wanted.name}")
    _states.setdefault(name, _state(name))
    return module


def _forget_if_edited(name: str) -> None:
    """Drop a module and what it imports of its project, if a file of theirs has changed.

    A process that lives on, such as a scheduler, would otherwise go on with the old class.
    """
    if name in sys.modules and _states.get(name, _state(name)) != _state(name):
        for module in _states.pop(name):
            sys.modules.pop(module, None)


def _state(name: str) -> dict[str, int]:
    """A module and what it imports of its project, with the times of their last edits."""
    if name.partition(".")[0] in sys.stdlib_module_names:
        return {}  # some of them have no file
    return {module: file.stat().st_mtime_ns for module, file in outside([name]).items()}


_states: dict[str, dict[str, int]] = {}


def _folders() -> list[Path]:
    """The project's folder: as told, else that of the working folder."""
    here = Path.cwd()
    nearest = [folder for folder in (here, *here.parents) if (folder / PARAMS).is_file()]
    return _project or nearest[:1]


def _model(kind: str, cls: type) -> type[CustomParams]:
    """Make the parameter model from the signature of __init__."""
    try:
        hints = get_type_hints(cls.__init__, include_extras=True)  # type: ignore[misc]
    except Exception as error:
        raise UsageError(
            f"{kind}: a type of __init__ is unknown ({_words(error)}); mend it"
        ) from None
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(cls).parameters.values():
        name = parameter.name
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        taken = name in RESERVED or name.startswith("_") or hasattr(CustomParams, name)
        if taken or parameter.kind == parameter.POSITIONAL_ONLY:
            raise UsageError(f"{kind}: __init__ has a parameter {name!r}; give it another name")
        if name not in hints:
            raise UsageError(f"{kind}: parameter {name!r} has no type; write {name}: float")
        empty = parameter.default is parameter.empty
        fields[name] = (hints[name], ... if empty else parameter.default)
    try:
        with warnings.catch_warnings():  # of names that pydantic would rather keep
            warnings.simplefilter("ignore")
            model = create_model(cls.__name__, __base__=CustomParams, __module__=__name__, **fields)
            model.model_json_schema()
    except Exception as error:
        reason = f"params.yaml cannot hold a parameter of it ({_words(error)})"
        raise UsageError(f"{kind}: {reason}; use numbers, texts, or lists of them") from None
    model.__doc__ = inspect.getdoc(cls)
    model.kind = model.target = kind
    model.langevin = bool(getattr(cls, "langevin", False))
    model.process_class = cls
    return model


def _words(error: BaseException) -> str:
    """An exception as part of a sentence."""
    text = " ".join(str(error).split())
    return text if isinstance(error, ValueError) and text else f"{type(error).__name__}: {text}"
