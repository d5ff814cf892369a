"""MLflow: which points of a loss curve are logged, and what happens while MLflow is away."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flows import reporting
from flows import tracking as tracking_module
from flows.artifacts import run_url
from flows.lineage import environment_tags
from flows.project import Project, mlflow_failed, shown, tool_environment
from flows.tracking import CellRun, Tracking
from sgm_core.errors import SgmError
from sgm_core.store.files import write_json

JOB: Any = SimpleNamespace(
    spec=SimpleNamespace(
        name="vp-mlp-s0", key="0" * 64, process={"kind": "vp"}, net={}, training={}, seed=0
    )
)


def numbered(number: int) -> Any:
    """A job of another cell; the lock of a cell has the first half of its key."""
    return SimpleNamespace(spec=SimpleNamespace(**{**vars(JOB.spec), "key": f"{number:032d}" * 2}))


def point(step: int) -> dict[str, Any]:
    """A row of the trainer's history."""
    return {"step": step, "loss": 1 / step, "grad_norm": 2.0, "lr": 0.1, "seconds": step / 7}


def progress(step: int, *points: int, **more: Any) -> dict[str, Any]:
    event = {"event": "progress", "phase": "train", "step": step, "steps": 40, "loss": 9.0}
    return {**event, "history": [point(p) for p in points], **more}


