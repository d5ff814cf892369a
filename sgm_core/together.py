"""Several cells trained as one, each in the entry of the store that it has anyway.

    ensure_trained(jobs) -> a lease per cell, taken in the order of keys -> train_stack -> entries

Only training is done here, and nothing depends on it: whatever is missing afterwards (a cell that was
left out, one whose loss is not finite) is trained alone by `ensure_cell`, from its checkpoint.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from sgm_core.cell import CELLS, Emit, check_plan, described, log_of, plan_of, remember
from sgm_core.job import Job
from sgm_core.spec import identity_key
from sgm_core.store import Store
from sgm_core.store.shared import store_at


def stacks_of(jobs: Iterable[Job], slots: int = 1) -> list[list[Job]]:
    """Group jobs into stacks of at most `training.stack`, dealt out over so many slots.

    Only cells that have no finished entry are in; a cell that would be alone is in none.
    """
    alike: dict[str, list[Job]] = {}
    for job in jobs:
        most = int(job.spec.training.get("stack", 1))
        if most > 1 and store_at(job.store).find(CELLS, job.spec.key) is None:
            alike.setdefault(_alike(job), []).append(job)
    stacks = []
    for group in alike.values():
        most = int(group[0].spec.training["stack"])
        size = max(2, min(most, -(-len(group) // slots)))
        stacks += [group[i : i + size] for i in range(0, len(group), size)]
    return [stack for stack in stacks if len(stack) > 1]


def ensure_trained(jobs: Sequence[Job], emit: Emit) -> None:
    """Train the cells of one stack of `stacks_of` together.

    Raises:
        SgmError: one sentence; what was finished stays, and the rest can be trained alone.
    """
    store, planned = store_at(jobs[0].store), {}
    for job in jobs:
        remember(job)
        identity = job.spec.identity()
        planned[identity_key(identity)] = (job, identity)

    _nested(store, sorted(planned.items()), [], emit)


def _nested(
    store: Store,
    rest: Sequence[tuple[str, tuple[Job, dict[str, Any]]]],
    works: list[tuple[Job, Path]],
    emit: Emit,
) -> None:
    """Hold the lease of the first of the rest around all that follows; then train those that are held."""

    def tell(event: dict[str, Any]) -> None:
        store.check()
        emit(event)

    if not rest:
        _train(works, tell)
        return
    (key, (job, identity)), entered = rest[0], []

    def build(work: Path) -> dict[str, Any]:
        from sgm_core.train.run import train_cell

        entered.append(key)
        check_plan(job, identity)
        _nested(store, rest[1:], [*works, (job, work)], emit)
        # Trained by now, unless the stack left it out.
        summary: dict[str, Any] = train_cell(plan_of(job), job.dataset, work, tell)
        return summary

    store.ensure(CELLS, key, build, described(job, identity), log_of(emit))
    if not entered:  # somebody else has finished it meanwhile
        _nested(store, rest[1:], works, emit)


def _train(works: Sequence[tuple[Job, Path]], emit: Emit) -> None:
    from sgm_core.train.run import train_stack

    if works:
        plans, folders = [plan_of(job) for job, _ in works], [work for _, work in works]
        train_stack(plans, works[0][0].dataset, folders, emit)


def _alike(job: Job) -> str:
    """What the cells of a stack share: all but process, seed and name, and the network's inputs."""
    spec = job.spec
    kind = spec.process["kind"]
    inputs: Any = [kind, spec.process.get("objective")]  # decide channels and noises of a state
    if spec.training["parametrisation"] == "edm":
        inputs = ""  # one of each, whatever the process
    elif ":" in kind:
        inputs = spec.process  # of the user's own: what its parameters change is not known
    shared: list[Any] = [
        str(job.dataset),
        str(job.store),
        str(job.modules),
        spec.data_digest,
        spec.net,
        inputs,
    ]
    return json.dumps([*shared, spec.training], sort_keys=True)
