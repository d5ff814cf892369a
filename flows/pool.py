"""Cells as runs of the deployment `cells` in the work pool `gpu`: SGM_EXECUTOR=pool.

    run(job) -> chunk -> run of cells/cells on some agent -> the store -> run(job) returns

A deployment run costs seconds (Prefect, torch), so small cells travel in chunks: at first pieces of what
waits that shrink towards the end (guided self-scheduling), and as soon as cells have told what they
cost, pieces of some minutes' work, a fair share at most; nothing is dealt out long before a worker is
free. Agents see the project's folder at the same path. A
result is read from the store and never from Prefect; Prefect's word is only why there is none.

The idempotency key of a chunk is its cells and the attempt: a parent that was killed and started again
finds the runs of the first one and waits for them. A run that crashed (its machine died) is asked for
again a bounded number of times; two that work on one cell after all are kept apart by the store's lease.
Each job carries the key that is expected, and an agent with other code refuses it (flows.agreement).
"""

from __future__ import annotations

import contextlib
import json
import math
import queue
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import TYPE_CHECKING, Any

from flows.agreement import key_of, origin
from flows.executors import RETRIES, Stopped
from flows.longest import seconds_of
from flows.server import address
from flows.stopping import Stoppable
from sgm_core.cell import Emit, Job, Outcome, lookup
from sgm_core.errors import SgmError
from sgm_core.job import EVALUATE
from sgm_core.spec import digest_of
from sgm_core.store.files import sha256_bytes

if TYPE_CHECKING:
    from uuid import UUID

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import State

DEPLOYMENT, POOL = "cells/cells", "gpu"
MOST = 16  # cells in a chunk, as long as nobody knows what a cell costs
# Of work: what stays one chunk, since a run costs some ten of them, and what a chunk has at most.
SPLIT_SECONDS, WORTH_SECONDS = 20.0, 120.0
KNOWN = 32  # cells whose cost is remembered
UNDER_WAY = 256  # cells that are asked for at once
UNSEEN = 4  # runs that may wait for the first worker
GATHER_SECONDS = 0.3  # for jobs that come together
POLL_SECONDS = 1.0
AWAY_SECONDS = 300.0  # that a server may be away
COUNT_SECONDS = 10.0  # between two looks at the workers
ALONE_SECONDS = 60.0  # between two remarks that there is no worker


@dataclass
class _Ticket:
    """A job that was asked for; `done` is set when its run has ended, and `state` says how."""

    job: Job
    emit: Emit
    done: threading.Event = field(default_factory=threading.Event)
    state: State[Any] | None = None
    error: str = ""


UnderWay = dict["UUID", list[_Ticket]]  # run -> the jobs of its chunk