@pytest.fixture
def opened(
    tmp_path: Path, migrated: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> Tracking:
    """MLflow of a project; of a finished cell its lineage is the evaluation's key."""
    monkeypatch.setenv("SGM_HOME", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    migrated(tmp_path)
    monkeypatch.setattr(
        tracking_module, "lineage", lambda _, o: {"sgm.evaluation_key": o.evaluation.key}
    )
    monkeypatch.setattr(tracking_module, "final_metrics", lambda _: [])
    return Tracking(Project.at(tmp_path), "toy")


@pytest.fixture
def tracking(opened: Tracking, monkeypatch: pytest.MonkeyPatch) -> Tracking:
    """The same; points are sent at once, and of a finished cell nothing else."""
    monkeypatch.setattr(tracking_module, "FLUSH_SECONDS", 0.0)
    monkeypatch.setattr(CellRun, "_result", lambda run, _, run_id: run._flush(run_id))
    return opened


@pytest.fixture
def outcome(tmp_path: Path) -> Any:
    """A finished cell with the points 10, 20, 30, 40."""
    write_json(tmp_path / "cell" / "history.json", [point(step) for step in (10, 20, 30, 40)])
    cell = SimpleNamespace(path=tmp_path / "cell", key="0" * 64)
    return SimpleNamespace(cell=cell, evaluation=SimpleNamespace(key="1" * 64))


def of_dataset(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every cell was trained on a dataset of this name."""
    from mlflow.entities import Dataset, DatasetInput

    given = DatasetInput(Dataset(name, "0" * 8, "local", "{}"))
    monkeypatch.setattr("flows.dataset_input.dataset_input", lambda *_: given)


def curve(tracking: Tracking, run: CellRun, name: str = "loss") -> dict[int, float]:
    assert run.run_id is not None
    found = tracking.client.get_metric_history(run.run_id, name)
    assert len({metric.step for metric in found}) == len(found)
    return {metric.step: metric.value for metric in found}


def test_only_finished_points_are_logged(tracking: Tracking, outcome: Any) -> None:
    """The loss of a progress event depends on when it is sent, the points do not."""
    with CellRun(tracking, "", JOB) as run:
        run.event({**progress(3), "history": None})
        run.event(progress(13, 10))
        run.event(progress(27, 10, 20))
        assert curve(tracking, run) == {10: 1 / 10, 20: 1 / 20}
        run.finish(outcome)
        assert curve(tracking, run) == {step: 1 / step for step in (10, 20, 30, 40)}
        assert curve(tracking, run, "grad_norm") == dict.fromkeys((10, 20, 30, 40), 2.0)


def test_parameters_go_with_points_within_the_limit_of_a_request(
    tracking: Tracking, outcome: Any
) -> None:
    """MLflow refuses a request with more than 1000 metrics, parameters and tags together."""
    write_json(outcome.cell.path / "history.json", [point(step) for step in range(1, 701)])
    with CellRun(tracking, "", JOB) as run:
        run.finish(outcome)
        assert sorted(curve(tracking, run)) == list(range(1, 701))
        assert run.run_id is not None
        params = tracking.client.get_run(run.run_id).data.params
        assert params == {"process": "vp", "process.kind": "vp", "net": "", "seed": "0"}


def test_a_cell_that_fails_before_its_points_were_sent_has_a_run_that_says_why(
    tracking: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking_module, "FLUSH_SECONDS", 60.0)
    with CellRun(tracking, "", JOB) as idle:
        idle.fail("it never trained")
        assert idle.run_id is None
    with CellRun(tracking, "", JOB) as run:
        run.event(progress(3))
        assert run.run_id is None
        run.fail("no disk")
        assert curve(tracking, run) == {}
        assert run.run_id is not None
        told = tracking.client.get_run(run.run_id)
        assert (told.info.status, told.data.tags["sgm.error"]) == ("FAILED", "no disk")


@pytest.mark.parametrize("points", [3, 329, 340])
def test_what_is_left_at_the_end_goes_with_the_last_points(
    tracking: Tracking, monkeypatch: pytest.MonkeyPatch, points: int
) -> None:
    """In one request where all of it fits into one."""
    from mlflow.entities import Metric, RunTag

    sent: list[Any] = []
    send = tracking.client.log_batch
    monkeypatch.setattr(
        tracking.client, "log_batch", lambda *a, **b: (sent.append(b), send(*a, **b))
    )
    with CellRun(tracking, "", JOB) as run:
        run_id = run._begin()
        run._add([point(step) for step in range(1, points + 1)])
        run._flush(run_id, [Metric(f"test_{i}", 1.0, 0, 0) for i in range(9)], [RunTag("a", "b")])
        run._flush(run_id)
        assert len(curve(tracking, run)) == points
    data = tracking.client.get_run(run_id).data
    assert (len(data.metrics), len(data.params), data.tags["a"]) == (3 + 9, 4, "b")
    sizes = [sum(len(part) for part in request.values()) for request in sent]
    assert sum(sizes) == 3 * points + 9 + 4 + 1
    assert max(sizes) <= 1000
    assert len(sizes) == (1 if points == 3 else 2)


def test_a_run_that_is_taken_over_gets_what_is_missing(tracking: Tracking, outcome: Any) -> None:
    with CellRun(tracking, "", JOB) as run:
        run.event(progress(13, 10))
    with CellRun(tracking, "", JOB) as again:
        again.event(progress(11, 10))
        again.finish(outcome)
        assert again.run_id == run.run_id
        assert curve(tracking, again) == {step: 1 / step for step in (10, 20, 30, 40)}


def test_while_mlflow_is_away_it_is_left_alone(
    tracking: Tracking, outcome: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Away:
        calls = 0

        def __getattr__(self, name: str) -> Any:
            def fail(*_: Any, **__: Any) -> None:
                self.calls += 1
                raise ConnectionError("refused")

            return fail

    client, away = tracking.client, Away()
    with CellRun(tracking, "", JOB) as run:
        run.event(progress(13, 10))
        tracking.client = away  # type: ignore[assignment]
        for step in range(14, 34):
            run.event(progress(step, *([20] if step == 25 else []), *([30] if step == 14 else [])))
        assert away.calls == 1
        with pytest.raises(SgmError, match="refused"):
            run.finish(outcome)
        tracking.client = client
        run.finish(outcome)
        assert curve(tracking, run) == {step: 1 / step for step in (10, 20, 30, 40)}


def test_an_absent_server_is_one_sentence_after_few_tries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import pandas as pd

    for name in [name for name in os.environ if name.startswith("MLFLOW_HTTP")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SGM_HOME", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setattr("sgm_core.report.terminal.load", lambda _: pd.DataFrame())
    monkeypatch.setattr("sgm_core.report.terminal.plain_table", lambda _: "table")
    project = Project.at(tmp_path)
    tool_environment(project)
    assert int(os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"]) <= 2
    assert int(os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"]) <= 10
    for name in ("one", "two"):
        project.report(name).mkdir(parents=True)
        (project.report(name) / "leaderboard.parquet").write_bytes(b"")
    reporting.print_leaderboards(project, ["one", "two"])
    lines = [x for x in capsys.readouterr().out.splitlines() if x.startswith("registry:")]
    assert len(lines) == 2
    assert all("MLflow at http://127.0.0.1:9 failed" in line for line in lines)


def test_what_the_run_itself_writes_is_not_dirt(tmp_path: Path) -> None:
    import subprocess

    def dirty(name: str, *changed: str) -> str:
        root = tmp_path / name
        for file in ("code.py", "dvc.lock", "reports/rolls/metrics.json"):
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (root / file).write_text("1")
        who = ["-c", "user.name=n", "-c", "user.email=e"]
        for command in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "start"]):
            subprocess.run(["git", *command], cwd=root, check=True)
        for file in changed:
            (root / file).write_text("2")
        return environment_tags(root)["sgm.git_dirty"]

    assert dirty("clean") == "false"
    assert dirty("ours", "dvc.lock", "reports/rolls/metrics.json") == "false"
    assert dirty("theirs", "code.py") == "true"


def test_cells_of_one_dataset_may_finish_together(
    opened: Tracking, outcome: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow looks for the dataset and then inserts it; two of them at once failed."""
    outcome.evaluation.path = outcome.cell.path
    together = threading.Barrier(8)

    for attempt in range(3):  # a new dataset each time
        of_dataset(f"data{attempt}", monkeypatch)
        runs = [opened.client.create_run(opened.id).info.run_id for _ in range(8)]

        def finish(run_id: str) -> None:
            together.wait(20)
            CellRun(opened, "", JOB)._result(outcome, run_id)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(finish, runs))
    found = opened.client.search_runs([opened.id])
    assert {run.info.status for run in found} == {"FINISHED"}
    assert all(len(run.inputs.dataset_inputs) == 1 for run in found)


def test_a_result_that_was_told_is_not_told_again(
    opened: Tracking, outcome: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another evaluation of the same cell is a run of its own."""
    outcome.evaluation.path = outcome.cell.path
    of_dataset("data", monkeypatch)

    def end(evaluation: str) -> str:
        outcome.evaluation.key = evaluation
        with CellRun(opened, "", JOB) as run:
            return run.finish(outcome)

    first, again, other = end("1" * 64), end("1" * 64), end("2" * 64)
    assert first == again != other
    assert len(opened.of_cell(JOB.spec.key)) == 2


def test_hundreds_of_cells_may_end_together(
    tracking: Tracking, outcome: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a pool a thread waits for each; MLflow's database has 15 connections and waits 30 s for one."""
    speaking, most = [0], [0]
    count = threading.Lock()
    plain = CellRun._begin

    def counted(run: CellRun, *runs: Any) -> str:
        with count:
            speaking[0] += 1
            most[0] = max(most[0], speaking[0])
        try:
            time.sleep(0.02)
            return plain(run, *runs)
        finally:
            with count:
                speaking[0] -= 1

    monkeypatch.setattr(CellRun, "_begin", counted)
    together = threading.Barrier(40)

    def end(number: int) -> str:
        together.wait(20)
        with CellRun(tracking, "", numbered(number)) as run:
            if number % 2:
                run.event(progress(13, 10))
                run.fail("it was number 13")
                return ""
            return run.finish(outcome)

    with ThreadPoolExecutor(40) as pool:
        finished = [run_id for run_id in pool.map(end, range(40)) if run_id]
    assert len(set(finished)) == 20
    assert most[0] == tracking_module.AT_ONCE
    failed = tracking.search(sgm__error="it was number 13")
    assert len(failed) == 20 and {run.info.status for run in failed} == {"FAILED"}


def test_two_processes_with_the_same_cells_do_not_wait_for_each_other_for_good(
    tracking: Tracking, outcome: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each holds the lock of what it trained and ends what the other one trained."""
    monkeypatch.setattr(CellRun, "_begin", lambda *_: time.sleep(0.005) or "run")
    monkeypatch.setattr(CellRun, "_result", lambda *_: None)
    monkeypatch.setattr(Tracking, "of_cell", lambda *_: [])
    other = Tracking(tracking.project, "toy")
    both = threading.Barrier(64)

    ended = []

    def end(index: int) -> None:
        side, number = divmod(index, 32)
        own = [tracking, other][side]
        with CellRun(own, "", numbered(number)) as run:
            if number % 2 == side:
                run._hold()  # it was trained here
            both.wait(20)
            ended.append(run.finish(outcome))

    # Daemons: threads that wait for good must not keep pytest from its end.
    threads = [threading.Thread(target=end, args=(index,), daemon=True) for index in range(64)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 60
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    assert ended == ["run"] * 64


def test_those_who_wait_while_mlflow_fails_are_told_at_once(
    tracking: Tracking, outcome: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call to a server that is away takes seconds; hundreds one after the other would take an hour."""
    tries = []

    def away(run: CellRun, *_: Any) -> str:
        tries.append(run)
        time.sleep(0.3)
        raise SgmError("MLflow is away")

    with monkeypatch.context() as patch, ThreadPoolExecutor(40) as pool:
        patch.setattr(CellRun, "_begin", away)
        patch.setattr(Tracking, "of_cell", lambda *_: [])
        together = threading.Barrier(40)

        def end(number: int) -> str:
            together.wait(20)
            told = pytest.raises(SgmError, match="MLflow is away")
            with CellRun(tracking, "", numbered(number)) as run, told:
                run.finish(outcome)
            return "told"

        assert list(pool.map(end, range(40))) == ["told"] * 40
    assert len(tries) <= 2 * tracking_module.AT_ONCE
    with CellRun(tracking, "", JOB) as run:
        assert run.finish(outcome), "who comes later tries again"


def test_an_address_is_shown_without_its_password() -> None:
    uri = "https://me:secret@mlflow.example:5000/x"
    assert "secret" not in mlflow_failed(uri, ConnectionError("refused"))
    assert "https://mlflow.example:5000/x" in mlflow_failed(uri, ValueError("no"))
    away: Any = SimpleNamespace(project=SimpleNamespace(tracking_uri=uri), id="1")
    assert run_url(away, "r") == "https://mlflow.example:5000/x/#/experiments/1/runs/r"
    assert shown("sqlite:////a/b@c.db") == "sqlite:////a/b@c.db"
