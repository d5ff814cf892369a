"""Bits that flip, files that end early, a disk that is full, SIGTERM at every stage: the real trainer."""

from __future__ import annotations

import contextlib
import dataclasses
import random
import resource
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from nine import FULL, figures, waited

from flows.executors import LocalProcesses
from flows.workers import Ending, Kind, Worker
from sgm_core.cell import CELLS, EVALUATIONS, Job, jobs_of, lookup
from sgm_core.code import ROOT
from sgm_core.config import load_config
from sgm_core.data import prepare
from sgm_core.data.dataset import load_dataset
from sgm_core.errors import SgmError
from sgm_core.evaluate.reference import make_reference
from sgm_core.model import ScoreModel
from sgm_core.objective import Objective
from sgm_core.parts import build_parts
from sgm_core.store import Store
from sgm_core.train.checkpoint import load_checkpoint, save_checkpoint
from sgm_core.train.loop import LoopSettings, TrainState

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
EVERY = 50  # steps between checkpoints
PARAMS = f"""\
active: [rolls]
datasets: {{points: {{kind: swiss_roll, n: 600}}}}
experiments:
  rolls:
    dataset: points
    processes: {{vp: {{}}}}
    nets: {{mlp: {{kind: mlp, width: 16, depth: 1}}}}
    training: {{steps: 400, batch: 32, checkpoint_every: {EVERY}}}
    sampling: {{steps: 50}}
    evaluation: {{samples: 300, batch: 50, curve_samples: 50, nfe_curve: [3], bootstrap: 10}}
"""


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """A cell of a second, finished in its store."""
    root = tmp_path_factory.mktemp("damage")
    (root / "params.yaml").write_text(PARAMS)
    config = load_config(root / "params.yaml")
    data, reference = root / "prepared", root / "reference"
    prepare("points", config.dataset("points"), root, data, lambda _: None)
    make_reference(data, reference, lambda _: None)
    (made,) = jobs_of(config.experiment("rolls"), data, reference, root / "store")
    return dataclasses.replace(made, evaluation=made.evaluation | {"pictures": False})


@pytest.fixture(scope="module")
def executor() -> Iterator[LocalProcesses]:
    """One slot, whose process is warm after the first cell."""
    with LocalProcesses(1, [], {"PYTHONPATH": str(ROOT)}) as made:
        yield made


@pytest.fixture(scope="module")
def finished(job: Job, executor: LocalProcesses) -> Any:
    return executor.run(job, lambda event: None)


def harm(file: Path, rng: random.Random) -> str:
    """Flip a bit, or cut the file short."""
    data = bytearray(file.read_bytes())
    if rng.random() < 0.5:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        how = "flipped"
    else:
        del data[rng.randrange(len(data)) :]
        how = "truncated"
    file.write_bytes(data)
    return how


def test_flipped_bits_and_truncations_are_detected_before_use(job: Job, finished: Any) -> None:
    rng, found, said = random.Random(0), Counter[str](), []
    store = Store(job.store)
    places = {CELLS: finished.cell, EVALUATIONS: finished.evaluation}
    for round_ in range(200):
        kind = rng.choice(list(places))
        entry = places[kind]
        file = rng.choice([f for f in sorted(entry.path.rglob("*")) if f.is_file()])
        sound = file.read_bytes()
        how = harm(file, rng)
        assert store.find(kind, entry.key, said.append) is None, (round_, file.name)
        found[how] += 1
        (aside,) = entry.path.parent.glob(f"{entry.key}.corrupt-*")
        aside.rename(entry.path)
        file.write_bytes(sound)
    assert len(said) == 200
    # A published model has no store around it: its own index names the weights' hash.
    model = job.store.parent / "model"
    for _ in range(50):
        shutil.rmtree(model, ignore_errors=True)
        shutil.copytree(finished.cell.path, model)
        found[harm(model / "model.safetensors", rng)] += 1
        with pytest.raises(SgmError, match=r"model\.safetensors"):
            ScoreModel.load(model)
    assert lookup(job) == dataclasses.replace(finished, cached=True)
    figures("damaged files", detected=sum(found.values()), of=250, **found)


