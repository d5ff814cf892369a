"""Cells that are trained as one end in their own entries of the store, whatever happens on the way."""

from __future__ import annotations

import dataclasses
import json
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from s3_server import s3, s3_server
from safetensors.numpy import load_file

from flows.executors import LocalProcesses
from sgm_core.cell import CELLS, Job, ensure_cell, jobs_of
from sgm_core.config import load_config
from sgm_core.data import prepare
from sgm_core.errors import SgmError, UsageError
from sgm_core.evaluate.reference import make_reference
from sgm_core.store import Entry, Store
from sgm_core.store.claim import Claim, Superseded
from sgm_core.store.shared import store_at
from sgm_core.together import ensure_trained, stacks_of
from sgm_core.train import run

__all__ = ["s3", "s3_server"]  # the fixtures

PARAMS = """\
active: [rolls]
datasets: {points: {kind: swiss_roll, n: 600}}
experiments:
  rolls:
    dataset: points
    seeds: [0, 1, 2]
    processes: {vp: {}, cld: {}}
    nets: {mlp: {kind: mlp, width: 16, depth: 1}}
    training: {steps: 60, batch: 32, stack: 8, checkpoint_every: 20}
    sampling: {steps: 5}
    evaluation: {samples: 60, curve_samples: 50, nfe_curve: [3], bootstrap: 10, likelihood_items: 0}
"""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("together")
    (root / "params.yaml").write_text(PARAMS)
    config = load_config(root / "params.yaml")
    prepare("points", config.dataset("points"), root, root / "prepared", lambda _: None)
    make_reference(root / "prepared", root / "reference", lambda _: None)
    return root


def jobs_at(prepared: Path, store: Path, text: str = PARAMS) -> list[Job]:
    (store.parent / "params.yaml").write_text(text)
    config = load_config(store.parent / "params.yaml")
    experiment = config.experiment("rolls")
    jobs = jobs_of(experiment, prepared / "prepared", prepared / "reference", store)
    return [dataclasses.replace(j, evaluation=j.evaluation | {"pictures": False}) for j in jobs]


def quiet(event: dict[str, Any]) -> None:
    pass


def entry_of(job: Job) -> Entry:
    entry = Store(job.store).find(CELLS, job.spec.key)
    assert entry is not None
    return entry


def weights(entry: Entry) -> np.ndarray:
    tensors = load_file(entry.path / "model.safetensors")
    return np.concatenate([tensors[name].ravel() for name in sorted(tensors)])


def test_every_cell_has_its_entry_with_the_weights_that_it_has_alone(
    prepared: Path, tmp_path: Path
) -> None:
    jobs = jobs_at(prepared, tmp_path / "store")
    (stack,) = stacks_of(jobs)
    assert len(stack) == 6
    ensure_trained(stack, quiet)
    assert stacks_of(jobs) == []
    for job in jobs:
        entry = entry_of(job)
        assert entry.manifest["describe"]["name"] == job.spec.name
        assert entry.manifest["summary"]["trained_together"] == 6
        assert entry.manifest["summary"]["steps"] == 60
        assert not list(entry.path.glob("checkpoint-*"))
        assert ensure_cell(job, quiet).cell.key == entry.key
    for job in jobs[::3]:
        alone = dataclasses.replace(job, store=tmp_path / "alone")
        ensure_cell(alone, quiet)
        np.testing.assert_allclose(
            weights(entry_of(job)), weights(entry_of(alone)), rtol=0, atol=1e-4
        )
        told = [
            [point["loss"] for point in json.loads((e.path / "history.json").read_text())]
            for e in (entry_of(job), entry_of(alone))
        ]
        np.testing.assert_allclose(told[0], told[1], rtol=2e-5)  # means over five steps


