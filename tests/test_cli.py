"""The command line: what a wrong call says, its exit code, and how light a call is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from flows_checkout import PARAMS, ROOT

from flows import adding, cli
from flows.project import mlflow_failed


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "params.yaml").write_text(PARAMS.replace("STEPS", "10"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SGM_HOME", raising=False)
    return tmp_path


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["sgm", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(str(ended.value.code))


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["grid", "rols"], 2, "unknown experiment 'rols'; did you mean 'rolls'?"),
        (["run", "rolls", "agian"], 2, "unknown experiment 'agian'; did you mean 'again'?"),
        (["prepare", "digts"], 2, "unknown experiment or dataset 'digts'"),
        (["publish", "nope"], 2, "unknown experiment 'nope'"),
        (["reference", "rolls"], 1, "run: sgm prepare rolls"),
        (["sample", "vp-mlp-s0", "--out", "x.gif"], 2, "end it in .npy or .png"),
        (["sample", "vp-mlp-s0", "--out", "no/x.npy"], 2, "no is not a folder"),
        (["sample", "vp-mlp-s0", "--out", "x.npy"], 2, "is not finished"),
        (["sample", "vq-mlp-s0", "--out", "x.npy"], 2, "did you mean 'vp-mlp-s0'?"),
        (["sample", "vp-mlp-s0", "--out", "x.npy", "-n", "0"], 2, "--n"),
        (["sample", "vp-mlp-s0"], 2, "--out"),
        (["sample", "--out", "x.npy"], 2, "no model was named"),
        (["sample", "a", "--from", "b", "--out", "x.npy"], 2, "'a' and --from 'b'; leave one out"),
        (["sample", "--from", "vp-mlp-s0", "--out", "x.npy"], 2, "is not finished"),
        (["under", "vp-mlp-s0"], 2, "is not finished"),
        (["under", "--seeds", "0", "vp-mlp-s0"], 2, "--seeds"),
        (["frobnicate"], 2, "frobnicate"),
        (["data", "add", "mine", "missing.csv", "--no-dvc"], 2, "missing.csv does not exist"),
        (["data", "add", "mine", "missing.csv"], 2, "dvc init"),
    ],
)
def test_wrong_calls_are_one_sentence(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    words: str,
) -> None:
    assert call(monkeypatch, *arguments) == code
    error = capsys.readouterr().err
    assert words in " ".join(error.split())
    assert "Traceback" not in error
    assert (project / "params.yaml").read_text() == PARAMS.replace("STEPS", "10")


def test_a_seed_beyond_the_range_is_wrong_usage(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from sgm_core.model import ScoreModel

    ScoreModel(shape=(2,), net={"kind": "mlp", "width": 4, "depth": 1}).save(project / "model")
    for seed in (2**64, 2**64 - 1):  # sample i uses seed + i
        options = ["--out", "x.npy", "-n", "2", "--seed", str(seed)]
        assert call(monkeypatch, "sample", "model", *options) == 2
        assert "seed" in capsys.readouterr().err
    assert not (project / "x.npy").exists()


def test_wrong_params_name_the_field(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "params.yaml").write_text(PARAMS.replace("STEPS", "-5"))
    assert call(monkeypatch, "check") == 2
    assert "experiments.rolls.training.steps: -5" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("sampling", "words"),
    [
        ("{sampler: ddim, options: {eta: 2}}", ["sampling.options", "eta: 2", "from 0 to 1"]),
        ("{sampler: ddim, options: {eta: yes}}", ["eta: True", "a number from 0 to 1"]),
        ("{sampler: ddim, options: {churn: 2}}", ["'ddim' has no option 'churn'", "eta"]),
        ("{options: 3}", ["sampling.options: 3", "dictionary"]),
        ("{sampler: dim, options: {eta: 2}}", ["sampling.sampler", "'ddim'"]),
        ("{}\n    evaluation: {under: [cdl]}", ["evaluation.under", "'cdl'", "'cld'"]),
        ("{}\n    evaluation: {under: [cld, cld]}", ["evaluation.under", "named twice"]),
    ],
)
def test_wrong_sampling_options_name_the_field(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    sampling: str,
    words: list[str],
) -> None:
    params = PARAMS.replace("STEPS", "10").replace("{steps: 6}", sampling)
    if "evaluation" in sampling:
        lines = params.splitlines(keepends=True)
        params = "".join(line for line in lines if "evaluation: {samples" not in line)
    (project / "params.yaml").write_text(params)
    assert call(monkeypatch, "check") == 2
    error = capsys.readouterr().err
    assert all(word in error for word in words), error


def test_outside_of_a_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, "check") == 2
    assert "no params.yaml" in capsys.readouterr().err


def test_a_state_folder_that_cannot_be_made(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "file").write_text("")
    monkeypatch.setenv("SGM_HOME", str(project / "file" / "state"))
    for arguments in (["init"], ["grid", "rolls"], ["prepare", "rolls"]):
        assert call(monkeypatch, *arguments) == 1
        error = capsys.readouterr().err
        assert str(project / "file") in error
        assert "SGM_HOME" in error


def test_data_add_without_dvc_or_git(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "\n".join(f"{i},{i * i % 17}" for i in range(40))
    (project / "points.csv").write_text(f"a,b\n{rows}\n")
    monkeypatch.setattr(adding, "find_spec", lambda name: None)
    assert call(monkeypatch, "data", "add", "mine", "points.csv") == 2
    assert "DVC is not installed" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.chdir(project)
    (project / ".dvc").mkdir()
    (project / ".dvc" / "config").write_text("")
    monkeypatch.setattr(adding.shutil, "which", lambda name: None)
    assert call(monkeypatch, "data", "add", "mine", "points.csv") == 2
    assert "git is not installed" in capsys.readouterr().err
    assert not (project / "data").exists()
    assert call(monkeypatch, "data", "add", "mine", "points.csv", "--no-dvc", "--activate") == 0
    assert (project / "data" / "raw" / "mine" / "points.csv").is_file()
    assert call(monkeypatch, "check") == 0
    assert "mine: dataset mine" in capsys.readouterr().out


def test_an_interrupt_exits_130(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("flows.stages.prepare", interrupted)
    assert call(monkeypatch, "prepare", "rolls") == 130
    assert "interrupted" in capsys.readouterr().err


def test_a_defect_is_a_sentence_too(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("flows.stages.prepare", broken)
    assert call(monkeypatch, "prepare", "rolls") == 1
    assert "internal error, ZeroDivisionError: by zero" in capsys.readouterr().err


def test_light_commands_import_nothing_heavy(project: Path) -> None:
    code = (
        "import sys; from flows import cli\n"
        "sys.argv = ['sgm', 'check']\n"
        "try: cli.main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'prefect', 'mlflow', 'pandas', 'dvc'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_mlflow_being_away_is_worded_once() -> None:
    away = ConnectionError("HTTPConnectionPool(host='there'): Max retries exceeded with url: /api")
    text = mlflow_failed("http://there", away)
    assert text.startswith(
        "MLflow at http://there failed: it cannot be reached (HTTPConnectionPool"
    )
    assert text.endswith("; start it or correct MLFLOW_TRACKING_URI")
    assert mlflow_failed("u", ValueError("no\nschema")) == "MLflow at u failed: no schema"
