"""Where a cell runs: in this process, in a worker process per slot, or in a work pool (flows.pool).

    run(job, emit) -> Outcome        safe to call from several threads; blocks for a free slot

A slot is a GPU, or a share of the CPU's cores. The results come from the store, never from the
worker's words: a finished cell is found there whoever made it and whatever happened afterwards.

A slot's process takes one cell after the other (flows.workers). A worker that a signal killed (kill -9,
the kernel out of memory) is started again a bounded number of times and resumes from its checkpoint;
one that ended with an error is not, since the same input gives the same error.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from flows.nursery import Nursery
from flows.stopping import Stoppable
from flows.workers import Ending, Kind, Worker, nursery, signal_name
from sgm_core.calling import call_line, value_of
from sgm_core.cell import CELLS, EVALUATIONS, Emit, Job, Outcome, ensure_cell, lookup
from sgm_core.device import cores, device_class, gpus
from sgm_core.ending import GRACE_SECONDS
from sgm_core.errors import SgmError, UsageError, did_you_mean
from sgm_core.store.shared import store_at
from sgm_core.together import ensure_trained
from sgm_core.worker import together_line

RETRIES = 2
VARIABLE = "SGM_EXECUTOR"


class CellExecutor(Protocol):
    """Runs cells.

    Attributes:
        slots: how many cells it runs at once; more threads than that only wait.
    """

    slots: int

    def run(self, job: Job, emit: Emit) -> Outcome:
        """Return the finished cell, computing it if necessary; progress goes to `emit`.

        Raises:
            SgmError: the cell failed; one sentence.
        """
        ...


class Stopped(SgmError):
    """The cell was stopped with everything else; running again resumes it."""

    exit_code = 143


@dataclass
class _Slot:
    """A device, and the worker that idles on it."""

    device: str
    worker: Worker | None = None


class InProcess:
    """Runs cells one after the other in this process: simplest, and best for debugging."""

    slots = 1

    def __init__(self) -> None:
        self._alone = threading.Lock()

    def run(self, job: Job, emit: Emit) -> Outcome:
        """See `CellExecutor.run`."""
        with self._alone:
            return ensure_cell(job, emit)

    def train_together(self, jobs: Sequence[Job], emit: Emit) -> None:
        """See `LocalProcesses.train_together`."""
        with self._alone:
            ensure_trained(jobs, emit)


class LocalProcesses(Stoppable):
    """Runs cells in `n` processes `python -m sgm_core.worker` at once; a slot keeps its process.

    As a context manager in the main thread it also passes SIGTERM and Ctrl-C on: its workers get
    SIGTERM at once and SIGKILL after 10 s, then the signal takes its usual course. Without it, and
    after kill -9 of this process, the workers notice that their parent is gone and end by themselves.
    `close`, the end of the context, ends those that idle.

    Args:
        n: slots.
        devices: GPUs as values for CUDA_VISIBLE_DEVICES, dealt out to the slots in turn (None:
            all visible ones); a cell that trains on the CPU sees none.
        environment: variables for the workers on top of this process's own.
        retries: how often a worker that a signal killed is started again.
    """

    def __init__(
        self,
        n: int,
        devices: Sequence[str] | None = None,
        environment: Mapping[str, str] | None = None,
        retries: int = RETRIES,
    ) -> None:
        super().__init__()
        if n < 1:
            raise UsageError(f"{VARIABLE}: {n} slots are too few; give 1 or more")
        self.slots = n
        self.retries = retries
        self._environment = dict(environment or {})
        devices = gpus() if devices is None else devices
        self._slots = [_Slot(devices[i % len(devices)] if devices else "") for i in range(n)]
        # The slot that was used last comes first: its process is warm.
        self._free: queue.LifoQueue[_Slot] = queue.LifoQueue()
        for slot in reversed(self._slots):
            self._free.put(slot)
        self._stopping = threading.Event()
        self._running: set[Worker] = set()
        self._guard = threading.RLock()  # re-entered by a signal handler in the same thread
        self._nursery: tuple[Kind, Nursery] | None = None
        # A worker dies with the thread that made it, and those who ask for cells come and go.
        self._starter = ThreadPoolExecutor(1, "sgm-start")

    def run(self, job: Job, emit: Emit) -> Outcome:
        """See `CellExecutor.run`."""
        finished = lookup(job, emit)
        if finished is not None:
            return finished
        slot = self._slot(job)
        try:
            for attempt in range(self.retries + 1):
                ending = self._attempt(job, job.to_line(), slot, emit)
                if not ending.signal:
                    return _result(job, ending)
                if attempt < self.retries:
                    text = f"cell {job.spec.name}: its process was killed by "
                    text += f"{signal_name(ending.signal)}; starting it again "
                    text += f"({attempt + 1} of {self.retries})"
                    emit({"event": "message", "text": text})
        finally:
            self._free.put(slot)
        advice = "run again to go on with it"
        if ending.signal == signal.SIGKILL:
            advice = "it may need more memory: lower training.batch or set SGM_EXECUTOR=local:1"
        raise SgmError(
            f"cell {job.spec.name}: its process was killed by {signal_name(ending.signal)} "
            f"{self.retries + 1} times; {advice}"
        )

    def train_together(self, jobs: Sequence[Job], emit: Emit) -> None:
        """Train the cells of a stack (sgm_core.together) in a slot.

        Raises:
            SgmError: they are not all trained; each can go on alone.
        """
        slot = self._slot(jobs[0])
        try:
            ending = self._attempt(jobs[0], together_line(jobs), slot, emit)
        finally:
            self._free.put(slot)
        if not ending.done:
            reason = ending.last.get("message") or ending.words or "its process was killed"
            raise SgmError(f"{len(jobs)} cells are not trained together: {reason}")

    def starmap(
        self, name: str, function: str, arguments: Sequence[tuple[Any, ...]]
    ) -> list[Any | None]:
        """Return what a function returns for each tuple of arguments, computed at once by workers that idle
        and have imported what cells need; None where there was none, or it failed. No other process is
        started.

        Args:
            name: what it is, in words, for who stops it.
            function: "module:name" of sgm_core.

        Raises:
            Stopped: everything is being stopped.
        """
        if self._stopping.is_set():
            raise Stopped(f"{name}: not made, because everything is being stopped")
        free = self._all_free()
        idle: queue.SimpleQueue[_Slot] = queue.SimpleQueue()

        def call(given: tuple[Any, ...]) -> Any | None:
            slot = idle.get()  # at once: there are as many as threads
            try:
                kind = self._warm(slot)
                if kind is None:
                    return None
                ending = self._once(name, call_line(function, *given), kind, slot, _ignore)
                return value_of(ending.last["value"]) if ending.done else None
            except Stopped:
                raise
            except Exception:  # whatever it was, who asked can compute it
                return None
            finally:
                idle.put(slot)

        try:
            for slot in free:
                if self._warm(slot) is not None:
                    idle.put(slot)
            if idle.empty():
                return [None] * len(arguments)
            with ThreadPoolExecutor(idle.qsize(), "sgm-call") as pool:
                return list(pool.map(call, arguments))
        finally:
            for slot in reversed(free):
                self._free.put(slot)

    def _all_free(self) -> list[_Slot]:
        """Take every slot that is free, the one that was used last first."""
        free: list[_Slot] = []
        with contextlib.suppress(queue.Empty):
            while True:
                free.append(self._free.get_nowait())
        return free

    def _warm(self, slot: _Slot) -> Kind | None:
        """The kind of the process that a slot has, or can have forked; None if it would be a new one."""
        if slot.worker is not None and slot.worker.usable:
            return slot.worker.kind
        held = self._nursery
        return held[0] if held is not None and held[1].alive else None

    def load(self, job: Job) -> None:
        """Start a worker in every slot, which imports what such a job needs, or one process that
        will fork them all; returns at once."""
        kinds = [Kind.of(job, _visible(job, slot)) for slot in self._slots]
        if self.slots > 1 and len(set(kinds)) == 1:
            made = self._starter.submit(nursery, kinds[0], self._environment, job).result()
            if made is not None:
                self._nursery = (kinds[0], made)
                return
        for slot, kind in zip(self._slots, kinds, strict=True):
            slot.worker = self._starter.submit(Worker, kind, self._environment).result()
            slot.worker.load(job)

    def stop(self) -> None:
        """End the workers: SIGTERM now, SIGKILL after 10 s; returns at once. No cell starts after."""
        self._stopping.set()
        with self._guard:
            running = list(self._running)
        for worker in running:
            worker.signal(signal.SIGTERM)
        held = self._nursery
        if held is not None:
            held[1].kill()  # whoever waits for its imports waits no longer
        if running:
            timer = threading.Timer(GRACE_SECONDS, _kill, (running,))
            timer.daemon = True
            timer.start()

    def close(self) -> None:
        """`stop`, and wait until every worker has ended."""
        self.stop()
        deadline = time.monotonic() + GRACE_SECONDS + 5
        while self._running and time.monotonic() < deadline:
            time.sleep(0.02)
        with self._guard:
            idle = [s.worker for s in self._slots if s.worker and s.worker not in self._running]
        for worker in idle:
            worker.end(grace=0)
        self._close_nursery()
        self._starter.shutdown(wait=False)

    def _slot(self, job: Job) -> _Slot:
        """Wait for a free slot."""
        while not self._stopping.is_set():
            with contextlib.suppress(queue.Empty):
                return self._free.get(timeout=0.2)
        raise Stopped(f"cell {job.spec.name}: not started, because everything is being stopped")

    def _attempt(self, job: Job, line: str, slot: _Slot, emit: Emit) -> Ending:
        """Have a worker do what a line asks for, that of the slot if it fits; a new one if its code was
        edited."""
        name, kind = f"cell {job.spec.name}", Kind.of(job, _visible(job, slot))
        ending = self._once(name, line, kind, slot, emit)
        while ending.outdated:
            self._close_nursery()  # it has imported the same code
            ending = self._once(name, line, kind, slot, emit)
        return ending

    def _once(self, name: str, line: str, kind: Kind, slot: _Slot, emit: Emit) -> Ending:
        stopped = Stopped(f"{name}: stopped; run again to go on with it")
        worker = self._worker(slot, kind, stopped)
        try:
            ending = worker.follow(line, emit)
            slot.worker = worker if ending.done else None
        finally:
            with self._guard:
                self._running.discard(worker)
        if self._stopping.is_set() and not ending.done:
            raise stopped
        return ending

    def _worker(self, slot: _Slot, kind: Kind, stopped: Stopped) -> Worker:
        """Return the slot's worker, or a new one where it does not fit; it counts as running."""
        old, slot.worker = slot.worker, None
        if old is not None and not (old.usable and old.kind == kind):
            old.end(grace=0)
            old = None
        worker = old or self._made(kind, stopped)
        with self._guard:
            if self._stopping.is_set():
                worker.end(grace=0)
                raise stopped
            self._running.add(worker)
        return worker

    def _made(self, kind: Kind, stopped: Stopped) -> Worker:
        """Make a worker, by the nursery if it is for that kind."""
        held = self._nursery
        made = held[1] if held is not None and held[0] == kind else None

        def make() -> Worker:
            if self._stopping.is_set():
                raise stopped
            return Worker(kind, self._environment, made)

        try:
            started = self._starter.submit(make)
        except RuntimeError:  # `close` has ended the starter
            raise stopped from None
        return started.result()

    def _close_nursery(self) -> None:
        held, self._nursery = self._nursery, None
        if held is not None:
            held[1].close()


