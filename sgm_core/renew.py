"""A process that works on one cell after the other is for each of them as if it were new.

    with renewed():
        ensure_cell(...)

Same bits: the environment and the working folder are put back, and torch's global random stream
starts anywhere, as in a new process, so that nothing can depend on what came before. Same memory:
garbage goes, and with it what torch had cached on a GPU. What cannot be put back (a number of threads,
another project's modules, a class that changed torch's defaults, an error half-way) asks for a new
process: see `flows.workers.Kind` and `sgm_core.worker`.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Iterator

from sgm_core.heap import give_back

_frozen = False  # gc would count what is frozen, half a million objects, at every question


def _freeze() -> None:
    """What is there stays: no collection goes through the libraries again."""
    global _frozen
    gc.freeze()
    _frozen = True


@contextlib.contextmanager
def renewed() -> Iterator[None]:
    """Put back what the work inside has changed."""
    variables, folder = dict(os.environ), os.getcwd()
    try:
        yield
    finally:
        for name in set(os.environ) - set(variables):
            del os.environ[name]
        os.environ.update(variables)
        os.chdir(folder)
        gc.collect()
        if not _frozen:
            _freeze()
        torch = sys.modules.get("torch")  # not imported for this
        if torch is not None:
            torch.seed()
            if "torch._dynamo" in sys.modules:  # it compiles a bounded number of networks
                torch._dynamo.reset()
            if torch.cuda.is_initialized():
                torch.cuda.empty_cache()
        give_back()  # glibc keeps what was freed


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """For imports, and what is opened with them: what they make stays, and every search through it for
    garbage is time lost.

    A process that imports torch, or Prefect and MLflow, saves a sixth of the CPU time.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        _freeze()
        if was:
            gc.enable()


@contextlib.contextmanager
def absent(*packages: str) -> Iterator[None]:
    """For imports of what does without these packages; whoever imports one later gets it.

    Not while other threads import.
    """
    hidden = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: not to be found
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
