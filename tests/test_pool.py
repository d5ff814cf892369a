"""How cells are dealt out to a work pool, and what is said when that cannot be."""

from __future__ import annotations

import importlib
import json
import logging
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_tree import make_job
from flows_checkout import ROOT, environment

from flows import pool
from flows.agreement import origin
from flows.executors import InProcess, default_executor
from flows.pool import MOST, _reason, chunk_size
from flows.server import set_up
from sgm_core.errors import SgmError, UsageError
from sgm_core.job import COMPARE_SAMPLERS, Job

chunk: Any = importlib.import_module("flows.cells")  # the flow has the module's name


@pytest.mark.parametrize("workers", [1, 2, 4, 16])
@pytest.mark.parametrize("cells", [1, 3, 9, 64, 256])
def test_chunks_shrink_and_leave_nobody_idle(cells: int, workers: int) -> None:
    left, sizes = cells, []
    while left:
        sizes.append(chunk_size(left, workers))
        left -= sizes[-1]
    assert sum(sizes) == cells
    assert sizes == sorted(sizes, reverse=True)
    assert max(sizes) <= MOST
    assert len(sizes) >= min(cells, workers), "every worker gets something"
    # The last chunks are single cells: no worker ends long after the others.
    assert sizes[-min(cells, workers) :] == [1] * min(cells, workers)


@pytest.mark.parametrize(
    ("cells", "workers", "cost", "sizes"),
    [
        (256, 2, 2.5, [43, 43, 43, 43, 42, 21, 11, 5, 5]),  # under two minutes, then fair shares
        (23, 2, 1.3, [12, 11]),  # a little work is not one worker's alone
        (64, 2, 0.1, [64]),  # so small that a second run would cost more than it saves
        (9, 4, 600.0, [1] * 9),  # long ones travel alone
    ],
)
def test_chunks_of_known_cost_are_worth_a_run_and_fair(
    cells: int, workers: int, cost: float, sizes: list[int]
) -> None:
    sent, left = [], cells
    while left:
        sent.append(chunk_size(left, workers, cost))
        left -= sent[-1]
    assert sent == sizes


def test_nothing_is_dealt_out_before_cells_have_told_their_cost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watch: Any = object.__new__(pool._Watch)
    watch._workers, watch._counted, watch._away = 2, time.monotonic(), 0.0
    sent: list[int] = []
    watch.send = lambda jobs: sent.append(len(jobs)) or len(sent)
    watch.settle = lambda under_way: None
    waiting: Any = [SimpleNamespace(job=number) for number in range(64)]
    under_way: Any = {}
    watch.look(waiting, under_way, 0.0)
    assert (sent, len(waiting)) == ([16, 12], 36)
    del under_way[1]
    watch.look(waiting, under_way, 2.0)
    assert (sent[2:], len(waiting)) == ([18, 9, 9], 0), "the next chunk of each already waits"


def test_the_reason_of_a_cell_is_its_own() -> None:
    def state(message: str | None) -> Any:
        return SimpleNamespace(message=message, name="Failed")

    job: Any = SimpleNamespace(label="vp-mlp-s0")
    both = json.dumps({"vp-mlp-s0": "the loss is not finite", "ve-mlp-s0": "memory ran out"})
    assert _reason(state(both), job) == "the loss is not finite"
    assert _reason(state("Flow run was cancelled"), job) == "Flow run was cancelled"
    assert _reason(state(None), job) == "Failed"
    assert _reason(state("5"), job) == "5"


def test_the_samplers_of_a_cell_stay_apart_in_a_chunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    class Executor(InProcess):
        def __init__(self, *_: object) -> None: ...

        def __enter__(self) -> Executor:
            return self

        def __exit__(self, *_: object) -> None: ...

        def run(self, job: Job, emit: Any) -> Any:
            ran.append(job.label)
            if job.evaluation["samplers"] == ["heun"]:
                raise SgmError(f"cell {job.spec.name}: memory ran out")
            return SimpleNamespace(cached=False)

    job = make_job(tmp_path)
    jobs = [
        replace(job, task=COMPARE_SAMPLERS, evaluation={**job.evaluation, "samplers": [sampler]})
        for sampler in ("ddim", "heun", "ode")
    ]
    monkeypatch.setattr(chunk, "LocalProcesses", Executor)
    monkeypatch.setattr(chunk, "train_stacks", lambda *_: None)
    monkeypatch.setattr(chunk, "pull_data", lambda *_: None)
    monkeypatch.setattr(chunk, "get_run_logger", logging.getLogger)
    (tmp_path / "params.yaml").write_text("")
    monkeypatch.chdir(tmp_path)
    expected = [pool._expected(one) for one in jobs]
    state = chunk.cells.fn([one.to_json() for one in jobs], "", expected, origin())
    assert ran == [f"{sampler} of vp-mlp-s0" for sampler in ("ddim", "heun", "ode")]
    assert [_reason(state, one) for one in jobs][1] == "memory ran out"
    assert json.loads(state.message) == {"heun of vp-mlp-s0": "memory ran out"}


def test_without_a_server_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("SGM_EXECUTOR", "pool")
    for work in (default_executor, set_up):
        with pytest.raises(UsageError, match="PREFECT_API_URL"):
            work()


AWAY = """
from types import SimpleNamespace
from flows import pool, server
from sgm_core.errors import SgmError
pool.lookup = lambda *_: None
job = SimpleNamespace(spec=SimpleNamespace(name="vp-mlp-s0"))
executor = pool.PrefectPool()
for work in (server.set_up, lambda: executor.run(job, print)):
    try:
        work()
    except SgmError as error:
        print(error)
executor.close()
"""


def test_a_server_that_is_away_is_one_sentence() -> None:
    """In a process of its own: Prefect reads its address once."""
    url = "http://127.0.0.1:9/api"
    done = subprocess.run(
        [sys.executable, "-c", AWAY], cwd=ROOT, env=environment(PREFECT_API_URL=url),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.startswith(f"the Prefect server at {url} failed: ")
    assert first.endswith("; start it or correct PREFECT_API_URL")
    assert second.startswith("cell vp-mlp-s0: the Prefect server failed: ")
    assert second.endswith("; run again to go on")