class PrefectPool(Stoppable):
    """Sends cells to a work pool in chunks.

    Args:
        retries: how often a cell is asked for again whose run crashed.

    Raises:
        UsageError: PREFECT_API_URL is not set.
    """

    slots = UNDER_WAY

    def __init__(self, retries: int = RETRIES) -> None:
        super().__init__()
        address()
        self.retries = retries
        self._asked: queue.Queue[_Ticket] = queue.Queue()
        self._costs: dict[str, deque[float]] = {}  # by task
        self._stopping = threading.Event()
        self._dispatcher: threading.Thread | None = None
        self._guard = threading.Lock()

    def run(self, job: Job, emit: Emit) -> Outcome:
        """See `CellExecutor.run`."""
        name = f"cell {job.spec.name}"
        finished = self._found(job, emit)
        if finished is not None:
            return finished
        for _ in range(self.retries + 1):
            ticket = self._ask(job, emit)
            if ticket.error:
                raise SgmError(f"{name}: {ticket.error}")
            finished = self._found(job, emit)
            if finished is not None:
                return replace(finished, cached=False)
            reason = _reason(ticket.state, job)
            if ticket.state is None or not ticket.state.is_crashed():
                raise SgmError(f"{name}: {reason}")
            emit({"event": "message", "text": f"{name}: its run crashed ({reason}); asking again"})
        raise SgmError(f"{name}: its runs crashed {self.retries + 1} times; see the pool {POOL}")

    def _found(self, job: Job, emit: Emit) -> Outcome | None:
        """Look a cell up, and remember what it cost."""
        found = lookup(job, emit)
        if found is not None:
            # Another task than a cell's own finds it trained.
            whole = job.task == EVALUATE
            seconds = (
                seconds_of(found, "seconds") if whole else found.evaluation.manifest["seconds"]
            )
            self._costs.setdefault(job.task, deque(maxlen=KNOWN)).append(seconds)
        return found

    def _cost(self, waiting: Sequence[_Ticket]) -> float:
        """Return what the first of these jobs will cost, by those of its task; 0: unknown."""
        known = self._costs.get(waiting[0].job.task, ()) if waiting else ()
        return median([*known] or [0.0])

    def stop(self) -> None:
        """See `Stoppable.stop`; runs in the pool are cancelled."""
        self._stopping.set()

    def close(self) -> None:
        """See `Stoppable.close`."""
        self.stop()
        if self._dispatcher is not None:
            self._dispatcher.join(30)

    def _ask(self, job: Job, emit: Emit) -> _Ticket:
        """Have a job run, and wait until its run has ended."""
        stopped = Stopped(f"cell {job.spec.name}: stopped; run again to go on with it")
        ticket = _Ticket(job, emit)
        with self._guard:
            if self._stopping.is_set():
                raise stopped
            if self._dispatcher is None:
                self._dispatcher = threading.Thread(target=self._dispatch, daemon=True)
                self._dispatcher.start()
            # Within the guard: a dispatcher that ends answers it, or a new one does.
            self._asked.put(ticket)
        ticket.done.wait()
        if self._stopping.is_set() and ticket.state is None:
            raise stopped
        return ticket

    def _dispatch(self) -> None:
        """Send chunks and watch them, until everything is to stop."""
        from prefect.client.orchestration import get_client

        waiting: list[_Ticket] = []
        under_way: UnderWay = {}
        text = "stopped"
        try:
            with get_client(sync_client=True) as client:
                watch = _Watch(client)
                while not self._stopping.is_set():
                    waiting += self._arrived(idle=not under_way)
                    watch.look(waiting, under_way, self._cost(waiting))
                watch.cancel(under_way)
        except Exception as error:  # the server is away for good: everybody is told
            text = " ".join(str(error).split())[:200] or type(error).__name__
        self._give_up(_unsettled(waiting, under_way), text)

    def _give_up(self, tickets: Sequence[_Ticket], text: str) -> None:
        with self._guard:
            self._dispatcher = None
            with contextlib.suppress(queue.Empty):
                while True:
                    tickets = [*tickets, self._asked.get_nowait()]
        for ticket in tickets:
            ticket.error = f"the Prefect server failed: {text}; run again to go on"
            ticket.done.set()

    def _arrived(self, idle: bool) -> list[_Ticket]:
        """Return what was asked for meanwhile, after a moment for what comes together."""
        found = []
        with contextlib.suppress(queue.Empty):
            found.append(self._asked.get(timeout=0.2 if idle else POLL_SECONDS))
            time.sleep(GATHER_SECONDS)
            while True:
                found.append(self._asked.get_nowait())
        return found


