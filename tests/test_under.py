"""One trained checkpoint under other processes: `sgm sample --process`, `sgm under`, the report."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from flows_checkout import PARAMS
from report_fakes import experiment, outcome

from flows import cli, stages
from flows.project import Project
from flows.searching import jobs_in
from flows.tracking import final_metrics
from sgm_core.cell import Outcome, ensure_cell
from sgm_core.config.process import PROCESSES
from sgm_core.errors import UsageError
from sgm_core.evaluate.under import measured_under, metrics_under
from sgm_core.model import ScoreModel
from sgm_core.report import under
from sgm_core.report.write import write_reports
from sgm_core.store.files import read_json

Call = Callable[..., tuple[int, str, str]]
HEUN = ("--sampler", "heun", "--steps", "3", "-n", "40", "--seeds", "1")
STEPS = ("--sampler", "ddim", "--steps", "6")
SAMPLING = "{steps: 6, sampler: ddim, options: {eta: 1e-1}}"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outcome]:
    """A project with one tiny finished cell, evaluated under two more processes."""
    root = tmp_path_factory.mktemp("under")
    text = PARAMS.replace("STEPS", "40").replace("{steps: 6}", SAMPLING)
    more = "evaluation: {under: [cld, ve], "
    (root / "params.yaml").write_text(text.replace("evaluation: {", more))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SGM_HOME", raising=False)
        project = Project.at(root)
        for stage in (stages.prepare, stages.reference):
            stage(project, "again")
        (job,) = jobs_in(project, "again").values()
        return root, ensure_cell(job, lambda event: None)


@pytest.fixture
def sgm(
    trained: tuple[Path, Outcome],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Call:
    """Call the command line in the project: (exit code, stdout, stderr on one line)."""
    monkeypatch.chdir(trained[0])
    monkeypatch.delenv("SGM_HOME", raising=False)

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["sgm", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return int(str(ended.value.code)), said.out, " ".join(said.err.split())

    return call


def test_the_evaluation_keeps_what_was_measured_under_each_process(
    trained: tuple[Path, Outcome],
) -> None:
    measured = read_json(trained[1].evaluation.path / "metrics.json")
    assert measured["options"] == {"eta": 0.1}
    assert [row["process"] for row in measured["under"]] == ["cld", "ve"]
    for row in measured["under"]:
        assert (row["nfe"], row["samples"], row["seeds"]) == (6, 50, [1234, 1284, 1334])
        assert set(row["metrics"]) == {"sliced_w2", "off", "local"}
        for entry in row["metrics"].values():
            assert entry["value"] == pytest.approx(np.mean(entry["values"]))
            assert entry["std"] == pytest.approx(np.std(entry["values"], ddof=1))
            assert entry["std"] > 0
            assert entry["better"] == "lower"
    names = {metric.key for metric in final_metrics(trained[1])}
    assert {"under_cld_sliced_w2", "under_ve_off"} <= names


def test_sample_under_another_process(trained: tuple[Path, Outcome], sgm: Call) -> None:
    root = trained[0]

    def drawn(*arguments: str) -> np.ndarray:
        code, out, error = sgm("sample", *arguments, "--out", "x.npy", "-n", "5")
        assert (code, error) == (0, "")
        assert "5 x 2, 6 evaluations" in out
        return np.asarray(np.load(root / "x.npy"))

    plain = drawn("vp-mlp-s0")
    np.testing.assert_array_equal(drawn("--from", "vp-mlp-s0"), plain)
    np.testing.assert_array_equal(drawn("vp-mlp-s0", "--process", "vp"), plain)
    cld = drawn("--process", "cld", "--from", "again/vp-mlp-s0")
    model = ScoreModel.load(trained[1].cell.path)
    settings: dict[str, Any] = {"sampler": "ddim", "steps": 6, "options": {"eta": 0.1}}
    np.testing.assert_array_equal(cld, model.generate(5, process="cld", **settings))
    ve = "{kind: ve, sigma_min: 2e-3}"
    np.testing.assert_array_equal(
        drawn(str(trained[1].cell.path), "--process", ve, "--option", "eta=0.1", *STEPS),
        model.generate(5, process={"kind": "ve", "sigma_min": 0.002}, **settings),
    )
    # An option on the command line takes the place of the experiment's.
    assert not np.allclose(drawn("vp-mlp-s0", "--option", "eta=1"), plain)
    np.testing.assert_array_equal(
        drawn("vp-mlp-s0", "--sampler", "multistep", "--option", "order=3"),
        model.generate(5, sampler="multistep", steps=6, options={"order": 3}),
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "no model was named; write MODEL, or --from MODEL"),
        (["vp-mlp-s0", "--from", "vp-mlp-s0"], "two models were named"),
        (["--from", "vq-mlp-s0"], "did you mean 'vp-mlp-s0'?"),
        (["vp-mlp-s0", "--process", "vpp"], "unknown process 'vpp'; did you mean 'vp'?"),
        (["vp-mlp-s0", "--process", "{kind: ve"], "write a name, or a mapping with kind"),
        (["vp-mlp-s0", "--process", "{sigma_min: 1}"], "write a name, or a mapping with kind"),
        (["vp-mlp-s0", "--process", "{kind: ve, sigma_min: -1}"], "sigma_min: -1"),
        (["vp-mlp-s0", "--process", "{kind: ve, sigma: 1}"], "unknown field 'sigma'"),
        (["vp-mlp-s0", "--option", "eta"], "--option: 'eta' is not valid; write NAME=NUMBER"),
        (["vp-mlp-s0", "--option", "eta=much"], "write NAME=NUMBER"),
        (["vp-mlp-s0", "--option", "eta=1", "--option", "eta=0"], "'eta' is given twice"),
        (["vp-mlp-s0", "--option", "eta=1.5"], "eta: 1.5: write a number from 0 to 1"),
        (["vp-mlp-s0", "--option", "order=2"], "sampler 'ddim' has no option 'order'"),
        (["vp-mlp-s0", "--process", "cld", "--sampler", "heun"], "'heun'"),
        (["vp-mlp-s0", "--sampler", "sscs"], "'sscs'"),
    ],
)
def test_wrong_samplings_are_one_sentence(sgm: Call, arguments: list[str], words: str) -> None:
    code, out, error = sgm("sample", *arguments, "--out", "wrong.npy")
    assert (code, out) == (2, "")
    assert words in error
    assert error.count("sgm: ") == 1
    assert not Path("wrong.npy").exists()


def test_the_table_of_all_processes(sgm: Call) -> None:
    code, out, _ = sgm("under", "vp-mlp-s0", "--steps", "3", "-n", "40", "--seeds", "2")
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "ddim, 3 steps, 2 x 40 samples, again, validation"
    assert lines[1].split() == ["process", "NFE", "sliced_w2", "off", "local"]
    assert [line.split()[0] for line in lines[2 : 2 + len(PROCESSES)]] == list(PROCESSES)
    assert lines[2].startswith("vp (trained under)")
    assert all(line.count(" ± ") == 3 for line in lines[2 : 2 + len(PROCESSES)])
    assert lines[-2].startswith("real against real")
    assert lines[-1].startswith("spread over processes against noise over seeds: sliced_w2 ")
    assert lines[-1].count(" against ") == 4


def test_a_sampler_that_some_processes_do_not_have(sgm: Call) -> None:
    code, out, _ = sgm("under", "--from", "vp-mlp-s0", *HEUN)
    assert code == 0
    rows = {line.split()[0]: line.split() for line in out.splitlines()[2:]}
    assert rows["cld"][1:] == ["-"] * 4
    assert rows["ve"][1] == "5"
    assert any(line.startswith("cld: ") and "'heun'" in line for line in out.splitlines())


def test_wrong_calls_of_under(trained: tuple[Path, Outcome], sgm: Call) -> None:
    for arguments, words in (
        (["vp-mlp-s0", "--steps", "0"], "--steps"),
        (["vp-mlp-s0", "--sampler", "dim"], "did you mean 'ddim'?"),
        (["vp-mlp-s0", "--option", "order=2"], "no option 'order'"),
        (["nothing"], "unknown model 'nothing'"),
        ([], "no model was named"),
    ):
        code, _, error = sgm("under", *arguments)
        assert code == 2
        assert words in error
    stranger = trained[0] / "stranger"
    ScoreModel(shape=(2,), net={"kind": "mlp", "width": 4, "depth": 1}).save(stranger)
    code, _, error = sgm("under", str(stranger))
    assert code == 2
    assert "is not prepared here; run: sgm prepare" in error


class Biased:
    """Draws whose metric is known: that of a process plus that of a block of seeds."""

    sampler, trained_under, seed = "ddim", "vp", 100
    settings = {"steps": 7}  # noqa: RUF012

    def under(self, process: str, seed: int, n: int) -> Any:
        if process == "flow":
            raise UsageError("'ddim' is not for it")
        of_process = {"vp": 1.0, "ve": 3.0, "cld": np.nan}[process]
        return SimpleNamespace(nfe=7, value=of_process + 0.1 * (seed - 100) / n)


class Ruler:
    def rows(self, drawn: Any, names: list[str], *_: Any) -> list[dict[str, Any]]:
        value = None if np.isnan(drawn.value) else drawn.value
        row = {"floor": 0.5, "better": "lower", "n_reference": 9, "details": {}}
        return [{"metric": m, "value": value, **row} for m in names]


def test_spread_is_of_processes_and_noise_of_seeds() -> None:
    wanted = ["vp", "ve", "cld", "flow"]
    rows = list(measured_under(Biased(), Ruler(), ["off"], wanted, 20, 3))  # type: ignore[arg-type]
    assert [row["trained"] for row in rows] == [True, False, False, False]
    assert rows[0]["seeds"] == [100, 120, 140]
    assert rows[0]["metrics"]["off"]["values"] == pytest.approx([1.0, 1.1, 1.2])
    assert rows[1]["metrics"]["off"]["value"] == pytest.approx(3.1)
    assert rows[1]["metrics"]["off"]["std"] == pytest.approx(0.1)
    assert rows[2]["metrics"]["off"]["value"] is None  # one that diverged is no number
    assert (rows[3]["metrics"], rows[3]["nfe"]) == ({}, None)
    assert under.notes(rows) == ["flow: 'ddim' is not for it"]
    spread, noise = under.spread_and_noise(rows, "off")
    assert spread == pytest.approx(np.sqrt(2.0))
    assert noise == pytest.approx(0.1)
    assert under.verdict(rows).endswith("off 1.41 against 0.100")
    one = list(measured_under(Biased(), Ruler(), ["off"], ["vp"], 20, 1))  # type: ignore[arg-type]
    assert one[0]["metrics"]["off"]["std"] is None
    assert np.isnan(under.spread_and_noise(one, "off")).all()
    assert "too few" in under.verdict(one)
    assert metrics_under(["sliced_w2", "energy", "off"], "energy") == ["energy", "sliced_w2", "off"]
    assert metrics_under(["sliced_w2", "energy", "off"], "nll") == ["sliced_w2", "off"]


def add_under(finished: Any, first: float) -> None:
    """Put rows of two processes into the metrics.json of a fake cell."""
    file = finished.evaluation.path / "metrics.json"
    document = json.loads(file.read_text())
    document["under"] = [
        {
            "process": name, "trained": name == "vp", "sampler": "ddim", "steps": 20, "nfe": 20,
            "samples": 100, "seeds": [0, 100], "split": "validation", "reason": "",
            "metrics": {"sliced_w2": {
                "value": value, "std": 0.01, "values": [value - 0.01, value + 0.01],
                "floor": 0.05, "better": "lower",
            }},
        }
        for name, value in (("vp", first), ("<i>cld", first + 0.1))
    ]  # fmt: skip
    file.write_text(json.dumps(document))


def test_the_report_shows_the_section_only_where_it_was_measured(tmp_path: Path) -> None:
    cells = [outcome(tmp_path, "vp-small-s0", 0.3), outcome(tmp_path, "cld-small-s0", 0.2)]
    write_reports(experiment(), cells, [], tmp_path / "without")
    for name in ("report.html", "leaderboard.md"):
        assert under.TITLE not in (tmp_path / "without" / name).read_text()
    add_under(cells[0], 0.3)
    write_reports(experiment(), cells, [], tmp_path / "one")
    page = (tmp_path / "one" / "report.html").read_text()
    assert f"<h2>{under.TITLE}</h2>" in page
    assert "vp (trained under)" in page
    assert "0.400 ± 0.0100" in page
    assert "&lt;i&gt;cld" in page
    assert "<i>cld" not in page
    assert "sliced_w2 0.0707 against 0.0141" in page
    assert under.EVERY not in page
    board = (tmp_path / "one" / "leaderboard.md").read_text()
    assert f"## {under.TITLE}" in board
    assert "| vp (trained under) | 20 | 0.300 ± 0.0100 |" in board
    add_under(cells[1], 0.2)
    write_reports(experiment(), cells, [], tmp_path / "both")
    board = (tmp_path / "both" / "leaderboard.md").read_text()
    assert "| cld-small-s0 | 0.200 ± 0.0100 | 0.300 ± 0.0100 |" in board
    assert board.index("cld-small-s0. The same weights") > 0  # the chosen cell has the table
