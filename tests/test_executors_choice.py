"""Which executor is chosen, by the machine and by SGM_EXECUTOR."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_tree import make_job

from flows.executors import InProcess, LocalProcesses, default_executor, devices, start_ahead
from sgm_core.errors import UsageError


@pytest.fixture
def choice(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """`default_executor` under a value of SGM_EXECUTOR, on 8 cores without a GPU."""
    monkeypatch.setattr("flows.executors.cores", lambda: 8)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")

    def choose(value: str | None, *arguments: Any) -> Any:
        monkeypatch.delenv("SGM_EXECUTOR", raising=False)
        if value is not None:
            monkeypatch.setenv("SGM_EXECUTOR", value)
        return default_executor(*arguments)

    return choose


def test_the_default_executor(choice: Callable[..., Any]) -> None:
    assert choice(None).slots == 8
    assert choice(None, 3).slots == 3
    assert choice(None, 16, "cpu", 4).slots == 2
    assert choice(None, 16, "cpu", 99).slots == 1
    assert choice(None, 16, "cpu", 1, 2).slots == 4  # two processes per cell
    assert choice("local:5", 2).slots == 5
    assert choice("local", 2).slots == 2
    assert isinstance(choice("inprocess"), InProcess)


def test_a_slot_has_as_many_gpus_as_a_cell_asks_for(
    choice: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.executors.gpus", lambda: ["0", "1", "2"])
    given: list[list[str]] = []
    monkeypatch.setattr("flows.executors.LocalProcesses", lambda n, devices: given.append(devices))
    for together in (1, 2, 4):
        choice(None, 16, "cuda", 1, together)
    assert given == [["0", "1", "2"], ["0,1"], ["0,1,2"]]


@pytest.mark.parametrize("value", ["locl:2", "local:0", "local:x", "inprocess:2", "ray"])
def test_a_wrong_executor_is_named(choice: Callable[..., Any], value: str) -> None:
    with pytest.raises(UsageError, match=r"^SGM_EXECUTOR = .*(did you mean|choose|write)"):
        choice(value)


def test_workers_that_were_started_ahead_are_those_of_the_first_grid(
    choice: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    job = make_job(tmp_path)
    loaded: list[Any] = []
    monkeypatch.setattr(LocalProcesses, "load", lambda self, job: loaded.append(self))
    choice("local:3")
    start_ahead(job, 9)
    assert default_executor(9, **devices(job)) is loaded[0]
    assert default_executor(9, **devices(job)) is not loaded[0], "once"
    start_ahead(job, 9)
    assert choice("local:2", 9) is not loaded[1], "it does not fit"
    choice("inprocess")
    start_ahead(job, 9)
    assert len(loaded) == 2
