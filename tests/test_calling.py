"""What idle workers compute for their parent: at once, as here, and nothing lost where they cannot."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_tree import make_job
from report_fakes import experiment, outcome
from test_executors import until
from test_workers import Bench

from flows import reporting
from flows.executors import InProcess, LocalProcesses, Stopped, _Slot
from sgm_core.calling import call_line, called, value_of
from sgm_core.report.choice import choose
from sgm_core.report.content import Content, searched_board
from sgm_core.report.results import read
from sgm_core.report.scene import PARTS, Scene, draw_here

# Writes the report of one cell, whose pictures somebody else has drawn.
ALONE = """
import pickle, sys
from pathlib import Path
import flows.executors, flows.reporting
from sgm_core.report.write import write_reports
root = Path(sys.argv[1])
config, outcomes, pictures = pickle.loads((root / "given.pickle").read_bytes())
write_reports(config, outcomes, [], root / "out", draw=lambda scene, parts: pictures)
sys.exit("matplotlib" in sys.modules)
"""
NAME = "the test's numbers"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    (made.tree / "sgm_core" / "asked.py").write_text("from os import _exit, getpid\n")
    yield made
    made.executor.close()


def test_a_call_is_one_line_whatever_its_arguments_hold() -> None:
    line = call_line("builtins:dict", [("a b\n", b"\x00\n")])
    assert line.count("\n") == 1
    assert value_of(called(line)) == {"a b\n": b"\x00\n"}


def test_idle_workers_compute_and_no_process_is_started_for_it(bench: Bench) -> None:
    asked = (NAME, "sgm_core.asked:getpid")
    assert bench.executor.starmap(*asked, [(), ()]) == [None, None], "there is no worker yet"
    bench.run(0)
    (worker,) = set(bench.pids())
    assert bench.executor.starmap(*asked, [(), ()]) == [worker, worker]
    numbers = bench.executor.starmap(NAME, "operator:mul", [(i, 3) for i in range(5)])
    assert numbers == [0, 3, 6, 9, 12]
    bench.run(1)
    assert set(bench.pids()) == {worker}


def test_a_slot_without_a_worker_takes_no_call_from_one_that_has_it(bench: Bench) -> None:
    executor = bench.executor
    executor._slots.append(_Slot(""))
    executor._free.put(executor._slots[-1])  # it comes first
    bench.run(0)
    assert executor._slots[0].worker is None
    assert executor._slots[1].worker is not None
    executor._free.put(executor._free.get_nowait())
    numbers = executor.starmap(NAME, "operator:mul", [(i, 3) for i in range(5)])
    assert numbers == [0, 3, 6, 9, 12]
    assert executor._free.qsize() == 2


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ("operator:truediv", (1, 0)),
        ("sgm_core.asked:_exit", (0,)),
        ("sgm_core.asked:_exit", (3,)),
        ("operator:nothing", ()),
    ],
)
def test_a_call_that_fails_costs_its_process_and_no_cell(
    bench: Bench, function: str, arguments: tuple[Any, ...]
) -> None:
    bench.run(0)
    assert bench.executor.starmap(NAME, function, [arguments]) == [None]
    assert not bench.run(1).cached
    first, second = bench.pids()
    assert first != second


def test_what_cannot_travel_costs_nothing(bench: Bench) -> None:
    bench.run(0)
    assert bench.executor.starmap(NAME, "operator:neg", [(lambda: 0,), (4,)]) == [None, -4]
    bench.run(1)
    assert len(set(bench.pids())) == 1


def test_a_dead_worker_is_not_replaced_for_a_call(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.run(0)
    (worker,) = bench.pids()
    os.kill(worker, signal.SIGKILL)
    until(lambda: not bench.executor._slots[0].worker.usable)  # type: ignore[union-attr]
    monkeypatch.setattr("flows.executors.Worker", None)
    assert bench.executor.starmap(NAME, "sgm_core.asked:getpid", [()]) == [None]


def test_a_process_that_has_imported_other_code_does_not_compute_with_it(bench: Bench) -> None:
    helper = bench.tree / "sgm_core" / "train" / "helper.py"
    helper.write_text("STEP = 1\n\n\ndef step():\n    return STEP\n")
    bench.run(0)
    asked = (NAME, "sgm_core.train.helper:step", [()])
    assert bench.executor.starmap(*asked) == [1]
    helper.write_text(helper.read_text().replace("STEP = 1", "STEP = 2"))
    assert bench.executor.starmap(*asked) == [None]
    bench.run(1)
    assert bench.executor.starmap(*asked) == [2]


def test_no_call_after_a_stop(bench: Bench) -> None:
    bench.run(0)
    bench.executor.stop()
    with pytest.raises(Stopped, match=f"^{NAME}: not made"):
        bench.executor.starmap(NAME, "sgm_core.asked:getpid", [()])


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
        asked = executor.starmap(NAME, reporting.DRAW, [(scene, part) for part in PARTS])
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


def test_who_has_a_report_drawn_elsewhere_does_without_matplotlib(tmp_path: Path) -> None:
    given = (
        experiment(),
        [outcome(tmp_path, "vp-small-s0", 0.3)],
        draw_here(scene_of(tmp_path / "other"), PARTS),
    )
    (tmp_path / "given.pickle").write_bytes(pickle.dumps(given))
    subprocess.run([sys.executable, "-c", ALONE, str(tmp_path)], check=True)
    assert (tmp_path / "out" / "report.html").is_file()
