"""The data stages: made once, made again when an input changes, verified when skipped."""

from __future__ import annotations

from pathlib import Path

import pytest
from flows_checkout import PARAMS

from flows import stages
from flows.progress import Display, describe
from flows.project import Project
from sgm_core.config.data import EmojiParams, FashionMNISTParams, TableParams
from sgm_core.data import fashion_mnist


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.delenv("SGM_HOME", raising=False)
    (tmp_path / "params.yaml").write_text(PARAMS.replace("STEPS", "10"))
    return Project.at(tmp_path)


def test_prepare_is_done_once(project: Project) -> None:
    assert stages.prepare(project, "rolls")
    assert not stages.prepare(project, "rolls")


def test_two_experiments_on_one_dataset_have_their_own_folder(project: Project) -> None:
    assert stages.prepare(project, "rolls")
    assert stages.prepare(project, "again")
    one, other = (project.prepared(name) / "dataset.json" for name in ("rolls", "again"))
    assert one.read_bytes() == other.read_bytes()


def test_only_its_own_dataset_counts(project: Project) -> None:
    stages.prepare(project, "rolls")
    params = project.root / "params.yaml"
    text = params.read_text()
    params.write_text(text.replace("datasets:\n", "datasets:\n  digits: {seed: 3}\n"))
    assert not stages.prepare(project, "rolls")
    params.write_text(text.replace("noise: 0.2", "noise: 0.3"))
    assert stages.prepare(project, "rolls")


def test_a_damaged_output_is_made_again(project: Project) -> None:
    stages.prepare(project, "rolls")
    file = project.prepared("rolls") / "test.parquet"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert stages.prepare(project, "rolls")
    assert file.read_bytes() == whole


def test_raw_files_count(project: Project) -> None:
    raw = project.root / "data" / "raw" / "mine" / "points.csv"
    raw.parent.mkdir(parents=True)
    rows = [f"{i},{i * i % 17}" for i in range(40)]
    raw.write_text("\n".join(["a,b", *rows]) + "\n")
    params = project.root / "params.yaml"
    mine = "datasets:\n  mine: {kind: table, path: data/raw/mine/points.csv}\n"
    params.write_text(params.read_text().replace("datasets:\n", mine))
    assert stages.prepare(project, "mine")
    assert not stages.prepare(project, "mine")
    raw.write_text("\n".join(["a,b", *rows, "99,3"]) + "\n")
    assert stages.prepare(project, "mine")


def test_raw_files_in_the_usual_places_of_a_reader_count(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fashion_mnist, "DEBIAN", project.root / "absent")
    (project.root / "font.ttf").write_bytes(b"1")
    for name, params in (("fashion_mnist", FashionMNISTParams()), ("emoji", EmojiParams())):
        before = stages.raw_state(project.root, params)
        file = project.root / "data" / "raw" / name / "deep" / "file"
        file.parent.mkdir(parents=True)
        file.write_bytes(b"1")
        first = stages.raw_state(project.root, params)
        file.write_bytes(b"12")
        assert (
            len({str(state) for state in (before, first, stages.raw_state(project.root, params))})
            == 3
        )
    params = EmojiParams(font="font.ttf")
    before = stages.raw_state(project.root, params)
    (project.root / "font.ttf").write_bytes(b"12")
    assert stages.raw_state(project.root, params) != before


def test_data_outside_the_project_and_the_packages_that_decode_count(
    project: Project, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("outside") / "points.csv"
    file.write_text("a,b\n1,2\n")
    before = stages.raw_state(project.root, TableParams(path=str(file)))
    file.write_text("a,b\n1,2\n3,4\n")
    assert len(before) == 1
    assert stages.raw_state(project.root, TableParams(path=str(file))) != before
    assert {"pillow", "fonttools", "pandas", "pyarrow"} <= set(stages.READERS)


def test_state_of_a_dvc_experiment_is_that_of_its_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SGM_HOME", raising=False)
    inner = tmp_path / ".dvc" / "tmp" / "exps" / "temp123"
    inner.mkdir(parents=True)
    assert Project.at(inner).state == tmp_path.resolve() / ".sgm"
    assert Project.at(tmp_path).state == tmp_path.resolve() / ".sgm"
    monkeypatch.setenv("SGM_HOME", str(tmp_path / "elsewhere"))
    assert Project.at(inner).state == tmp_path.resolve() / "elsewhere"


def test_progress_lines(capsys: pytest.CaptureFixture[str]) -> None:
    event = {"event": "progress", "phase": "train", "step": 5, "steps": 10, "steps_per_s": 2.5}
    display = Display(total=2)
    display.event("vp", {**event, "loss": 0.5, "eta_s": 2})
    display.event("vp", event)  # too soon after the first one
    display.event("vp", {"event": "message", "text": "resumed"})
    display.done("vp", "finished")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "vp: train 5/10, 2.5 steps/s, loss 0.5, 2 s left"
    assert lines[1:] == ["vp: resumed", "[1/2] vp: finished"]
    assert describe({"step": 1, "steps": 2, "eta_s": 600}) == "1/2, 10 min left"
