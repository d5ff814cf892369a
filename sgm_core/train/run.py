"""Trains one cell in a folder: resumes from its checkpoints, saves and stops on SIGTERM.

The loop yields; this module hangs progress, history, checkpoints and the signal on it.
"""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from sgm_core.bundle import read_bundle, write_bundle
from sgm_core.data.dataset import load_dataset
from sgm_core.data.files import forget
from sgm_core.errors import SgmError
from sgm_core.heap import KeptMemory
from sgm_core.objective import Objective
from sgm_core.parts import Parts, build_parts
from sgm_core.store.files import read_json, write_json
from sgm_core.train.checkpoint import clear_checkpoints, load_checkpoint, save_checkpoint
from sgm_core.train.group import check_devices, train_on_ranks
from sgm_core.train.items import affine_of, forget_every, items_of
from sgm_core.train.loop import LoopSettings, StepReport, TrainState, train
from sgm_core.train.ranks import Ranks

TIME_NODES = 8192
HISTORY_POINTS = 200
PROGRESS_SECONDS = 1.0
UNREAD = 256  # steps whose losses are read together
SUMMARY = "summary.json"
DATA_FIELDS = ("name", "kind", "shape", "range", "center", "scale", "sigma_data", "labels")

Emit = Callable[[dict[str, Any]], None]


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
    finished = _finished(work)
    if finished is not None:
        return finished
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
        history = _History(work, state, emit if first else _nothing)
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
    config = {
        "process": dict(spec["process"]),
        "net": dict(spec["net"]),
        "parametrisation": training["parametrisation"],
        "data": {name: data.meta[name] for name in DATA_FIELDS},
        "parameters": parts.parameters,
    }
    written = write_bundle(work, state.ema_net.state_dict(), config)
    write_json(work / "history.json", history.points)
    summary = {
        "parameters": parts.parameters,
        "steps": state.step,
        "final_loss": history.points[-1]["loss"],
        "train_seconds": round(history.points[-1]["seconds"], 3),
        "cpu_seconds": round(cpu_seconds, 3),
        "weights_sha256": written["weights"]["sha256"],
    }
    if training["weighting"] == "likelihood":
        summary["final_nats"] = summary["final_loss"] * state.objective.normaliser
    # From here on a kill costs nothing: the next attempt finds the summary and trains no step.
    write_json(work / SUMMARY, summary)
    clear_checkpoints(work)
    return summary


def _finished(work: Path) -> dict[str, Any] | None:
    """Return the summary of an attempt that was interrupted after its last step, if it is intact."""
    if not (work / SUMMARY).is_file():
        return None
    try:
        summary: dict[str, Any] = read_json(work / SUMMARY)
        read_bundle(work)
        read_json(work / "history.json")
    except SgmError:
        return None
    clear_checkpoints(work)
    return summary


def _state(
    parts: Parts, training: dict[str, Any], seed: int, device: torch.device, ranks: Ranks | None
) -> TrainState:
    torch.manual_seed(seed)  # dropout, where a network has it, draws from the global stream
    objective = Objective.of(parts.preconditioning, training, TIME_NODES, device)
    return TrainState(parts.net, objective, LoopSettings.of(training), seed, ranks)


def _nothing(event: dict[str, Any]) -> None:
    """Only the first rank tells."""


def _device(name: str) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise SgmError(
            "training.device: a GPU was asked for or found, but torch cannot use it here; "
            "mend the driver or write 'cpu'"
        )
    return torch.device(name)


class _History:
    """Loss over steps: running means, one point per interval; restored with the checkpoint."""

    def __init__(self, work: Path, state: TrainState, emit: Emit) -> None:
        self.steps = state.settings.steps
        self.interval = max(1, self.steps // HISTORY_POINTS)
        self.emit = emit
        self.last: StepReport | None = None
        saved = load_checkpoint(work, state, lambda text: emit({"event": "message", "text": text}))
        self.points: list[dict[str, Any]] = [p for p in saved if "pending" not in p]
        pending = next((p["pending"] for p in saved if "pending" in p), [0.0, 0.0, 0])
        self.loss, self.norm = float(pending[0]), float(pending[1])
        self.count = int(pending[2])
        self.before = next((p["elapsed"] for p in saved if "pending" in p), 0.0)
        self.started = self.shown = time.monotonic()
        self.first = state.step
        self.sent = len(self.points)
        self._unread: list[tuple[StepReport, float]] = []
        if state.step:
            emit({"event": "message", "text": f"resumed at step {state.step} of {self.steps}"})

    def seconds(self) -> float:
        """Training time so far, earlier attempts included."""
        return float(self.before + time.monotonic() - self.started)

    def add(self, report: StepReport) -> None:
        """Take in a step; emit progress about once a second.

        Losses are read some steps later, many at once: reading one makes a GPU wait.
        """
        self.last = report
        if report.step == self.steps:
            report.loss.item()  # the device has finished when this returns, and `seconds` counts it
        self._unread.append((report, self.seconds() if self._ends_interval(report) else 0.0))
        now = time.monotonic()
        shown = now - self.shown >= PROGRESS_SECONDS or report.step == self.steps
        if shown or len(self._unread) >= UNREAD:
            self._read()
        if shown:
            self.shown = now
            rate = (report.step - self.first) / max(1e-9, now - self.started)
            self.emit(
                {
                    "event": "progress",
                    "phase": "train",
                    "step": report.step,
                    "steps": self.steps,
                    "loss": self.points[-1]["loss"] if self.points else float(report.loss),
                    "steps_per_s": rate,
                    "eta_s": (self.steps - report.step) / max(1e-9, rate),
                    "history": self.points[self.sent :],  # points finished since the last event
                }
            )
            self.sent = len(self.points)

    def _ends_interval(self, report: StepReport) -> bool:
        return report.step % self.interval == 0 or report.step == self.steps

    def _read(self) -> None:
        """Add up what was taken in; a point for every interval that ended."""
        unread, self._unread = self._unread, []
        if not unread:
            return
        told = torch.stack([torch.stack([r.loss, r.grad_norm]) for r, _ in unread]).tolist()
        for (report, seconds), (loss, norm) in zip(unread, told, strict=True):
            self.loss += loss
            self.norm += norm
            self.count += 1
            if self._ends_interval(report):
                self._check_finite(report.step)
                self.points.append(
                    {
                        "step": report.step,
                        "loss": self.loss / self.count,
                        "grad_norm": self.norm / self.count,
                        "lr": report.lr,
                        "seconds": seconds,
                    }
                )
                self.loss, self.norm, self.count = 0.0, 0.0, 0

    def check(self, report: StepReport) -> None:
        """Fail on a loss that is not finite, before it reaches a checkpoint."""
        self._read()
        self._check_finite(report.step)

    def _check_finite(self, step: int) -> None:
        if not math.isfinite(self.loss + self.norm):
            raise SgmError(
                f"the loss is not finite at step {step} of {self.steps}; "
                "lower training.lr or raise training.warmup"
            )

    def record(self) -> list[dict[str, Any]]:
        """What a checkpoint keeps: the points and the unfinished interval; after `check`."""
        pending = {"pending": [self.loss, self.norm, self.count], "elapsed": self.seconds()}
        return [*self.points, pending]


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
