"""MLflow as the index that people browse.

    experiment NAME
      run "grid"        sgm.grid_key    = hash of the grid's evaluation keys
        run "vp-mlp-s0" sgm.cell_key, sgm.evaluation_key, parameters, losses, metrics, files

The store decides what is trained; a run only tells of it, exactly once:

* a cell that has its FINISHED run (found by both keys) is not logged again;
* a run that an interrupted process left is taken over, and steps that it holds are not repeated;
* while a cell trains, the finished points of its history are sent in batches every few seconds, and
  nothing else, so that the curve is the same however fast it ran; at the end the history that the
  trainer wrote fills what is missing.

MLflow being away must not cost a finished cell: `Tracking` raises SgmError in one sentence, after
the store has the result, and a repeated run logs what is missing. Nor may it hold up the thread
that reads the worker's events: after a failure MLflow is left alone for a while. And few cells of a
process speak to it at once: on a pool hundreds may end together, while its database has 15 connections.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.lineage import data_tags, environment_tags, lineage, params_of
from flows.project import Project
from flows.versions import Registry
from sgm_core.errors import SgmError
from sgm_core.store.files import canonical_json, read_json, sha256_bytes

if TYPE_CHECKING:
    from mlflow.entities import Metric, Param, Run, RunTag

    from sgm_core.cell import Job, Outcome

CHUNK = 1000  # MLflow's limit of metrics, parameters and tags of one request together
CURVES = ("loss", "grad_norm", "lr")  # of the trainer's history
FLUSH_SECONDS = 3.0
PAUSE_SECONDS = 120.0  # after a failure of MLflow
AT_ONCE = 4  # cells of this process that speak to MLflow; SQLite lets one of them write
FINISHED = "FINISHED"


class Tracking(Registry):
    """The MLflow experiment of one of our experiments.

    Args:
        project: the project; its tracking URI is used.
        experiment: name of the experiment.

    Raises:
        SgmError: MLflow cannot be reached.
    """

    advice = "; finished cells are kept, run again to log them"

    def __init__(self, project: Project, experiment: str) -> None:
        super().__init__(project)
        self.name = experiment
        self.turns = threading.BoundedSemaphore(AT_ONCE)
        self.failed = (-math.inf, "")  # when MLflow last failed a cell, and why
        with self.errors(), project.lock("mlflow-experiments"):
            found = self.client.get_experiment_by_name(experiment)
            if found is None:
                self.id = self.client.create_experiment(experiment, self._artifact_location())
            elif found.lifecycle_stage == "deleted":
                raise SgmError(
                    f"the MLflow experiment {experiment!r} was deleted; restore it: "
                    f"mlflow experiments restore -x {found.experiment_id}"
                )
            else:
                self.id = found.experiment_id

    def search(self, **tags: str) -> list[Run]:
        """Return the newest 100 runs with these tags, the newest first; dots are written as `__`."""
        clauses = [f"tags.`{key.replace('__', '.')}` = '{value}'" for key, value in tags.items()]
        return list(self.client.search_runs([self.id], " and ".join(clauses), max_results=100))

    def of_cell(self, key: str) -> list[Run]:
        """Return the runs of a cell by its key, the newest first."""
        return self.search(sgm__cell_key=key)

    def parent(self, jobs: Iterable[Job]) -> str:
        """Return the run of this grid: the one that an earlier pass began, or a new one."""
        keys = [job.evaluation_spec(job.spec.key).key for job in jobs]
        grid_key = sha256_bytes(canonical_json(sorted(keys)))
        tags = {"sgm.grid_key": grid_key, "sgm.kind": "grid", "mlflow.runName": "grid"}
        tags |= environment_tags(self.project.root) | data_tags(self.project, self.name)
        with self.errors(), self.project.lock(f"mlflow-grid-{grid_key[:16]}"):
            for run in self.search(sgm__grid_key=grid_key):
                return str(run.info.run_id)
            return str(self.client.create_run(self.id, tags=tags, run_name="grid").info.run_id)

    def grid_result(self, parent: str, report: Path, failed: bool) -> None:
        """Attach the report to the run of the grid and close it."""
        with self.errors():
            self.client.log_artifacts(parent, str(report), "report")
            self.client.set_terminated(parent, "FAILED" if failed else FINISHED)

    def _artifact_location(self) -> str | None:
        """Keep artifacts in the state folder while the database is the project's own."""
        own = self.project.tracking_uri.startswith("sqlite:")
        return (self.project.artifacts / self.name).as_uri() if own else None


