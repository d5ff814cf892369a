"""Cells that are trained as one before each is run by itself (`training.stack`).

    train_stacks(executor, jobs) -> entries of the store, found by the cells' own runs

It saves time and nothing else: a stack that fails leaves its cells to train alone, from their checkpoints.
A pool's agents do it for the chunk of jobs that they were sent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from flows.executors import CellExecutor, InProcess, LocalProcesses, Stopped
from flows.workers import Kind
from sgm_core.errors import SgmError
from sgm_core.job import Job
from sgm_core.together import stacks_of


def train_stacks(
    executor: CellExecutor,
    jobs: Sequence[Job],
    emit: Callable[[str, dict[str, Any]], None],
    ended: Callable[[str], None] = lambda label: None,
) -> None:
    """Train all stacks that jobs make up, as many at once as the executor has slots.

    Args:
        emit: takes what is worked on ("16 cells together") and an event.
        ended: told when nothing more is worked on.

    Raises:
        Stopped: everything is being stopped.
    """
    if not isinstance(executor, InProcess | LocalProcesses):
        return
    kinds: dict[Kind, list[Job]] = {}  # a process is of one kind
    for job in jobs:
        if job.spec.training.get("stack", 1) > 1:
            kinds.setdefault(Kind.of(job, ""), []).append(job)
    try:
        stacks = [stack for alike in kinds.values() for stack in stacks_of(alike, executor.slots)]
    except SgmError as error:  # the store does not answer: each cell says so itself
        emit("stacks", {"event": "message", "text": f"{error}; each cell is trained alone"})
        return
    if not stacks:
        return

    def train(stack: Sequence[Job]) -> None:
        label = f"{len(stack)} cells together, {stack[0].spec.name} and on"
        try:
            executor.train_together(stack, lambda event: emit(label, event))
        except Stopped:
            raise
        except Exception as error:  # whatever it was, a cell alone is asked for it again
            emit(label, {"event": "message", "text": f"{error}; each goes on alone"})
        finally:
            ended(label)

    with ThreadPoolExecutor(executor.slots, "sgm-stack") as pool:
        list(pool.map(train, stacks))
