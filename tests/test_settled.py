"""When a run says at once that nothing is left to do, and when it must look."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flows_checkout import PARAMS

from flows import settled as module
from flows.project import Project
from flows.searching import Searched
from flows.settled import inputs_of, settle, settled
from sgm_core.cell import CELLS, EVALUATIONS
from sgm_core.search import Rung, Stage
from sgm_core.store import Store
from sgm_core.store.files import read_json

DECISION = "sgm-rolls version 1 is the new champion"


class Place:
    """A project with one finished cell, its report, and an MLflow that says what it is told."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (root / "params.yaml").write_text(PARAMS.replace("STEPS", "10"))
        self.project = Project.at(root)
        self.asked: list[str] = []
        self.index: dict[str, Any] = {"run": "r", "status": "FINISHED", "aliases": {"champion": 1}}
        store, keys = Store(self.project.store), {CELLS: "c1", EVALUATIONS: "e1"}
        for kind, key in keys.items():
            store.ensure(kind, key, self._build, {})
        for folder in (self.project.report("rolls"), self.project.prepared("rolls")):
            folder.mkdir(parents=True)
            (folder / "file").write_text("x")
        self.database = Path(self.project.tracking_uri.removeprefix("sqlite:///"))
        self.database.write_text("a database")
        spec = SimpleNamespace(key="c1")
        self.job: Any = SimpleNamespace(
            spec=spec, store=self.project.store, evaluation_spec=lambda _: SimpleNamespace(key="e1")
        )

        def lookup(_: object) -> Any:
            found = [store.find(kind, key) for kind, key in keys.items()]
            return SimpleNamespace(cell=found[0], evaluation=found[1]) if all(found) else None

        def search(_: object, __: str, run: Callable[..., Any]) -> Searched:
            jobs = {"vp-mlp-s0": self.job}
            return Searched([Stage(Rung(1, 1, (0,), final=True), jobs, run(jobs))])

        def ask(_: object, run: str) -> dict[str, Any]:
            self.asked.append(run)
            return dict(self.index)

        tracking = SimpleNamespace(parent=lambda _: "r")
        for name, value in {"lookup": lookup, "search": search, "_index": ask}.items():
            monkeypatch.setattr(module, name, value)
        monkeypatch.setattr(module, "compared_samplers", lambda *_: [])
        monkeypatch.setattr(module, "all_jobs", lambda *_: {})
        monkeypatch.setattr("flows.tracking.Tracking", lambda *_: tracking)
        self.entry = store.path(CELLS, "c1") / "weights"

    @staticmethod
    def _build(work: Path) -> dict[str, Any]:
        (work / "weights").write_text("weights")
        return {}

    def settle(self, decision: str = DECISION, data: bool = True) -> None:
        settle(self.project, "rolls", inputs_of(self.project, "rolls"), decision, data)

    def settled(self, publishing: bool = True, data: bool = True) -> str:
        return str(settled(self.project, "rolls", publishing, data) or "")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.delenv("SGM_HOME", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Place(tmp_path, monkeypatch)


def test_after_a_run_that_ended_well_nothing_is_left_and_nobody_is_asked(place: Place) -> None:
    assert not place.settled()
    place.settle()
    place.asked.clear()
    assert place.settled() == (
        f"rolls: nothing to do, 1 cells are finished and reported; {DECISION}"
    )
    assert place.settled(publishing=False, data=False)
    assert not place.asked


def _flip(place: Place) -> None:
    data, times = bytearray(place.entry.read_bytes()), os.stat(place.entry)
    data[0] ^= 1
    place.entry.write_bytes(data)
    os.utime(place.entry, ns=(times.st_atime_ns, times.st_mtime_ns))  # as if never touched


@pytest.mark.parametrize(
    "change",
    [
        _flip,
        lambda place: place.entry.unlink(),
        lambda place: place.entry.write_text("weight"),
        lambda place: (place.project.report("rolls") / "file").write_text("y"),
        lambda place: (place.project.report("rolls") / "file").unlink(),
        lambda place: (place.project.prepared("rolls") / "more").write_text("y"),
    ],
)
def test_a_file_that_changed_is_looked_at(place: Place, change: Callable[[Place], Any]) -> None:
    place.settle()
    assert place.settled()
    change(place)
    assert not place.settled()


def test_an_edit_of_the_experiment_counts_and_one_of_another_does_not(place: Place) -> None:
    place.settle()
    params = place.project.root / "params.yaml"
    text = params.read_text()
    params.write_text("# a comment\n" + text.replace("  again:", "  another:"))
    assert place.settled()
    for old, new in (("vp: {}, ve", "vp: {beta_max: 15}, ve"), ("n: 1000", "n: 1001")):
        params.write_text(text.replace(old, new))
        assert not place.settled(), new
    params.write_text(text)
    assert place.settled()


def test_another_champion_is_noticed_and_news_of_others_are_not(place: Place) -> None:
    place.settle()
    place.asked.clear()
    place.database.write_text("another experiment was logged")
    assert place.settled()
    assert place.settled()
    assert len(place.asked) == 1, "asked once, and noted"
    place.index["aliases"] = {"champion": 2}
    place.database.write_text("a rollback")
    assert not place.settled()


def test_what_was_not_done_is_left_to_do(place: Place) -> None:
    place.settle(decision="", data=False)
    assert place.settled(publishing=False, data=False)
    assert not place.settled(publishing=True, data=False)
    assert not place.settled(publishing=False, data=True)


def test_a_run_that_failed_or_was_overtaken_by_an_edit_settles_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.index["status"] = "FAILED"
    place.settle()
    assert not place.settled()
    place.index["status"] = "FINISHED"
    settle(place.project, "rolls", "the inputs before an edit", DECISION, True)
    assert not place.settled()
    _flip(place)  # the store finds it, moves it aside, and the cell is missing
    place.settle()
    assert not place.settled()


def test_a_broken_stamp_is_no_error(place: Place) -> None:
    place.settle()
    stamp = place.project.state / "stamps" / "settled-rolls.json"
    assert read_json(stamp)["cells"] == 1
    for text in ("", "[]", "{}", '{"format": 1}'):
        stamp.write_text(text)
        assert not place.settled()
