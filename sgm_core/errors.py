"""Errors that a user reads: one sentence that names the field, the value and the fix.

`UsageError` (exit code 2) says that the input was wrong; any other `SgmError` (exit code 1)
says that the work could not be done. The command line prints the sentence and no traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SgmError(Exception):
    """The work could not be done; the message is one sentence for the user."""

    exit_code = 1


class UsageError(SgmError):
    """The input was wrong; the message names the field, the value and the fix."""

    exit_code = 2


def did_you_mean(value: object, choices: Iterable[str]) -> str:
    """Return `"; did you mean 'x'?"` for the nearest choice, else the list of choices."""
    names = sorted(choices)
    close = difflib.get_close_matches(str(value).lower(), names, n=1, cutoff=0.55)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; choose one of: {', '.join(names)}" if names else ""


def unknown(field: str, value: object, choices: Iterable[str]) -> UsageError:
    """Build the error for a name that does not exist.

    >>> str(unknown("process", "vpp", ["vp", "ve"]))
    "unknown process 'vpp'; did you mean 'vp'?"
    """
    return UsageError(f"unknown {field} {value!r}{did_you_mean(value, choices)}")
