"""A process of the user's own: one file and params.yaml, from the check to the published model."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from flows_checkout import checkout, environment, finished, sgm

from flows.executors import LocalProcesses
from flows.packaging import _staged
from flows.verify import WITHOUT_CHECKOUT
from sgm_core.cell import Job, Outcome, jobs_of, lookup
from sgm_core.config import load_config
from sgm_core.data import prepare
from sgm_core.errors import UsageError
from sgm_core.evaluate.reference import make_reference
from sgm_core.model import ScoreModel
from sgm_core.process import make_process

OU = '''\
"""Ornstein-Uhlenbeck: m = exp(-theta t), Sigma = s^2 (1 - exp(-2 theta t))."""

from __future__ import annotations

import torch
from torch import Tensor

from ou_rates import doubled
from sgm_core.process.base import ScalarProcess, as_time


class OU(ScalarProcess):
    """The Ornstein-Uhlenbeck process."""

    kind = "ou"

    def __init__(self, theta: float = 3.0, s: float = 1.0) -> None:
        if theta <= 0:
            raise ValueError(f"theta = {theta} does not forget the data; give a positive rate")
        self.theta, self.s = theta, s

    def alpha(self, t: Tensor) -> Tensor:
        return torch.exp(-self.theta * t)

    def variance(self, t: Tensor) -> Tensor:
        return -self.s**2 * torch.expm1(-doubled(self.theta) * t)

    def rate(self, t: Tensor) -> Tensor:
        return torch.full_like(t, -self.theta)

    def noise_rate(self, t: Tensor) -> Tensor:
        return torch.full_like(t, doubled(self.theta) * self.s**2)

    def transition(self, s: float | Tensor, t: float | Tensor) -> Tensor:
        return torch.exp(-self.theta * (as_time(t) - as_time(s)))[..., None, None]


class Half(ScalarProcess):
    """Not finished."""

    kind = "half"


class Unnamed(OU):
    kind = None


class Untyped(OU):
    def __init__(self, theta=3.0):
        super().__init__(theta)


class Odd(OU):
    def __init__(self, theta: Tensor) -> None:
        super().__init__()


class Dated(OU):
    def __init__(self, schema: float = 3.0) -> None:
        super().__init__()


def function() -> None:
    pass
'''
RATES = "def doubled(rate: float) -> float:\n    return 2.0 * rate\n"

PARAMS = """\
active: [rolls]
datasets:
  points: {kind: swiss_roll, n: 600}
experiments:
  rolls:
    dataset: points
    processes: {ou: {kind: "my_ou:OU", theta: 4.0}, vp: {}}
    nets: {mlp: {kind: mlp, width: 16, depth: 1}}
    training: {steps: 40, batch: 32}
    sampling: {steps: 5}
    evaluation: {samples: 60, curve_samples: 50, nfe_curve: [3], bootstrap: 10}
    selection: {min_coverage: 0, min_class_share: 0}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project with a process of its own; nothing of it stays in this interpreter."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "my_ou.py").write_text(OU)
    (tmp_path / "ou_rates.py").write_text(RATES)
    (tmp_path / "params.yaml").write_text(PARAMS)
    load_config(tmp_path / "params.yaml")
    yield tmp_path
    forget()


def forget() -> None:
    for name in ("my_ou", "ou_rates", "broken", "lonely"):
        sys.modules.pop(name, None)


def jobs(project: Path) -> list[Job]:
    config = load_config(project / "params.yaml")
    data, reference = project / "prepared", project / "reference"
    if not data.exists():
        prepare("points", config.dataset("points"), project, data, lambda _: None)
        make_reference(data, reference, lambda _: None)
    return jobs_of(config.experiment("rolls"), data, reference, project / "store")


def test_it_is_a_process_like_any_other(project: Path) -> None:
    process = make_process("my_ou:OU", theta=2.0)
    t = torch.tensor([1e-6, 0.3, 1.0], dtype=torch.float64)
    level = (torch.expm1(4.0 * t)).sqrt()
    torch.testing.assert_close(process.sigma_eff(t), level, rtol=1e-12, atol=0)
    torch.testing.assert_close(process.time_of(level), t, rtol=1e-9, atol=0)
    assert make_process("my_ou:OU").theta == 3.0  # type: ignore[attr-defined]