def test_one_that_is_stopped_goes_on_alone_or_together(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = jobs_at(prepared, tmp_path / "store")
    original, saved = run.save_checkpoint, []

    def save(work: Path, state: Any, history: Any) -> None:
        original(work, state, history)
        saved.append(state.step)
        if saved.count(40) == len(jobs):
            raise SgmError("the power is gone")

    monkeypatch.setattr(run, "save_checkpoint", save)
    with pytest.raises(SgmError, match="the power is gone"):
        ensure_trained(jobs, quiet)
    assert saved == [20] * 6 + [40] * 6
    monkeypatch.setattr(run, "save_checkpoint", original)
    told: list[dict[str, Any]] = []
    ensure_cell(jobs[0], told.append)
    assert any("resumed at step 40" in str(event.get("text")) for event in told)
    (rest,) = stacks_of(jobs)
    assert len(rest) == 5
    told.clear()
    ensure_trained(rest, told.append)
    assert any("resumed at step 40" in str(event.get("text")) for event in told)
    for job in jobs:
        assert entry_of(job).manifest["summary"]["steps"] == 60


def test_a_cell_that_diverges_is_named_and_leaves_the_others_to_go_on(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = jobs_at(prepared, tmp_path / "store")
    original = run._state

    def state(parts: Any, training: Any, seed: int, *rest: Any) -> Any:
        made = original(parts, training, seed, *rest)
        if seed == 1:
            made.weights.vector.fill_(float("nan"))
        return made

    monkeypatch.setattr(run, "_state", state)
    with pytest.raises(SgmError, match=r"(vp|cld)-mlp-s1: the loss is not finite"):
        ensure_trained(jobs, quiet)
    good = [job for job in jobs if job.spec.seed != 1]
    for job in good:
        ensure_cell(job, quiet)
    with pytest.raises(SgmError, match=r"cell vp-mlp-s1: the loss is not finite"):
        ensure_cell(jobs[1], quiet)


def test_two_that_ask_for_the_same_stack_train_it_once(prepared: Path, tmp_path: Path) -> None:
    jobs, counted = jobs_at(prepared, tmp_path / "store"), []
    original = run.train_stack

    def train_stack(*given: Any) -> None:
        counted.append(len(given[0]))
        original(*given)

    patch = pytest.MonkeyPatch()
    patch.setattr(run, "train_stack", train_stack)
    # SIGTERM's handler belongs to the main thread alone; these have none.
    orders = (jobs, list(reversed(jobs)))
    threads = [threading.Thread(target=ensure_trained, args=(o, quiet)) for o in orders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    patch.undo()
    assert counted == [6]
    assert all(entry_of(job) for job in jobs)


def test_stacks_hold_what_may_be_together_and_no_more(prepared: Path, tmp_path: Path) -> None:
    text = PARAMS.replace("stack: 8", "stack: 4").replace(
        "nets: {mlp: {kind: mlp, width: 16, depth: 1}}",
        "nets: {a: {kind: mlp, width: 16, depth: 1}, b: {kind: mlp, width: 24, depth: 1}}",
    )
    jobs = jobs_at(prepared, tmp_path / "store", text)
    stacks = stacks_of(jobs)
    assert [len(stack) for stack in stacks] == [4, 2, 4, 2]
    assert all(len({json.dumps(j.spec.net) for j in stack}) == 1 for stack in stacks)
    assert [len(stack) for stack in stacks_of(jobs, slots=3)] == [2] * 6
    native = text.replace("stack:", "parametrisation: native, stack:")
    for stack in stacks_of(jobs_at(prepared, tmp_path / "store", native)):
        assert len({job.spec.process["kind"] for job in stack}) == 1
    kinds, laws = (
        "vp: {}, cld: {}",
        "a: {kind: cld, objective: hsm}, b: {kind: cld, objective: dsm}",
    )
    both = jobs_at(prepared, tmp_path / "store", native.replace(kinds, laws))
    assert len(stacks_of(both)) == 4
    for stack in stacks_of(both):
        assert len({job.spec.process["objective"] for job in stack}) == 1
    alone = jobs_at(prepared, tmp_path / "store", PARAMS.replace("stack: 8, ", ""))
    assert stacks_of(alone) == []
    assert "stack" not in alone[0].spec.training, "the key of a cell that knows no stack is old"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("{kind: mlp, width: 16, depth: 1}", "{kind: unet}"), "does not fit"),
        (("stack: 8", "stack: 8, devices: 2"), "stack.*one device"),
        (("stack: 8", "stack: 0"), "stack"),
        (("stack: 8", "stack: 129"), "stack"),
        (("stack: 8", "compile: true"), "compile.*derivative"),
    ],
)
def test_what_cannot_be_stacked_is_said(
    prepared: Path, tmp_path: Path, change: tuple[str, str], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        jobs_at(prepared, tmp_path / "store", PARAMS.replace(*change))


def test_a_worker_trains_a_stack_and_then_its_cells(prepared: Path, tmp_path: Path) -> None:
    jobs, told = jobs_at(prepared, tmp_path / "store"), []
    with LocalProcesses(1, []) as executor:
        executor.train_together(stacks_of(jobs)[0], told.append)
        assert all(entry_of(job).manifest["summary"]["trained_together"] == 6 for job in jobs)
        outcome = executor.run(jobs[0], quiet)
    assert outcome.cell.key == entry_of(jobs[0]).key
    assert any(event.get("phase") == "train" for event in told)


def test_the_largest_stack_fits_the_interpreter(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lease lies in the frames of those before it."""
    seeds = f"seeds: {list(range(64))}"
    text = PARAMS.replace("stack: 8", "stack: 128").replace("seeds: [0, 1, 2]", seeds)
    (stack,) = stacks_of(jobs_at(prepared, tmp_path / "store", text))
    seen: list[int] = []

    def train_stack(specs: Any, *rest: Any) -> None:
        seen.append(len(specs))
        raise SgmError("far enough")

    monkeypatch.setattr(run, "train_stack", train_stack)
    with pytest.raises(SgmError, match="far enough"):
        ensure_trained(stack, quiet)
    assert seen == [128]


def test_a_claim_that_is_lost_takes_its_own_work_and_no_other(
    prepared: Path, tmp_path: Path, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a bucket of several machines each cell of a stack has a claim of its own."""
    for name, value in s3[0].items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SGM_STORE", s3[1])
    jobs = jobs_at(prepared, tmp_path / "store")
    victim = sorted(job.spec.key for job in jobs)[3]
    original = Claim.commit

    def commit(self: Claim, *given: Any, **named: Any) -> None:
        if self.key == victim and not lost:
            lost.append(self.key)
            self.lost = True
            raise Superseded(f"{self.key[:12]} was taken over")
        original(self, *given, **named)

    lost: list[str] = []
    monkeypatch.setattr(Claim, "commit", commit)
    told: list[dict[str, Any]] = []
    ensure_trained(jobs, told.append)
    assert lost == [victim]
    for job in jobs:
        entry = store_at(job.store).find(CELLS, job.spec.key)
        assert entry is not None
        together = entry.manifest["summary"].get("trained_together")
        assert together == (None if job.spec.key == victim else 6)


@pytest.mark.slow
def test_a_worker_that_is_killed_in_a_stack_loses_one_interval(
    prepared: Path, tmp_path: Path
) -> None:
    text = PARAMS.replace("steps: 60", "steps: 4000").replace("every: 20", "every: 100")
    jobs, told = jobs_at(prepared, tmp_path / "store", text), []

    killed: list[int] = []
    with LocalProcesses(1, []) as executor:
        workers = executor._running

        def follow(event: dict[str, Any]) -> None:
            told.append(event)
            if event.get("event") == "progress" and event["step"] >= 200 and not killed:
                killed.append(event["step"])
                (worker,) = workers
                worker.signal(signal.SIGKILL)

        with pytest.raises(SgmError, match="6 cells are not trained together"):
            executor.train_together(jobs, follow)
        told.clear()
        executor.run(jobs[0], told.append)
    (resumed,) = [e["text"] for e in told if "resumed at step" in str(e.get("text"))]
    assert int(resumed.split()[3]) >= killed[0] // 100 * 100 - 100