def default_executor(
    cells: int | None = None, device: str = "auto", threads: int = 1, together: int = 1
) -> CellExecutor:
    """Choose for this machine: a slot per `together` GPUs, or per `threads` cores for each; no more
    than `cells`.

    Args:
        cells: how many cells there are (None: many).
        device: `training.device`: auto, cpu or cuda.
        threads: `training.threads` of one cell.
        together: `training.devices` of one cell.

    The environment variable SGM_EXECUTOR overrides the choice: "inprocess", "local", "local:N", or
    "pool": the workers of a Prefect server.

    Raises:
        UsageError: SGM_EXECUTOR has another value.
    """
    devices = gpus() if device_class(device) == "cuda" else []
    devices = [",".join(devices[i : i + together]) for i in range(0, len(devices), together)]
    if len(devices) > 1 and devices[-1].count(",") < together - 1:
        del devices[-1]  # what is left over is too few for a cell
    slots = len(devices) or max(1, cores() // max(1, threads * together))
    wanted, _, number = os.environ.get(VARIABLE, "").strip().lower().partition(":")
    if wanted == "inprocess" and not number:
        return InProcess()
    if wanted == "pool" and not number:
        from flows.pool import PrefectPool

        return PrefectPool()
    if wanted not in ("", "local"):
        raise UsageError(
            f"{VARIABLE} = {os.environ[VARIABLE]!r} is not valid"
            + did_you_mean(wanted, ["inprocess", "local", "local:N", "pool"])
        )
    if number:
        if not number.isdigit() or int(number) < 1:
            raise UsageError(f"{VARIABLE} = local:{number} is not valid; write local:N with N >= 1")
        return _local(int(number), devices)
    return _local(max(1, slots if cells is None else min(slots, cells)), devices)


def devices(job: Job) -> dict[str, Any]:
    """Return what `default_executor` needs to know of a grid's cells."""
    training = job.spec.training
    together = training.get("devices", 1)
    return {"device": training["device"], "threads": training["threads"], "together": together}


# The executor whose workers were started before the grid asks for one, with its devices.
_ahead: list[tuple[list[str], LocalProcesses]] = []


def start_ahead(job: Job, cells: int) -> None:
    """Start the workers that a grid with such jobs and as many cells will have; returns at once.

    They import torch while this process imports Prefect and waits for its server.
    """
    executor = default_executor(cells, **devices(job))
    if isinstance(executor, LocalProcesses):
        executor.load(job)
        _ahead.append(([slot.device for slot in executor._slots], executor))


def _local(n: int, devices: list[str]) -> LocalProcesses:
    """Return an executor, that which was started ahead if it fits."""
    made = LocalProcesses(n, devices)
    if not _ahead:
        return made
    seen, executor = _ahead.pop()
    if seen == [slot.device for slot in made._slots]:
        return executor
    executor.close()
    return made


def _result(job: Job, ending: Ending) -> Outcome:
    """What a worker that ended by itself leaves: the outcome, or its error."""
    name, last = f"cell {job.spec.name}", ending.last
    if last.get("event") == "error":
        kind = UsageError if ending.code == UsageError.exit_code else SgmError
        raise kind(str(last.get("message")))
    if not ending.done:
        words = ending.words or "nothing"
        raise SgmError(
            f"{name}: its process ended with exit code {ending.code}; its last words: {words}"
        )
    store = store_at(job.store)
    # By the worker's keys, not by new ones: the code may have been edited meanwhile.
    cell = store.find(CELLS, str(last["cell"]))
    evaluation = store.find(EVALUATIONS, str(last["evaluation"]))
    if cell is None or evaluation is None:
        raise SgmError(f"{name}: finished, but its entry in {job.store} is damaged; run again")
    return Outcome(job.spec, cell, evaluation, cached=bool(last.get("cached")))


def _visible(job: Job, slot: _Slot) -> str:
    """What a worker of this slot sees as CUDA_VISIBLE_DEVICES for a job."""
    return slot.device if job.spec.training["device"] == "cuda" else ""


def _ignore(event: dict[str, Any]) -> None:
    """A call has no events."""


def _kill(workers: Sequence[Worker]) -> None:
    for worker in workers:
        worker.signal(signal.SIGKILL)