def test_it_is_trained_sampled_and_scored_by_a_worker(project: Path) -> None:
    """Through params.yaml alone; the worker finds the module, and its code is part of the key."""
    job, other = jobs(project)
    assert job.spec.name == "ou-mlp-s0"
    assert job.spec.process == {"kind": "my_ou:OU", "theta": 4.0, "s": 1.0}
    assert (job.modules, other.spec.name) == (project, "vp-mlp-s0")
    assert Job.from_json(job.to_json()) == dataclasses.replace(
        job, **{f: getattr(job, f).absolute() for f in ("dataset", "reference", "store", "modules")}
    )
    module, rates = project / "my_ou.py", project / "ou_rates.py"
    with LocalProcesses(1, [], {"PYTHONPATH": "/nowhere"} | _path()) as executor:
        outcome = executor.run(job, lambda _: None)
        # The process lives on; what it knows of the user's files is not used again.
        rates.write_text(RATES.replace("2.0", "2.1"))
        plain = job.evaluation | {"pictures": False, "likelihood_items": 0}
        edited = executor.run(dataclasses.replace(job, evaluation=plain), lambda _: None)
        rates.write_text(RATES)
    assert edited.cell.key != outcome.cell.key
    assert edited.cell.summary["weights_sha256"] != outcome.cell.summary["weights_sha256"]
    assert outcome.cell.manifest["summary"]["steps"] == 40
    metrics = json.loads((outcome.evaluation.path / "metrics.json").read_text())
    assert all(row["value"] is not None for row in metrics["rows"])
    model = ScoreModel.load(outcome.cell.path)
    assert type(model.process).__name__ == "OU"
    assert model.sample(3, steps=4).x.shape == (3, 2)
    assert lookup(job) is not None

    key, other_key = job.spec.key, other.spec.key
    module.write_text("# A comment.\n" + OU)
    assert job.spec.key == key
    for file, text in (
        (module, OU.replace("-self.theta * t", "-self.theta*t*1")),
        (rates, RATES.replace("2.0", "2.1")),
    ):
        before = file.read_text()
        file.write_text(text)
        assert job.spec.key != key, file
        assert other.spec.key == other_key
        file.write_text(before)
    assert job.spec.key == key
    published(project, outcome)


def _path() -> dict[str, str]:
    """The checkout on the worker's path, as its launcher puts it there."""
    from sgm_core.code import ROOT

    return {"PYTHONPATH": str(ROOT)}


CONSUMER = """
import sys
sys.path.insert(0, sys.argv[1] + "/code")
from sgm_core.model import ScoreModel
x = ScoreModel.load(sys.argv[1] + "/model").sample(4, seed=5, steps=3).x
print(x.shape, sys.modules["my_ou"].__file__)
"""


