"""Sampling under further processes: what cannot be done is a row's reason; processes of one's own."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flows.executors import LocalProcesses
from sgm_core.cell import Job, jobs_of
from sgm_core.code import ROOT
from sgm_core.config import load_config
from sgm_core.data import prepare
from sgm_core.errors import SgmError, UsageError
from sgm_core.evaluate.reference import make_reference
from sgm_core.evaluate.under import measured_under


class Failing:
    """Draws under "vp" only."""

    sampler, trained_under, seed = "ode", "vp", 0
    settings = {"steps": 7}  # noqa: RUF012

    def __init__(self, error: SgmError) -> None:
        self.error = error

    def under(self, process: str, seed: int, n: int) -> Any:
        if process != "vp":
            raise self.error
        return SimpleNamespace(nfe=7)


class Ruler:
    def rows(self, drawn: Any, names: list[str], *_: Any) -> list[dict[str, Any]]:
        row = {"value": 1.0, "floor": 0.5, "better": "lower", "n_reference": 9, "details": {}}
        return [{"metric": m, **row} for m in names]


@pytest.mark.parametrize("error", [UsageError("not for it"), SgmError("did not end")])
def test_a_process_that_fails_leaves_the_others_measured(error: SgmError) -> None:
    wanted = ["ve", "vp"]
    rows = list(measured_under(Failing(error), Ruler(), ["off"], wanted, 20))  # type: ignore[arg-type]
    assert (rows[0]["reason"], rows[0]["metrics"]) == (str(error), {})
    assert (rows[1]["reason"], rows[1]["metrics"]["off"]["value"]) == ("", 1.0)


class Stopped(SgmError):
    exit_code = 143


def test_a_signal_stops_it() -> None:
    with pytest.raises(Stopped):
        list(measured_under(Failing(Stopped("stopped")), Ruler(), ["off"], ["ve"], 20))  # type: ignore[arg-type]


LINE = '''\
"""m = 1, Sigma = (rate t)^2."""

import torch

from sgm_core.process.base import ScalarProcess, as_time


class Line(ScalarProcess):
    kind = "line"
    t_max = 40.0

    def __init__(self, rate: float = 1.0) -> None:
        self.rate_of_noise = rate

    def alpha(self, t):
        return torch.ones_like(t)

    def variance(self, t):
        return (self.rate_of_noise * t) ** 2

    def rate(self, t):
        return torch.zeros_like(t)

    def noise_rate(self, t):
        return 2 * self.rate_of_noise**2 * t

    def transition(self, s, t):
        return torch.ones_like(as_time(t) - as_time(s))[..., None, None]


class Asking(Line):
    def __init__(self, rate: float) -> None:
        super().__init__(rate)
'''
PARAMS = """\
active: [rolls]
datasets:
  points: {kind: swiss_roll, n: 600}
experiments:
  rolls:
    dataset: points
    processes: {vp: {}}
    nets: {mlp: {kind: mlp, width: 16, depth: 1}}
    training: {steps: 40, batch: 32}
    sampling: {steps: 5}
    evaluation: {samples: 60, curve_samples: 50, nfe_curve: [3], bootstrap: 10, likelihood_items: 0,
                 under: UNDER}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "my_line.py").write_text(LINE)
    yield tmp_path
    sys.modules.pop("my_line", None)


def write(project: Path, under: str) -> Path:
    (project / "params.yaml").write_text(PARAMS.replace("UNDER", under))
    return project / "params.yaml"


def jobs(project: Path) -> list[Job]:
    config = load_config(write(project, '["my_line:Line", ve]'))
    data, reference = project / "prepared", project / "reference"
    prepare("points", config.dataset("points"), project, data, lambda _: None)
    make_reference(data, reference, lambda _: None)
    return jobs_of(config.experiment("rolls"), data, reference, project / "store")


def test_a_process_of_ones_own_is_sampled_under_by_a_worker(project: Path) -> None:
    (job,) = jobs(project)
    assert job.modules == project
    with LocalProcesses(1, [], {"PYTHONPATH": str(ROOT)}) as executor:
        outcome = executor.run(job, lambda _: None)
    rows = json.loads((outcome.evaluation.path / "metrics.json").read_text())["under"]
    assert [row["process"] for row in rows] == ["my_line:Line", "ve"]
    assert all(row["reason"] == "" and row["metrics"] for row in rows)
    planned = job.evaluation_spec(outcome.cell.key)
    assert planned.key == outcome.evaluation.key
    (project / "my_line.py").write_text(LINE.replace("t_max = 40.0", "t_max = 50.0"))
    assert planned.key != outcome.evaluation.key  # its code is part of the evaluation's key
    assert job.spec.key == outcome.cell.key  # and not of the cell's


@pytest.mark.parametrize(
    ("under", "words"),
    [
        ('["my_line:Lin"]', "has no class 'Lin'; did you mean 'Line'?"),
        ('["no_line:Line"]', "there is no module 'no_line'"),
        ('["my_line:Asking"]', "my_line:Asking has no default for 'rate'"),
        ('["my_line:Line", "my_line:Line"]', "a process is named twice"),
        ("[custom.line]", "names a file and no class in it; write custom.line:CLASS"),
        ("[vpp]", "unknown process 'vpp'; did you mean 'vp'?"),
    ],
)
def test_wrong_processes_get_one_sentence(project: Path, under: str, words: str) -> None:
    with pytest.raises(UsageError) as error:
        load_config(write(project, under))
    text = str(error.value)
    assert text.startswith("params.yaml: experiments.rolls.evaluation.under: ")
    assert words in text and "\n" not in text
