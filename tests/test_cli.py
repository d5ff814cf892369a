"""The command line: what a wrong call says, its exit code, and how light a call is."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from flows_checkout import PARAMS, ROOT

from flows import adding, cli
from flows.choices import process_of
from flows.likelihood import has_levels
from flows.project import mlflow_failed
from flows.under import print_row, widths
from sgm_core.errors import SgmError, UsageError
from sgm_core.report.under import line


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
        (
            ["studio", "--port", "99999"],
            2,
            "--port: 99999 is not valid: write 1 to 65535, or 0 for",
        ),
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
    assert words in error
    assert error.startswith("sgm: ") and error.count("\n") == 1
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


def test_a_process_by_its_label_in_params(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = PARAMS.replace("STEPS", "10")
    labelled = "subvp: {}, slow: {kind: vp, beta_max: 5}}"
    (project / "params.yaml").write_text(text.replace("subvp: {}}", labelled))
    slow = process_of("slow")
    assert isinstance(slow, dict) and (slow["kind"], slow["beta_max"]) == ("vp", 5.0)
    assert process_of("vp") == "vp"  # a kind, whatever experiments call so
    assert process_of("{kind: ve, sigma_min: 0.01}") == {"kind": "ve", "sigma_min": 0.01}
    assert (process_of(None), process_of("my.sde:OU")) == (None, "my.sde:OU")
    for wrong, words in (("slwo", "did you mean 'slow'?"), ("zzz", "choose one of: cld, edm,")):
        with pytest.raises(UsageError, match="unknown process") as error:
            process_of(wrong)
        assert words in str(error.value)
    both = text.replace("subvp: {}}", labelled).replace("{vp: {}}", "{slow: {kind: ve}}")
    (project / "params.yaml").write_text(both)
    with pytest.raises(UsageError, match="'slow' is not the same in the experiments rolls, again"):
        process_of("slow")
    (project / "params.yaml").unlink()
    with pytest.raises(UsageError, match="unknown process 'slow'; did you mean 'flow'"):
        process_of("slow")

    from sgm_core.model import ScoreModel

    (project / "params.yaml").write_text(text.replace("subvp: {}}", labelled))
    ScoreModel(shape=(2,), net={"kind": "mlp", "width": 4, "depth": 1}).save(project / "model")
    sample = ["sample", "model", "-n", "3", "--process"]
    assert call(monkeypatch, *sample, "slow", "-o", "x.npy") == 0
    assert call(monkeypatch, *sample, "{kind: vp, beta_max: 5}", "-o", "y.npy") == 0
    assert (project / "x.npy").read_bytes() == (project / "y.npy").read_bytes()
    capsys.readouterr()


@pytest.fixture
def densities(project: Path) -> Path:
    """Models cld/, vp/ and of images wide/ (0 to 16) and unit/ (0 to 1), and items for them."""
    from sgm_core.model import ScoreModel

    points = {"kind": "mlp", "width": 4, "depth": 1}
    pixels = {"kind": "unet", "channels": 4, "multipliers": [1], "blocks": 1}
    for process in ("vp", "cld"):
        model = ScoreModel(shape=(2,), net=points, process=process, sampling={"sigma_min": 0.01})
        model.save(project / process)
    for name, high in (("wide", 16), ("unit", 1)):
        ScoreModel(shape=(1, 2, 2), net=pixels, data_range=(0, high)).save(project / name)
    rng = np.random.default_rng(0)
    np.save(project / "points.npy", rng.normal(size=(4, 2)))
    np.save(project / "black.npy", rng.integers(0, 2, (3, 1, 2, 2)))
    np.save(project / "gray.npy", rng.random((3, 1, 2, 2)))
    np.save(project / "empty.npy", np.zeros((0, 2)))
    (project / "folder.npy").mkdir()
    return project


def test_the_bound_beside_the_exact_density(
    densities: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def printed(*arguments: str) -> list[float]:
        assert call(monkeypatch, "likelihood", *arguments, "points.npy") == 0
        return [float(v) for v in re.findall(r"(-?\d+\.\d+) nats", capsys.readouterr().out)]

    exact, lower = printed("cld", "--bound")
    assert printed("cld") == [exact]
    assert lower == pytest.approx(exact, abs=0.1)
    under, bound = printed("vp", "--bound", "--process", "cld")
    assert (under, bound) == pytest.approx((exact, lower), abs=0.01)
    (ve,) = printed("vp", "--process", "{kind: ve, sigma_max: 5}")
    assert ve == pytest.approx(exact, abs=0.5) and ve != printed("vp")[0]


def test_levels_are_those_of_the_models_range(
    densities: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for model, file, words in (
        ("wide", "black.npy", "bits/dim;"),
        ("wide", "gray.npy", "values are not whole numbers"),
        ("unit", "black.npy", "a range of 0 to 1 has no whole-numbered levels"),
    ):
        assert call(monkeypatch, "likelihood", model, file) == 0
        said = capsys.readouterr().out
        assert words in said and ("no bits/dim" in said) == (words != "bits/dim;")
    ranges = [(0, 255), (0, 16), (-1, 1), (0, 1), (0, 2.5), (-8, 8)]
    assert [has_levels(*r) for r in ranges] == [True, True, False, False, False, True]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["vp", "points.npy", "--bound"], "--bound: 'vp' has no auxiliary channels"),
        (["vp", "empty.npy"], "empty.npy: is empty; the model takes (n, 2)"),
        (["vp", "folder.npy"], "folder.npy is a folder; name a file"),
        (["vp", "points.npy", "--process", "vpp"], "did you mean 'vp'?"),
        (["vp", "points.npy", "-o", "/proc/x.npy"], "--out: /proc is not a folder that can be"),
        (["vp", "points.npy", "-o", "folder.npy"], "--out: folder.npy is a folder"),
    ],
)
def test_wrong_likelihoods_are_one_sentence(
    densities: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: str,
) -> None:
    assert call(monkeypatch, "likelihood", *arguments) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert words in error and error.count("sgm: ") == 1


def test_the_table_of_processes_has_room_for_a_long_name(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"process": "custom.ornstein:OU", "trained": True, "nfe": 6, "metrics": {}}
    cells = line(row, ["off"])
    print_row(cells, widths(str(row["process"]), ["off"]))
    assert capsys.readouterr().out.split("  ")[0] == "custom.ornstein:OU (trained under)"


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


def test_an_interrupt_that_a_library_swallowed_is_no_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The executor was stopped by Ctrl-C, and its cells say so; the exception itself was lost."""

    def app(standalone_mode: bool) -> None:
        raise SgmError("0 of 3 cells of rolls are finished; failed: vp-mlp-s0: stopped")

    monkeypatch.setattr(cli, "app", app)
    monkeypatch.setattr(cli, "asked", {signal.SIGINT})
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 130
    said = capsys.readouterr().err
    assert "interrupted; run the same command again" in said and "failed" not in said
