"""Stacks are trained ahead of their cells, and one that fails costs nothing but time."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from flows import stacking
from flows.executors import InProcess, Stopped
from sgm_core.errors import SgmError
from sgm_core.job import Job
from sgm_core.spec import CellSpec


def job_of(seed: int, **training: Any) -> Job:
    spec = CellSpec(
        "rolls",
        f"vp-mlp-s{seed}",
        {"kind": "vp"},
        {"kind": "mlp"},
        {"stack": 2, **training},
        seed,
        "digest",
    )
    folder = Path("nowhere")
    return Job(spec, 20, folder, folder, folder, {}, {"samplers": []})


class Recorded(InProcess):
    """Remembers the stacks that it was asked for, and fails as told."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.stacks: list[list[str]] = []
        self.error = error

    def train_together(self, jobs: Any, emit: Any) -> None:
        self.stacks.append([job.spec.name for job in jobs])
        emit({"event": "progress", "step": 1, "steps": 2})
        if self.error is not None:
            raise self.error


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    def pairs(jobs: list[Job], slots: int) -> list[list[Job]]:
        return [jobs[i : i + 2] for i in range(0, len(jobs) - 1, 2)]

    monkeypatch.setattr(stacking, "stacks_of", pairs)
    return [job_of(seed) for seed in range(4)]


def test_every_stack_is_trained_and_tells_what_it_does(jobs: list[Job]) -> None:
    executor, told, ended = Recorded(), [], []
    stacking.train_stacks(
        executor, jobs, lambda label, event: told.append((label, event)), ended.append
    )
    assert executor.stacks == [["vp-mlp-s0", "vp-mlp-s1"], ["vp-mlp-s2", "vp-mlp-s3"]]
    assert [label for label, _ in told] == ended
    assert ended[0] == "2 cells together, vp-mlp-s0 and on"


@pytest.mark.parametrize("error", [SgmError("memory ran out"), RuntimeError("memory ran out")])
def test_one_that_fails_says_why_and_leaves_its_cells_to_themselves(
    jobs: list[Job], error: Exception
) -> None:
    executor, told = Recorded(error), []
    stacking.train_stacks(executor, jobs, lambda _, event: told.append(event))
    texts = [event["text"] for event in told if event["event"] == "message"]
    assert texts == ["memory ran out; each goes on alone"] * 2


def test_a_store_that_does_not_answer_is_left_to_the_cells(
    jobs: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> list[list[Job]]:
        raise SgmError("the bucket does not answer")

    monkeypatch.setattr(stacking, "stacks_of", away)
    executor, told = Recorded(), []
    stacking.train_stacks(executor, jobs, lambda _, event: told.append(event["text"]))
    assert told == ["the bucket does not answer; each cell is trained alone"]
    assert executor.stacks == []


def test_a_stop_stops_everything(jobs: list[Job]) -> None:
    with pytest.raises(Stopped):
        stacking.train_stacks(Recorded(Stopped("stopped")), jobs, lambda _, event: None)


def test_processes_of_other_kinds_share_no_stack(jobs: list[Job]) -> None:
    threads = dataclasses.replace(
        jobs[1], spec=dataclasses.replace(jobs[1].spec, training={"stack": 2, "threads": 2})
    )
    executor = Recorded()
    stacking.train_stacks(executor, [jobs[0], threads, jobs[2], jobs[3]], lambda _, event: None)
    assert executor.stacks == [["vp-mlp-s0", "vp-mlp-s2"]]


def test_an_executor_that_only_sends_cells_away_is_left_alone(jobs: list[Job]) -> None:
    class Away:
        slots = 2

        def run(self, job: Job, emit: Any) -> Any:
            raise AssertionError

    stacking.train_stacks(Away(), jobs, lambda _, event: None)
