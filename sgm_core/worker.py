"""Cells in a process of its own: `python -m sgm_core.worker JOB.json`, or `-`: jobs on stdin.

`--fork SOCKET`: a process that imports what the job on stdin needs, and forks workers (sgm_core.nursery).

On stdin jobs come one a line, as `Job.to_line` writes them, until its end; each is computed as in a new
process (sgm_core.renew). A line that begins with `load ` asks for the imports of its job alone, so that
they are over when jobs come, one with `call ` for what a function returns (sgm_core.calling). stdout
carries one JSON object a line, and nothing else (whatever a library prints goes to stderr):

    {"event": "progress" | "message", ...}                              as emitted by the work
    {"event": "done", "cell": key, "evaluation": key, "cached": bool,   the end of one job
     "resident": bytes}
    {"event": "done", "value": text, "resident": bytes}                 the end of one call
    {"event": "outdated"}                                               instead of a job or a call: its
                                                                        code was edited; ask a new process
    {"event": "error", "message": ..., "exit_code": ...}                the end of a job and the process

After an error nothing else is computed here: whatever state it left is gone with the process.

The process leads its own process group and does not outlive its parent: when the parent dies it
is sent SIGTERM (a checkpoint is saved), and after a grace time the whole group is killed. Exit
codes: 0 done, 1 failure, 2 wrong input, 143 stopped by SIGTERM, 130 by Ctrl-C.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sgm_core.calling import CALL, called, module_of
from sgm_core.cell import Job, edited, ensure_cell, load, outdated
from sgm_core.code import module_hashes
from sgm_core.config.custom import use_folder
from sgm_core.ending import PARENT, Terminated, die_with_parent, killed_with_parent, terminate
from sgm_core.errors import SgmError, UsageError
from sgm_core.heap import resident
from sgm_core.nursery import grow
from sgm_core.renew import renewed
from sgm_core.together import ensure_trained

LOAD, TOGETHER = "load ", "together "
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def main(argv: list[str] | None = None) -> int:
    """Run the jobs; return the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    if forked := argv[:1] == ["--fork"]:
        killed_with_parent(parent := int(os.environ[PARENT]))
        with renewed():
            _load(Job.from_json(sys.stdin.readline()))
        if not grow(int(argv[1]), parent):
            return 0
        argv = ["-"]
    emit = private_stdout()
    try:
        signal.signal(signal.SIGTERM, terminate)
        if os.getpgrp() != os.getpid():
            with contextlib.suppress(OSError):  # a session leader has its own group already
                os.setpgid(0, 0)
        # Named by the parent, because it may have died before this line.
        die_with_parent(int(os.environ.pop(PARENT, os.getppid())))
        for number, text in enumerate(_texts(argv)):
            with renewed():
                if text.startswith(CALL):
                    if edited(module_hashes([module_of(text)])):
                        emit({"event": "outdated"})
                        return 0
                    emit({"event": "done", "value": called(text), "resident": resident()})
                    continue
                jobs = _jobs(text)
                job = jobs[0]
                if text.startswith(LOAD):
                    _load(job)
                    continue
                if job.modules is not None:
                    use_folder(job.modules)
                if (number or forked) and outdated(job):
                    emit({"event": "outdated"})
                    return 0
                code = _work(jobs, emit, together=text.startswith(TOGETHER))
            if code:
                return code
    except (SgmError, Terminated) as error:
        return _failed(emit, str(error), error.exit_code)
    except KeyboardInterrupt:
        return _failed(emit, "interrupted", 130)
    return 0


def _load(job: Job) -> None:
    if job.modules is not None:
        use_folder(job.modules)
    load(job)


def _jobs(text: str) -> list[Job]:
    if not text.startswith(TOGETHER):
        return [Job.from_json(text.removeprefix(LOAD))]
    return [Job.from_json(json.dumps(job)) for job in json.loads(text.removeprefix(TOGETHER))]


def together_line(jobs: Sequence[Job]) -> str:
    """Return the line that asks for a stack."""
    return f"{TOGETHER}[{', '.join(job.to_line().strip() for job in jobs)}]\n"


def _work(jobs: list[Job], emit: Callable[[dict[str, Any]], None], together: bool) -> int:
    """Run one job, or train a stack; return 0, or the exit code of the process."""
    job, keys = jobs[0], dict[str, Any]()
    name = f"cells of {job.spec.experiment}: " if together else f"cell {job.spec.name}: "
    try:
        os.environ.update(thread_environment(job.spec.training))
        if together:
            ensure_trained(jobs, emit)
        else:
            outcome = ensure_cell(job, emit)
            keys = {"cell": outcome.cell.key, "evaluation": outcome.evaluation.key}
            keys["cached"] = outcome.cached
    except SgmError as error:
        return _failed(emit, str(error), error.exit_code)
    except Terminated as error:
        return _failed(emit, f"{name}{error}", error.exit_code)
    except KeyboardInterrupt:
        return _failed(emit, f"{name}interrupted", 130)
    except MemoryError:
        traceback.print_exc()
        message = "out of memory; lower training.batch or the number of cells at once"
        return _failed(emit, name + message, 1)
    except Exception as error:
        traceback.print_exc()
        text = " ".join(f"{type(error).__name__}: {error}".split())
        return _failed(emit, name + text, 1)
    emit({"event": "done", **keys, "resident": resident()})
    return 0


def thread_environment(training: dict[str, Any]) -> dict[str, str]:
    """The variables that hold OpenMP and BLAS to `training.threads`; read when torch starts."""
    return dict.fromkeys(THREADS, str(training.get("threads", 1)))


def _texts(argv: list[str]) -> Iterator[str]:
    if len(argv) != 1:
        usage = "usage: python -m sgm_core.worker JOB.json (- reads jobs from stdin, one a line)"
        raise UsageError(usage)
    if argv[0] == "-":
        yield from sys.stdin
        return
    try:
        yield Path(argv[0]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{argv[0]}: the job cannot be read ({error}); check the path") from None


def private_stdout() -> Callable[[dict[str, Any]], None]:
    """Keep stdout for events: fd 1 becomes stderr for everybody else."""
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8")  # dup: not inherited by programs
    os.dup2(2, 1)
    lock = threading.Lock()

    def emit(event: dict[str, Any]) -> None:
        # A parent that is gone reads nothing; the watch ends this process after a checkpoint.
        with lock, contextlib.suppress(BrokenPipeError, ValueError):
            stream.write(json.dumps(_finite(event), allow_nan=False) + "\n")
            stream.flush()

    return emit


def _finite(value: Any) -> Any:
    """NaN and infinities are not JSON; they travel as null."""
    if isinstance(value, dict):
        return {name: _finite(v) for name, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and value - value != 0 else value


def _failed(emit: Callable[[dict[str, Any]], None], message: str, code: int) -> int:
    emit({"event": "error", "message": message, "exit_code": code})
    print(message, file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
