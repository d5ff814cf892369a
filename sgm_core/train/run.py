"""Trains one cell in a folder: resumes from its checkpoints, saves and stops on SIGTERM.

The loop yields; this module hangs progress, history, checkpoints and the signal on it.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from sgm_core.data.dataset import load_dataset
from sgm_core.data.files import forget
from sgm_core.errors import SgmError
from sgm_core.heap import KeptMemory
from sgm_core.objective import Objective
from sgm_core.parts import Parts, build_parts
from sgm_core.store.files import read_json
from sgm_core.train.checkpoint import save_checkpoint
from sgm_core.train.group import check_devices, train_on_ranks
from sgm_core.train.history import Emit, History
from sgm_core.train.items import affine_of, forget_every, items_of
from sgm_core.train.loop import LoopSettings, TrainState, train
from sgm_core.train.ranks import Ranks
from sgm_core.train.result import SUMMARY, finished, leave
from sgm_core.train.stack import train_together

TIME_NODES = 8192

_Cell = tuple[Mapping[str, Any], Path, Parts, TrainState, History]


class Stopped(SgmError):
    """The trainer was asked to stop; its checkpoint is saved and the next run goes on from it."""

    exit_code = 143


def train_cell(spec: Mapping[str, Any], dataset: Path, work: Path, emit: Emit) -> dict[str, Any]:
    """Train or resume a cell in `work`; leave model.safetensors, config.json, history.json.

    Args:
        spec: process, net, training (all resolved), seed; optional checkpoint_every.
        dataset: folder of the prepared dataset.
        work: folder of this cell, kept between attempts.
        emit: receives progress events.

    Returns:
        parameters, steps, final_loss, train_seconds, cpu_seconds, weights_sha256; with weighting
        "likelihood" also final_nats, the loss as nats per dimension (see sgm_core.weighting).

    Raises:
        Stopped: on SIGTERM, after saving a checkpoint.
        SgmError: the loss is not finite, or memory ran out.
    """
    summary = finished(work)
    if summary is not None:
        return summary
    training = spec["training"]
    count = int(training.get("devices", 1))
    if count == 1:
        with _sigterm() as stop:
            return _train(spec, dataset, work, emit, stop)
    check_devices(count, str(training["device"]))
    job = {"spec": dict(spec), "dataset": str(dataset), "work": str(work)}
    with _sigterm() as stop:
        train_on_ranks(count, job, emit, stop)
    return dict(read_json(work / SUMMARY))


def train_rank(job: Mapping[str, Any], rank: int, emit: Emit) -> None:
    """Be one of the ranks of a training; the first one saves what `train_cell` leaves.

    Args:
        job: spec, dataset and work as given to `train_cell`; world and meeting, see Ranks.
        rank: which.

    Raises:
        Stopped, SgmError: as `train_cell`.
    """
    name = str(job["spec"]["training"]["device"])
    device = torch.device(name, rank) if name == "cuda" else torch.device(name)
    ranks = Ranks(rank, int(job["world"]), Path(job["meeting"]), device)
    with _sigterm() as stop:
        _train(job["spec"], Path(job["dataset"]), Path(job["work"]), emit, stop, ranks)
    ranks.leave()


def _train(
    spec: Mapping[str, Any],
    dataset: Path,
    work: Path,
    emit: Emit,
    stop: threading.Event,
    ranks: Ranks | None = None,
) -> dict[str, Any]:
    """Train in this process, alone or as one of several ranks."""
    training = dict(spec["training"])
    first = ranks is None or ranks.rank == 0
    torch.set_num_threads(int(training.get("threads", 1)))
    memory = KeptMemory()
    data = load_dataset(dataset)
    with _machine_errors():
        parts = build_parts(
            spec["process"], spec["net"], data.meta, training["parametrisation"], spec["seed"]
        )
        device = _device(str(training["device"])) if ranks is None else ranks.device
        parts.net.to(device)
        state = _state(parts, training, int(spec["seed"]), device, ranks)
        split = data.split("train")
        items, labels = items_of(split.x, split.labels, device)
        every_so_often = forget_every(split.x, state.settings.batch)
        history = History(work, state, emit if first else _nothing)
        every = int(spec.get("checkpoint_every", 500))
        clock = time.process_time()
        for report in train(state, items, labels, affine_of(data.meta, device)):
            history.add(report)
            memory.look(report.step)
            if every_so_often and report.step % every_so_often == 0:
                forget(split.x)
            if report.step == state.settings.steps:
                break
            stopped = stop.is_set() if ranks is None else ranks.any(stop.is_set())
            if first and (stopped or report.step % every == 0):
                history.check(report)
                save_checkpoint(work, state, history.record())
            if stopped:
                raise Stopped(
                    f"stopped at step {report.step} of {state.settings.steps}; "
                    "run again to go on from there"
                )
        if history.last is not None:
            history.check(history.last)
    cpu_seconds = time.process_time() - clock
    if ranks is not None:
        cpu_seconds = ranks.sum(cpu_seconds)
    if not first:
        return {}
    return leave(work, spec, data.meta, parts, state, history, cpu_seconds)


def train_stack(
    specs: Sequence[Mapping[str, Any]], dataset: Path, works: Sequence[Path], emit: Emit
) -> None:
    """Train or resume cells as rows of one matrix (sgm_core.train.stack).

    Each leaves in its folder what `train_cell` leaves; its CPU seconds are its share of all. A cell whose
    checkpoint is of another step than most is left to `train_cell`.

    Args:
        specs, works: as `train_cell` takes them; cells of one network, training and dataset.
        dataset, emit: as there; progress is that of the first cell.

    Raises:
        Stopped: on SIGTERM, after saving a checkpoint of every cell.
        SgmError: memory ran out, or a cell's loss is not finite; the others can go on from theirs.
    """
    training = dict(specs[0]["training"])
    torch.set_num_threads(int(training.get("threads", 1)))
    memory, data = KeptMemory(), load_dataset(dataset)
    with _sigterm() as stop, _machine_errors():
        device = _device(str(training["device"]))
        cells: list[_Cell] = []
        for spec, work in zip(specs, works, strict=True):
            if finished(work) is None:
                parts = build_parts(
                    spec["process"],
                    spec["net"],
                    data.meta,
                    training["parametrisation"],
                    spec["seed"],
                )
                parts.net.to(device)
                state = _state(parts, training, int(spec["seed"]), device, None)
                cells.append((spec, work, parts, state, History(work, state, _nothing)))
        steps = [state.step for _, _, _, state, _ in cells]
        cells = [cell for cell in cells if cell[3].step == max(steps, key=steps.count)]
        if len(cells) < 2:
            return
        cells[0][4].emit = emit
        if step := cells[0][3].step:
            emit({"event": "message", "text": f"{len(cells)} cells resumed at step {step}"})
        states, split = [state for _, _, _, state, _ in cells], data.split("train")
        items, labels = items_of(split.x, split.labels, device)
        every, clock = int(specs[0].get("checkpoint_every", 500)), time.process_time()
        for reports in train_together(states, items, labels, affine_of(data.meta, device)):
            for (spec, _, _, _, history), report in zip(cells, reports, strict=True):
                with _named(spec):
                    history.add(report)
            step = reports[0].step
            memory.look(step)
            if step == states[0].settings.steps:
                break
            if stop.is_set() or step % every == 0:
                for (spec, _, _, _, history), report in zip(cells, reports, strict=True):
                    with _named(spec):
                        history.check(report)
                for _, work, _, state, history in cells:
                    save_checkpoint(work, state, history.record())
            if stop.is_set():
                raise Stopped(
                    f"stopped at step {step} of {states[0].settings.steps}; run again to go on from there"
                )
        share = (time.process_time() - clock) / len(cells)
        for spec, _, _, _, history in cells:
            if history.last is not None:
                with _named(spec):
                    history.check(history.last)
        for spec, work, parts, state, history in cells:
            leave(work, spec, data.meta, parts, state, history, share, together=len(cells))


def _state(
    parts: Parts, training: dict[str, Any], seed: int, device: torch.device, ranks: Ranks | None
) -> TrainState:
    torch.manual_seed(seed)  # dropout, where a network has it, draws from the global stream
    objective = Objective.of(parts.preconditioning, training, TIME_NODES, device)
    return TrainState(parts.net, objective, LoopSettings.of(training), seed, ranks)


def _nothing(event: dict[str, Any]) -> None:
    """Only the first rank, or the first cell of a stack, tells."""


@contextlib.contextmanager
def _named(spec: Mapping[str, Any]) -> Iterator[None]:
    """Say which cell of a stack it was."""
    try:
        yield
    except SgmError as error:
        raise SgmError(f"{spec.get('name', 'a cell')}: {error}") from None


def _device(name: str) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise SgmError(
            "training.device: a GPU was asked for or found, but torch cannot use it here; "
            "mend the driver or write 'cpu'"
        )
    return torch.device(name)


@contextlib.contextmanager
def _sigterm() -> Iterator[threading.Event]:
    """Turn SIGTERM into an event while training; only the main thread can.

    One that came after the last step takes its course when what was trained is saved.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, before)
    if stop.is_set():
        signal.raise_signal(signal.SIGTERM)


@contextlib.contextmanager
def _machine_errors() -> Iterator[None]:
    """Turn failures of memory, and of the compiler, into one sentence."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        text = str(error).splitlines()[0] if str(error) else "out of memory"
        raise SgmError(
            f"memory ran out while training ({text}); lower training.batch or the network's width"
        ) from None
    except RuntimeError as error:
        if type(error).__module__.startswith(("torch._inductor", "torch._dynamo")):
            reason = " ".join(str(error).split("\n\n")[0].split())
            raise SgmError(
                f"training.compile: the network cannot be compiled here ({reason}); write false, or "
                "install a C++ compiler (and Triton for a GPU)"
            ) from None
        if "can't allocate memory" not in str(error):
            raise
        raise SgmError(
            "memory ran out while training; lower training.batch or the network's width"
        ) from None