def published(project: Path, outcome: Outcome) -> None:
    """What is published loads without the project and without the checkout."""
    cell: Any = SimpleNamespace(cell=outcome.cell, evaluation=outcome.evaluation)
    sampling = {"sampler": "ddim", "steps": 3, "grid": "log", "sigma_min": 0.002, "guidance": 1.0}
    with _staged(cell, sampling, "# card", {}) as folder:
        shutil.copytree(folder, project / "elsewhere")
    names = {path.name for path in (project / "elsewhere" / "code").iterdir()}
    assert names == {"sgm_core", "my_ou.py", "ou_rates.py"}
    done = subprocess.run(
        [sys.executable, "-I", "-c", WITHOUT_CHECKOUT + CONSUMER, str(project / "elsewhere")],
        cwd="/", env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split(") ")[1].strip() == str(project / "elsewhere" / "code" / "my_ou.py")


WRONG = {
    "{kind: 'my_ou:OU', thet: 1.0}": "ou.thet: unknown field 'thet'; did you mean 'theta'?",
    "{kind: 'my_ou:OU', theta: fast}": "ou.theta: 'fast' is not valid: input should be a valid",
    "{kind: 'my_ou:OU', theta: true}": "ou.theta: True is not valid: write a number",
    "{kind: 'my_ou:OU', theta: -1.0}": "theta = -1.0 does not forget the data",
    "{kind: 'my_uo:OU'}": "there is no module 'my_uo'; put custom/my_uo.py next to params.yaml and "
    "write custom.my_uo:OU",
    "{kind: 'custom.oo:OU'}": "no module 'custom.oo'; put custom/oo.py next to params.yaml",
    "{kind: custom.ou}": "'custom.ou' names a file and no class in it; write custom.ou:CLASS",
    "{kind: 'os:system'}": "os:system: 'system' is no class; name a class derived from sgm_core.",
    "{kind: 'sys:Foo'}": "sys:Foo: module 'sys' has no class 'Foo'",
    "{kind: 'decimal:Decimal'}": "Decimal is no forward process; derive the class from",
    "{kind: 'my_ou:UO'}": "my_ou.py has no class 'UO'; choose one of: Dated, Half, OU, Odd",
    "{kind: 'my_ou:function'}": "my_ou:function: 'function' is no class; name a class derived from",
    "{kind: 'my_ou:ScalarProcess'}": "my_ou:ScalarProcess is no forward process",
    "{kind: 'my_ou:Half'}": "my_ou:Half has no alpha, noise_rate, rate, transition, variance; write",
    "{kind: 'my_ou:Unnamed'}": "my_ou:Unnamed has no name; write kind = 'unnamed'",
    "{kind: 'my_ou:Untyped'}": "parameter 'theta' has no type; write theta: float",
    "{kind: 'my_ou:Odd'}": "params.yaml cannot hold a parameter of it",
    "{kind: 'my_ou:'}": "'my_ou:' is not valid: write custom.FILE:CLASS, such as custom.ou:OU",
    "{kind: 'my_ou:Dated'}": "__init__ has a parameter 'schema'; give it another name",
    "{kind: 'my_ou:OU', theta: 0.1}": "my_ou:OU: sigma_eff(t_max) = 0.471 is below 2",
    "{kind: 'my_ou:OU', theta: 50}": "sigma_eff(t_max) = 5.18e+21 is above 1e+06",
    "{kind: 'broken:OU'}": "broken cannot be imported (SyntaxError",
    "{kind: 'lonely:OU'}": "lonely cannot be imported (No module named 'nowhere_at_all')",
    "{kind: 'json:OU'}": "the name 'json' is taken by",
}


@pytest.mark.parametrize("entry", WRONG, ids=lambda entry: entry[7:-1])
def test_mistakes_are_one_sentence(project: Path, entry: str) -> None:
    (project / "broken.py").write_text("def f(:\n")
    (project / "lonely.py").write_text("import nowhere_at_all\n")
    (project / "json.py").write_text(OU)
    params = re.sub(r"\{kind: \"my_ou:OU\".*?\}", entry, PARAMS)
    (project / "params.yaml").write_text(params)
    with pytest.raises(UsageError) as error:
        load_config(project / "params.yaml")
    assert WRONG[entry] in str(error.value)
    assert str(error.value).startswith("params.yaml: experiments.rolls.processes.ou")
    assert "\n" not in str(error.value)


BROKEN = {
    "def mean(self, t): return self.alpha(as_time(t))": "mean(t) returns shape (17,) for 17 times; "
    "return (17, 1)",
    "def mean(self, t): return super().mean(t).flatten()[:, None]": "mean(t) returns shape (1, 1) "
    "for one time; return (1,)",
    "def covariance(self, t): return super().covariance(t).float()": "covariance(t) returns float32",
    "def covariance(self, t): return -super().covariance(t)": "sigma_eff(t) is 0 or not finite",
    "def drift(self, t): return -self.theta": "drift(t) returns float; return a float64 tensor",
    "def diffusion(self, t): return super().diffusion(t) / 0": "diffusion(t) is not finite",
    "def diffusion(self, t): raise KeyError(t)": "diffusion(t) fails (KeyError",
    "def rate(self, t): return t.nope": "drift(t) fails (AttributeError",
    "def transition(self, s, t): return torch.exp(as_time(s) - as_time(t))": "transition(s, t) "
    "returns shape (16,) for 16 times; return (16, 1, 1)",
    "def variance(self, t): return t * torch.exp(-20 * t)": "does not grow from t = ",
    "def variance(self, t): return 0.1 + t": "sigma_eff(t_min) = 0.316 is above 0.1",
    "def variance(self, t): return 0 * t": "sigma_eff(t) is 0 or not finite",
    "t_max = 0": "t_min = 1e-07 and t_max = 0; write 0 < t_min < t_max",
}


@pytest.mark.parametrize("line", BROKEN)
def test_a_class_that_breaks_the_contract_is_refused_with_its_method(
    project: Path, line: str
) -> None:
    source = f"{OU}\n\nclass Broken(OU):\n    kind = 'broken'\n    {line}\n"
    (project / "my_ou.py").write_text(source)
    (project / "params.yaml").write_text(PARAMS.replace("my_ou:OU", "my_ou:Broken"))
    with pytest.raises(UsageError) as error:
        load_config(project / "params.yaml")
    text = str(error.value)
    assert "processes.ou: is not valid: my_ou:Broken: " in text
    assert BROKEN[line] in text and "\n" not in text, text


def test_a_default_is_read_like_a_value(project: Path) -> None:
    """`theta: float = 3` and an explicit 3 are one cell."""
    (project / "my_ou.py").write_text(OU.replace("theta: float = 3.0", "theta: float = 3"))
    texts = (PARAMS.replace("theta: 4.0", words) for words in ("s: 1", "theta: 3"))
    found = []
    for text in texts:
        (project / "params.yaml").write_text(text)
        params = load_config(project / "params.yaml").experiments["rolls"].processes["ou"]
        found.append(json.dumps(params.model_dump()))
        assert params.largest_level() == pytest.approx(math.sqrt(math.expm1(6.0)))
    assert found == ['{"theta": 3.0, "s": 1.0}'] * 2


def test_a_parameter_without_default_is_asked_for(project: Path) -> None:
    source = OU.replace("theta: float = 3.0, s: float = 1.0", "theta: float, s: float = 1.0")
    (project / "my_ou.py").write_text(source)
    with pytest.raises(UsageError, match="theta: is missing; add it"):
        make_process("my_ou:OU")


@pytest.mark.slow
def test_the_command_line_runs_and_publishes_it(tmp_path: Path) -> None:
    folder = checkout(tmp_path / "checkout")
    (folder / "my_ou.py").write_text(OU)
    (folder / "ou_rates.py").write_text(RATES)
    (folder / "params.yaml").write_text(PARAMS.replace(", vp: {}", ""))
    done = sgm(folder, "check")
    assert done.returncode == 0, done.stdout + done.stderr
    done = sgm(folder, "run", "rolls")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(finished(folder)) == 1
    sampled = "models:/sgm-rolls@champion", "--n", "5", "--out", "x.npy"
    done = sgm(folder, "sample", *sampled)
    assert done.returncode == 0, done.stdout + done.stderr
    consumer = WITHOUT_CHECKOUT + (
        "import mlflow\n"
        "model = mlflow.pyfunc.load_model('models:/sgm-rolls@champion')\n"
        "print(model.predict(None, params={'n': 4, 'steps': 3}).shape)\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", consumer],
        cwd="/", capture_output=True, text=True, check=False,
        env=environment(MLFLOW_TRACKING_URI=f"sqlite:///{folder}/.sgm/mlflow.db"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "(4, 2)"


def test_the_readme_of_the_folder_holds_a_process_that_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    text = (Path(__file__).parents[1] / "custom" / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
    (tmp_path / "custom").mkdir()
    (tmp_path / "custom" / "ou.py").write_text(code)
    (tmp_path / "params.yaml").write_text(PARAMS.replace("my_ou:OU", "custom.ou:OU"))
    try:
        config = load_config(tmp_path / "params.yaml")
        assert config.experiments["rolls"].processes["ou"].model_dump() == {"theta": 4.0}
        process = make_process("custom.ou:OU", theta=4.0)
        t, h = torch.tensor(0.3, dtype=torch.float64), 1e-5
        slope = (process.covariance(t + h) - process.covariance(t - h)) / (2 * h)
        expected = 2 * process.drift(t) * process.covariance(t) + process.diffusion(t)
        torch.testing.assert_close(slope, expected, rtol=1e-6, atol=0)
        torch.testing.assert_close(
            process.transition(0.1, t) * process.mean(0.1), process.mean(t)[None]
        )
    finally:
        forget()
        for name in ("custom", "custom.ou"):
            sys.modules.pop(name, None)
