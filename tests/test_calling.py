"""What idle workers compute for their parent: at once, as here, and nothing lost where they cannot."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_tree import make_job
from report_fakes import experiment, outcome
from test_workers import Bench

from flows import reporting
from flows.executors import InProcess, LocalProcesses, Stopped
from sgm_core.calling import call_line, called, value_of
from sgm_core.report.choice import choose
from sgm_core.report.content import Content, searched_board
from sgm_core.report.results import read
from sgm_core.report.scene import PARTS, Scene, draw_here

ALONE = """
import sys
import flows.executors, flows.reporting, sgm_core.report.scene, sgm_core.report.write
sys.exit("matplotlib" in sys.modules)
"""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.executor.close()


def test_a_call_is_one_line_whatever_its_arguments_hold() -> None:
    line = call_line("builtins:dict", [("a b\n", b"\x00\n")])
    assert line.count("\n") == 1
    assert value_of(called(line)) == {"a b\n": b"\x00\n"}


def test_idle_workers_compute_and_no_process_is_started_for_it(bench: Bench) -> None:
    assert bench.executor.starmap("os:getpid", [(), ()]) == [None, None], "there is no worker yet"
    bench.run(0)
    (worker,) = set(bench.pids())
    assert bench.executor.starmap("os:getpid", [(), ()]) == [worker, worker]
    assert bench.executor.starmap("operator:mul", [(i, 3) for i in range(5)]) == [0, 3, 6, 9, 12]
    bench.run(1)
    assert set(bench.pids()) == {worker}


@pytest.mark.parametrize(
    ("function", "arguments"),
    [("operator:truediv", (1, 0)), ("os:_exit", (0,)), ("os:_exit", (3,)), ("os:nothing", ())],
)
def test_a_call_that_fails_costs_its_process_and_no_cell(
    bench: Bench, function: str, arguments: tuple[Any, ...]
) -> None:
    bench.run(0)
    assert bench.executor.starmap(function, [arguments]) == [None]
    assert not bench.run(1).cached
    first, second = bench.pids()
    assert first != second


def test_no_call_after_a_stop(bench: Bench) -> None:
    bench.run(0)
    bench.executor.stop()
    with pytest.raises(Stopped, match="os:getpid: not started"):
        bench.executor.starmap("os:getpid", [()])


def scene_of(root: Path) -> Scene:
    config = experiment()
    names = ("vp-small-s0", "cld-small-s0")
    outcomes = [outcome(root, name, 0.3 - 0.1 * i) for i, name in enumerate(names)]
    frame = searched_board(config, outcomes, [], [])
    return Scene.of(Content(config, read(outcomes, config), [], frame, choose(frame), None))


def test_workers_draw_the_pictures_that_are_drawn_here(tmp_path: Path) -> None:
    scene = scene_of(tmp_path)
    here = draw_here(scene, PARTS)
    assert list(here) == list(PARTS)
    assert reporting._drawn(InProcess(), scene, list(PARTS)) == here
    executor = LocalProcesses(1, [])
    try:
        executor.load(make_job(tmp_path))
        asked = executor.starmap(reporting.DRAW, [(scene, part) for part in PARTS])
    finally:
        executor.close()
    assert asked == [here[part] for part in PARTS]


def test_what_a_worker_has_not_drawn_is_drawn_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = scene_of(tmp_path)
    here, given = draw_here(scene, PARTS), {"dark.png": b"from a worker"}
    monkeypatch.setattr(LocalProcesses, "starmap", lambda *_: [None, given, None])
    executor = LocalProcesses(1, [])
    drawn = reporting._drawn(executor, scene, list(PARTS))
    executor.close()
    first, second, third = PARTS
    assert drawn == {first: here[first], second: given, third: here[third]}


def test_who_has_a_report_drawn_elsewhere_does_without_matplotlib() -> None:
    subprocess.run([sys.executable, "-c", ALONE], check=True)