def test_damaged_checkpoints_are_passed_over(job: Job, tmp_path: Path) -> None:
    parts = build_parts(
        job.spec.process, job.spec.net, load_dataset(job.dataset).meta,
        job.spec.training["parametrisation"], 0,
    )  # fmt: skip
    objective = Objective.of(parts.preconditioning, job.spec.training, 64)
    state = TrainState(parts.net, objective, LoopSettings.of(job.spec.training), 0)
    for state.step in (50, 100):
        save_checkpoint(tmp_path, state, [{"step": state.step, "loss": 0.625}])
    rng, said, rounds = random.Random(1), [], 50 if FULL else 20
    newest = [tmp_path / f"checkpoint-000000100.{end}" for end in ("json", "safetensors")]
    for round_ in range(rounds):
        file = newest[round_ % 2]
        sound = file.read_bytes()
        harm(file, rng)
        history = load_checkpoint(tmp_path, state, said.append)
        assert (state.step, history) == (50, [{"step": 50, "loss": 0.625}]), file
        file.write_bytes(sound)
    assert len(said) == rounds
    figures("damaged checkpoints", detected=len(said), of=rounds)


class Stage:
    """A worker of its own on a longer version of the job, in a store of its own."""

    def __init__(self, job: Job, store: Path, steps: int = 400) -> None:
        training = {**job.spec.training, "steps": steps}
        spec = dataclasses.replace(job.spec, training=training)
        self.job = dataclasses.replace(job, spec=spec, store=store)
        self.work = Store(store).work(CELLS, spec.key)
        self.events: list[dict[str, Any]] = []
        self.worker: Worker | None = None

    def run(self, act: Callable[[Worker, dict[str, Any]], object] | None = None) -> Ending:
        """Run it in a new process; `act` sees every event."""
        self.worker = worker = Worker(Kind.of(self.job, ""), {"PYTHONPATH": str(ROOT)})

        def emit(event: dict[str, Any]) -> None:
            self.events.append(event)
            if act is not None:
                act(worker, event)

        try:
            return worker.follow(self.job.to_line(), emit)
        finally:
            worker.end(grace=0)

    def resumed(self) -> int:
        """The step at which the last attempt went on."""
        texts = [e["text"] for e in self.events if e.get("text", "").startswith("resumed at")]
        return int(texts[-1].split()[3]) if texts else 0

    def checkpoint(self) -> int:
        """The step of the newest checkpoint."""
        return max((int(f.stem.rpartition("-")[2]) for f in self.work.glob("*.json")), default=0)


@pytest.mark.parametrize("stage", ["training", "sampling"])
def test_sigterm_ends_a_cell_within_ten_seconds(job: Job, tmp_path: Path, stage: str) -> None:
    phase = {"training": "train", "sampling": "evaluate"}[stage]
    steps = 40_000 if stage == "training" else 60
    cell, sent, reached = Stage(job, tmp_path, steps), [], [0]

    def act(worker: Worker, event: dict[str, Any]) -> None:
        if event.get("phase") == phase and not sent:
            reached[0] = int(event["step"])
            sent.append(time.monotonic())
            worker.signal(signal.SIGTERM)

    ending = cell.run(act)
    seconds = time.monotonic() - sent[0]
    lost = max(0, reached[0] - cell.checkpoint()) if stage == "training" else 0
    figures(f"SIGTERM while {stage}", seconds=f"{seconds:.1f}", steps_lost=lost)
    assert ending.code == 143
    assert seconds < 10
    assert lost <= EVERY
    if stage == "sampling":
        assert Store(tmp_path).find(CELLS, cell.job.spec.key), "what was trained stays"
        before = len(cell.events)
        assert cell.run().done
        assert {e.get("phase") for e in cell.events[before:]} <= {"evaluate", None}


# What an evaluation computes for seconds, and what tells that it has begun.
MEASURING = {"samples": 3000, "batch": 500, "nfe_curve": [], "bootstrap": 4000}
STAGES: dict[str, tuple[dict[str, Any], Callable[[dict[str, Any]], bool]]] = {
    "metrics": (MEASURING, lambda e: "step" in e and e["step"] == e["steps"]),
    "likelihood": (
        {"likelihood_items": 300},
        lambda e: e.get("text", "").startswith("likelihood of"),
    ),
    "pictures": ({"pictures": True}, lambda e: False),
}


