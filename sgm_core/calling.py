"""A function of this package, called in a process that has imported its libraries already.

    line = call_line("sgm_core.report.drawing:draw", scene, "light")      in the process that asks
    text = called(line)                                                   in the one that computes
    value_of(text)                                                        in the one that asked

Arguments and value travel as pickles between a process and its own child; the function travels by its name,
so that who asks need not import it.
"""

from __future__ import annotations

import pickle
from base64 import b64decode, b64encode
from importlib import import_module
from typing import Any

CALL = "call "


def call_line(function: str, *arguments: Any) -> str:
    """Return the line that asks a worker for a call of "module:name"."""
    return f"{CALL}{function} {_text(arguments)}\n"


def module_of(line: str) -> str:
    """Return the module of the function that such a line asks for."""
    return line.removeprefix(CALL).partition(":")[0]


def called(line: str) -> str:
    """Do what such a line asks for; return the value as text."""
    function, packed = line.removeprefix(CALL).split()
    module, _, name = function.partition(":")
    return _text(getattr(import_module(module), name)(*value_of(packed)))


def value_of(text: str) -> Any:
    """Return the value of such a text."""
    return pickle.loads(b64decode(text))


def _text(value: Any) -> str:
    return b64encode(pickle.dumps(value)).decode()