class _Watch:
    """The dispatcher's side of the server."""

    def __init__(self, client: SyncPrefectClient) -> None:
        from prefect.exceptions import ObjectNotFound

        self.client = client
        self.origin = origin()
        try:
            self.deployment = client.read_deployment_by_name(DEPLOYMENT).id
        except ObjectNotFound:
            raise SgmError(
                f"there is no deployment {DEPLOYMENT}; run: prefect --no-prompt deploy --all"
            ) from None
        self._said = -ALONE_SECONDS
        self._away = 0.0  # since when the server does not answer
        self._workers, self._counted = 0, -COUNT_SECONDS

    def look(self, waiting: list[_Ticket], under_way: UnderWay, cost: float) -> None:
        """Send what waits and settle what has ended; a server that is restarted is waited for.

        As long as nothing is known of a cell's cost (0), a worker gets one chunk; then its next one
        already waits for it.

        Every call may be repeated: a chunk leaves `waiting` when its run is known.
        """
        import httpx

        try:
            if (waiting or under_way) and time.monotonic() - self._counted > COUNT_SECONDS:
                self._count(_unsettled(waiting, under_way))
            most = self._workers * (2 if cost else 1) if self._workers else UNSEEN
            while waiting and len(under_way) < most:
                size = chunk_size(len(waiting), max(1, self._workers), cost)
                under_way[self.send([ticket.job for ticket in waiting[:size]])] = waiting[:size]
                del waiting[:size]
            self.settle(under_way)
        except httpx.HTTPError:
            self._away = self._away or time.monotonic()
            if time.monotonic() - self._away > AWAY_SECONDS:
                raise
            time.sleep(POLL_SECONDS)
        else:
            self._away = 0.0

    def _count(self, tickets: Sequence[_Ticket]) -> None:
        """Count the workers that are online; without any, say what to do."""
        known = self.client.read_workers_for_work_pool(POOL)
        online = sum(worker.status == "ONLINE" for worker in known)
        self._workers, self._counted = online, time.monotonic()
        if not online and time.monotonic() - self._said > ALONE_SECONDS:
            self._said = time.monotonic()
            text = f"no worker of the pool {POOL} is online; start one: sgm worker --gpus all"
            tickets[0].emit({"event": "message", "text": text})

    def send(self, jobs: Sequence[Job]) -> UUID:
        """Ask for a run of these jobs; one that an earlier parent asked for is taken over."""
        texts, expected = [job.to_json() for job in jobs], [_expected(job) for job in jobs]
        cells = sha256_bytes("\n".join(sorted(entry["key"] for entry in expected)).encode())
        label = jobs[0].label + (f" and {len(jobs) - 1} more" if len(jobs) > 1 else "")
        for attempt in range(10_000):
            run = self.client.create_flow_run_from_deployment(
                self.deployment,
                parameters={
                    "jobs": texts,
                    "label": f"{jobs[0].spec.experiment}: {label}",
                    "expected": expected,
                    "asked": self.origin,
                },
                idempotency_key=f"{cells}-{attempt}",
            )
            if run.state is None or not run.state.is_final():
                return run.id
        raise SgmError("10,000 runs of the same cells have ended without them; look at their logs")

    def settle(self, under_way: UnderWay) -> None:
        """Tell the tickets whose runs have ended."""
        for number in list(under_way):
            state = self.client.read_flow_run(number).state
            if state is None or not state.is_final():
                continue
            for ticket in under_way.pop(number):
                ticket.state = state
                ticket.done.set()

    def cancel(self, under_way: UnderWay) -> None:
        """Cancel what runs: its parent was told to stop."""
        import httpx
        from prefect.states import Cancelling

        for number in under_way:
            with contextlib.suppress(httpx.HTTPError):  # the others are cancelled all the same
                self.client.set_flow_run_state(number, Cancelling(message="the grid was stopped"))


def _unsettled(waiting: Sequence[_Ticket], under_way: UnderWay) -> list[_Ticket]:
    """Every job whose run has not ended."""
    return [*waiting, *(ticket for chunk in under_way.values() for ticket in chunk)]


def chunk_size(waiting: int, workers: int, cost: float = 0.0) -> int:
    """Return how many of `waiting` cells travel next.

    Args:
        cost: seconds of a cell; 0: unknown. Then it is half of each worker's share, at most MOST;
            else they are split evenly: less than SPLIT_SECONDS of work stays together, more is at
            most a chunk for each worker, until a chunk would be over WORTH_SECONDS.
    """
    if not cost:
        return max(1, min(MOST, waiting // (2 * workers)))
    split, most = (math.ceil(seconds / cost) for seconds in (SPLIT_SECONDS, WORTH_SECONDS))
    chunks = max(math.ceil(waiting / most), min(workers, math.ceil(waiting / split)))
    return math.ceil(waiting / chunks)


def _expected(job: Job) -> dict[str, str]:
    """What an agent must find a job to be, or else refuse it."""
    reference = digest_of(job.reference / "reference.json", "reference")
    return {"name": job.label, "key": key_of(job), "reference": reference}


def _reason(state: State[Any] | None, job: Job) -> str:
    """Why a run left no result for a job: its own sentence, else the run's."""
    message = str(state.message or state.name) if state is not None else "it has no state"
    with contextlib.suppress(ValueError, AttributeError):
        return str(json.loads(message).get(job.label, message))
    return message