@pytest.mark.parametrize("stage", STAGES)
def test_sigterm_while_an_evaluation_computes(
    job: Job, finished: Any, tmp_path: Path, stage: str
) -> None:
    evaluation, begun = STAGES[stage]
    cell, sent = Stage(job, tmp_path, job.spec.training["steps"]), []
    cell.job = dataclasses.replace(cell.job, evaluation=job.evaluation | evaluation)
    shutil.copytree(finished.cell.path, Store(tmp_path).path(CELLS, finished.cell.key))
    spec = cell.job.evaluation_spec(finished.cell.key)
    written = Store(tmp_path).work(EVALUATIONS, spec.key) / "metrics.json"

    def stop(worker: Worker | None) -> None:
        assert worker is not None
        sent.append(time.monotonic())
        worker.signal(signal.SIGTERM)

    def act(worker: Worker, event: dict[str, Any]) -> None:
        if not sent and begun(event):
            stop(worker)

    def watch() -> None:  # pictures come after the metrics were written
        waited(lambda: written.exists() or sent, 120)
        if not sent:
            stop(cell.worker)

    watcher = threading.Thread(target=watch)
    watcher.start()
    ending = cell.run(act)
    seconds = time.monotonic() - sent[0]
    watcher.join()
    figures(f"SIGTERM while an evaluation computes {stage}", seconds=f"{seconds:.1f}")
    assert ending.code == 143
    assert seconds < 10
    assert written.exists() == (stage == "pictures")
    assert Store(tmp_path).find(EVALUATIONS, spec.key) is None
    cell.events.clear()
    assert cell.run().done
    assert {e.get("phase") for e in cell.events} <= {"evaluate", None}, "what was trained stays"


@pytest.mark.skipif(not FULL, reason="make chaos")
@pytest.mark.parametrize("pause", [0.0, 1.0, 3.0])
def test_sigterm_in_the_first_steps(job: Job, tmp_path: Path, pause: float) -> None:
    cell, sent = Stage(job, tmp_path, 40_000), []

    def watch() -> None:
        if waited(cell.work.exists, 120):
            time.sleep(pause)
            sent.append(time.monotonic())
            assert cell.worker is not None
            cell.worker.signal(signal.SIGTERM)

    watcher = threading.Thread(target=watch)
    watcher.start()
    ending = cell.run()
    seconds = time.monotonic() - sent[0]
    watcher.join()
    figures(f"SIGTERM {pause:g} s after the start", seconds=f"{seconds:.1f}")
    assert ending.code == 143
    assert seconds < 10


def test_a_full_disk_in_the_middle_of_a_cell(job: Job, finished: Any, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    mounted = not subprocess.run(mount, check=False, capture_output=True).returncode
    cell, ballast = Stage(job, disk, 4000), disk / "ballast"

    def fill(worker: Worker, event: dict[str, Any]) -> None:
        if not cell.checkpoint() or ballast.exists():
            return
        if not mounted:  # without the right to mount: no file of this process may grow
            limit = (64, resource.RLIM_INFINITY)
            resource.prlimit(worker._process.pid, resource.RLIMIT_FSIZE, limit)
            ballast.touch()
            return
        with ballast.open("wb", buffering=0) as stream, contextlib.suppress(OSError):
            while True:
                stream.write(bytes(4096))

    try:
        ending = cell.run(fill)
        reason, kept = str(ending.last.get("message")), cell.checkpoint()
        assert ending.code == 1
        assert ("the disk is full" if mounted else "a file of this size is not allowed") in reason
        assert "free some space" in reason or not mounted
        assert kept >= EVERY
        ballast.unlink()
        assert cell.run().done
        assert cell.resumed() == kept
        figures("full disk", how="tmpfs" if mounted else "RLIMIT_FSIZE", checkpoint_kept=kept)
    finally:
        if mounted:
            subprocess.run(["umount", str(disk)], check=True)