class CellRun:
    """The run of one cell while it is worked on. Not for several threads at once.

    The run is begun by signs that this process is really training, after some seconds or at the end,
    so that a cell that is found in the store, or is trained by somebody else, leaves no half-empty run.
    """

    def __init__(self, tracking: Tracking, parent: str, job: Job) -> None:
        self.tracking, self.parent, self.job = tracking, parent, job
        self.run_id: str | None = None
        self._lock = tracking.project.lock(f"mlflow-cell-{job.spec.key[:32]}")
        self._held = False
        self._points: dict[int, list[Metric]] = {}  # by step
        self._logged: set[int] = set()
        self._params: list[Param] = []  # not yet sent; they go with the next points
        self._next = math.inf  # when to speak to MLflow; some seconds after the first event

    def __enter__(self) -> CellRun:
        return self

    def __exit__(self, *_: object) -> None:
        if self._held:
            self._lock.__exit__(None, None, None)
            self._held = False

    def event(self, event: dict[str, Any]) -> None:
        """Take one event of the cell; its new points are sent in batches. MLflow's failures wait."""
        if event.get("event") != "progress" or event.get("phase") != "train":
            return
        self._add(event.get("history") or [])
        if math.isinf(self._next):
            self._next = time.monotonic() + FLUSH_SECONDS
        if time.monotonic() < self._next:
            return
        self._hold()
        # Whoever finds no turn is not held up: the next event tries again.
        if not self.tracking.turns.acquire(blocking=False):
            return
        try:
            self._flush(self._begin())
            self._next = time.monotonic() + FLUSH_SECONDS
        except SgmError:  # `finish` tries again with everything, and reports
            self._next = time.monotonic() + PAUSE_SECONDS
        finally:
            self.tracking.turns.release()

    def finish(self, outcome: Outcome) -> str:
        """Log what is missing of a finished cell and close its run; return the run's id.

        Raises:
            SgmError: MLflow cannot be reached; calling again later goes on.
        """
        with self._turn():
            runs = self.tracking.of_cell(self.job.spec.key) if self.run_id is None else []
            if known := _finished(runs, outcome.evaluation.key):
                return known
            run_id = self._begin(runs)
            history = outcome.cell.path / "history.json"
            self._add(read_json(history) if history.is_file() else [])
            self._result(outcome, run_id)
            return run_id

    def fail(self, message: str) -> None:
        """Close the run of a cell that failed; the next attempt takes it over."""
        if self.run_id is None and math.isinf(self._next):  # it never trained
            return
        with suppress(SgmError), self._turn():
            run_id = self._begin()
            self._flush(run_id)
            self.tracking.client.set_tag(run_id, "sgm.error", message[:5000])
            self.tracking.client.set_terminated(run_id, "FAILED")

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait for a turn to speak to MLflow; who waited while another one failed fails like that one.

        The cell's lock comes first, always: those who hold a turn wait for nobody's lock.
        """
        self._hold()
        asked = time.monotonic()
        with self.tracking.turns:
            when, why = self.tracking.failed
            if asked < when:
                raise SgmError(why)
            try:
                with self.tracking.errors():
                    yield
            except SgmError as error:
                self.tracking.failed = (time.monotonic(), str(error))
                raise

    def _hold(self) -> None:
        if not self._held:
            self._lock.__enter__()
            self._held = True

    def _begin(self, runs: Sequence[Run] | None = None) -> str:
        """Create the run, or take over the unfinished one of the same cell; return its id.

        The caller holds the cell's lock, and gives the cell's runs if it has asked for them since.
        """
        if self.run_id is not None:
            return self.run_id
        client, spec = self.tracking.client, self.job.spec
        with self.tracking.errors():
            runs = self.tracking.of_cell(spec.key) if runs is None else runs
            left = [run for run in runs if run.info.status != FINISHED]
            if left:
                run_id = str(left[0].info.run_id)
                client.update_run(run_id, status="RUNNING")
                history = client.get_metric_history(run_id, "loss")
                self._logged = {metric.step for metric in history}
            else:
                tags = {
                    "mlflow.parentRunId": self.parent,
                    "sgm.kind": "cell",
                    "sgm.cell": spec.name,
                    "sgm.cell_key": spec.key,
                }
                run = client.create_run(self.tracking.id, tags=tags, run_name=spec.name)
                run_id = str(run.info.run_id)
        self._params = _params(spec)
        self.run_id = run_id
        return run_id

    def _add(self, rows: list[dict[str, Any]]) -> None:
        """Take points of the trainer's history; one that came before is left as it was."""
        from mlflow.entities import Metric

        now = time.time_ns() // 1_000_000
        for row in rows:
            metrics = [
                Metric(name, float(row[name]), now, row["step"])
                for name in CURVES
                if _finite(row.get(name))
            ]
            self._points.setdefault(row["step"], metrics)

    def _flush(
        self, run_id: str, final: Sequence[Metric] = (), tags: Sequence[RunTag] = ()
    ) -> None:
        """Send the points that the run does not hold, and with the last of them `final` and `tags`.

        In as few requests as may be, since each is several transactions. Those points count as sent
        that MLflow has taken.
        """
        new = sorted(set(self._points) - self._logged)
        over = not (new or self._params or final or tags)
        with self.tracking.errors():
            while not over:
                room = CHUNK - len(self._params)
                steps, new = new[: room // len(CURVES)], new[room // len(CURVES) :]
                metrics = [metric for step in steps for metric in self._points[step]]
                over = not new and len(metrics) + len(final) + len(tags) <= room
                if over:
                    metrics += final
                self.tracking.client.log_batch(
                    run_id, metrics=metrics, params=self._params, tags=tags if over else ()
                )
                self._logged.update(steps)
                self._params = []

    def _result(self, outcome: Outcome, run_id: str) -> None:
        """Log what is missing: files, points, final metrics and tags, dataset; then set the run FINISHED.

        Files come first: to see where they go MLflow reads the run, with all metrics that it has by then.
        """
        from mlflow.entities import RunTag

        from flows.dataset_input import dataset_input

        client, project = self.tracking.client, self.tracking.project
        tags = [RunTag(k, v) for k, v in lineage(project, outcome).items()]
        client.log_artifacts(run_id, str(outcome.evaluation.path), "evaluation")
        client.log_artifacts(run_id, str(outcome.cell.path), "model")
        self._flush(run_id, final_metrics(outcome)[: CHUNK - len(tags)], tags)
        # MLflow looks for the dataset and then inserts it: two cells of one dataset would collide.
        with project.lock("mlflow-inputs"):
            client.log_inputs(run_id, [dataset_input(project, self.job)])
        client.set_terminated(run_id, FINISHED)


def _finished(runs: Iterable[Run], evaluation: str) -> str | None:
    """Return the id of the FINISHED run that tells of this evaluation, or None."""
    for run in runs:
        told = run.data.tags.get("sgm.evaluation_key")
        if run.info.status == FINISHED and told == evaluation:
            return str(run.info.run_id)
    return None


def final_metrics(outcome: Outcome) -> list[Metric]:
    """Return the metrics of a finished cell: `test_fd`, `test_fd_low`, `_high`, `_floor`, costs.

    A value that is not finite has no place in a metric; the file metrics.json holds it as null.
    The time is that of the evaluation: MLflow keeps one of two equal points, so that logging them
    again after an interruption doubles nothing.
    """
    from mlflow.entities import Metric

    measured = read_json(outcome.evaluation.path / "metrics.json")
    values: dict[str, Any] = {}
    for row in measured["rows"]:
        name = f"{row['split']}_{row['metric']}"
        values[name] = row["value"]
        for suffix in ("low", "high", "floor"):
            values[f"{name}_{suffix}"] = row.get(suffix)
    for field in ("nfe", "seconds_per_sample", "cpu_seconds_per_sample"):
        values[field] = measured.get(field)
    for field in ("parameters", "final_loss", "train_seconds", "cpu_seconds"):
        values[field] = outcome.cell.summary.get(field)
    now = round(datetime.fromisoformat(outcome.evaluation.manifest["created"]).timestamp() * 1000)
    metrics = [Metric(k, float(v), now, 0) for k, v in values.items() if _finite(v)]
    for point in measured.get("curve", []):
        if _finite(point.get("value")):
            name = f"curve_{point['metric']}"
            metrics.append(Metric(name, float(point["value"]), now, int(point["nfe"])))
    for row in measured.get("under", []):
        for name, entry in row["metrics"].items():
            if _finite(entry["value"]):
                label = f"under_{row['process']}_{name}"
                metrics.append(Metric(label, float(entry["value"]), now, 0))
    return metrics


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _params(spec: Any) -> list[Param]:
    from mlflow.entities import Param

    return [Param(k, v[:6000]) for k, v in sorted(params_of(spec).items())]
