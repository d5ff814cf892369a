"""Published files: every alteration is found and named; rollback and history on a real registry."""

from __future__ import annotations

import json
import py_compile
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from decision_fakes import judged

from flows import history
from flows.history import print_history, rollback
from flows.packaging import log_model
from flows.project import Project
from flows.registry import SAMPLING, WEIGHTS, Candidate, submit
from flows.sampling import find_model
from flows.tracking import Tracking
from flows.verify import FILES, listed, loads, log_files, verified
from flows.versions import Registry, version_of
from sgm_core.errors import SgmError, UsageError
from sgm_core.model import ScoreModel
from sgm_core.store.files import sha256_file

NAME = "sgm-toy"


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory, migrated: Callable[[Path], None]) -> Path:
    """A project whose registry has two versions, the second one the champion."""
    root = tmp_path_factory.mktemp("master")
    (root / "params.yaml").write_text(
        "active: []\ndatasets: {t: {kind: swiss_roll}}\nexperiments: "
        "{toy: {dataset: t, processes: {vp: {}}, nets: {mlp: {}}}, "
        "other: {dataset: t, processes: {vp: {}}, nets: {mlp: {}}}}\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SGM_HOME", str(root / "state"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        project = Project.at(root)
        migrated(root)
        for seed, value in ((0, 3.0), (1, 2.0)):
            publish(project, seed, value)
    return root


def publish(project: Project, seed: int, value: float) -> Any:
    """Publish an untrained model of points as the pipeline does it, judged by `value`."""
    cell = project.state / f"cell-{seed}"
    cell.mkdir()
    ScoreModel(shape=(2,), net={"kind": "mlp", "width": 8, "depth": 1}, seed=seed).save(cell)
    weights = sha256_file(cell / "model.safetensors")
    tracking = Tracking(project, "toy")
    run_id = tracking.client.create_run(tracking.id).info.run_id
    outcome: Any = SimpleNamespace(
        cell=SimpleNamespace(path=cell, key=f"{seed}" * 64),
        evaluation=SimpleNamespace(path=cell),
    )
    config = json.loads((cell / "config.json").read_text())

    def upload(version: int) -> tuple[str, dict[str, str]]:
        sampling = {**config["sampling"], "steps": 5}
        uri = log_model(tracking, run_id, outcome, sampling, "# card", {"tags": {}})
        return uri, log_files(tracking, run_id, uri)

    def judge(champion: Any) -> Any:
        return judged(value, None if champion is None else float(champion.tags["value"]))

    tags = {WEIGHTS: weights, SAMPLING: "{}", "value": repr(value), "sgm.cell": f"vp-mlp-s{seed}"}
    given = Candidate(
        "toy", tags, run_id, judge, upload, lambda version, verdict: "card",
        lambda version: loads(verified(tracking, version)),
        lambda version: verified(tracking, version),
    )  # fmt: skip
    return submit(project, tracking.client, given)


@pytest.fixture
def project(master: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """The master, whose registry and artifacts are put back afterwards."""
    state = master / "state"
    shutil.copytree(state / "mlartifacts", tmp_path / "mlartifacts")
    copy(state / "mlflow.db", tmp_path / "mlflow.db")
    monkeypatch.setenv("SGM_HOME", str(state))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(master)
    yield Project.at(master)
    shutil.rmtree(state / "mlartifacts")
    shutil.copytree(tmp_path / "mlartifacts", state / "mlartifacts")
    copy(tmp_path / "mlflow.db", state / "mlflow.db")


def copy(source: Path, target: Path) -> None:
    """Copy a database into the file that MLflow has open."""
    with sqlite3.connect(source) as a, sqlite3.connect(target) as b:
        a.backup(b)


def files_of(project: Project, number: int) -> Path:
    """The folder in the registry's own store that holds a version."""
    import mlflow

    mlflow.set_tracking_uri(project.tracking_uri)
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/{NAME}/{number}"))
    assert folder.is_relative_to(project.artifacts)
    return folder


def test_what_is_published_is_whole_and_loads_where_nothing_of_ours_is(project: Project) -> None:
    folder = files_of(project, 2)
    assert {"MLmodel", "artifacts/model/model.safetensors", "artifacts/model/lineage.json",
            "code/sgm_core/model.py"} <= set(listed(folder))  # fmt: skip
    assert loads(folder) == ""
    tags = Registry(project).client.get_model_version(NAME, "2").tags
    assert len(tags[FILES]) == 64


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))


ALTERATIONS: list[tuple[str, Callable[[Path], Any], str]] = [
    ("artifacts/model/model.safetensors", flip, "was altered"),
    ("artifacts/model/config.json", flip, "was altered"),
    ("code/sgm_core/generate.py", flip, "was altered"),
    ("MLmodel", flip, "was altered"),
    ("model_code.py", lambda file: file.unlink(), "was removed"),
    ("code/torch.py", lambda file: file.write_text("import os"), "was added"),
]


@pytest.mark.parametrize(("name", "change", "word"), ALTERATIONS)
def test_an_altered_version_is_refused_and_the_file_named(
    project: Project, name: str, change: Callable[[Path], Any], word: str
) -> None:
    change(files_of(project, 2) / name)
    with pytest.raises(SgmError, match=f"version 2 of {NAME}: {name} {word}; it is not used"):
        find_model(f"models:/{NAME}@champion")


def test_a_version_whose_files_are_gone_is_named(project: Project) -> None:
    shutil.rmtree(files_of(project, 2))
    with pytest.raises(
        SgmError, match=r"version 2 of sgm-toy: MLmodel and [0-9]+ more were removed; .*rollback"
    ):
        find_model(f"models:/{NAME}@champion")


def test_compiled_code_beside_the_sources_is_not_run(project: Project) -> None:
    """An unchecked .pyc runs in place of its source, whose hash would still match."""
    source = files_of(project, 2) / "code" / "sgm_core" / "__init__.py"
    evil = source.with_name("evil.py")
    evil.write_text("raise SystemExit('compiled code was run')")
    cache = source.parent / "__pycache__" / f"__init__.{sys.implementation.cache_tag}.pyc"
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(str(evil), str(cache), invalidation_mode=mode)
    evil.unlink()
    registry = Registry(project)
    folder = verified(registry, registry.client.get_model_version(NAME, "2"))
    assert loads(folder) == ""


def test_from_an_altered_champion_the_way_back_is_open(project: Project) -> None:
    flip(files_of(project, 2) / "artifacts" / "model" / "model.safetensors")
    assert "version 1 is the champion again" in rollback(project, "toy", None)
    assert find_model(f"models:/{NAME}@champion")[0].is_dir()


def test_rollback_does_not_go_to_a_version_whose_files_were_altered(project: Project) -> None:
    flip(files_of(project, 1) / "artifacts" / "model" / "model.safetensors")
    with pytest.raises(SgmError, match=r"version 1 of sgm-toy: artifacts/model/model\.safetensors"):
        rollback(project, "toy", None)
    aliases = Registry(project).client.get_registered_model(NAME).aliases
    assert {name: int(v) for name, v in aliases.items()} == {"champion": 2, "previous": 1}


def test_rollback_and_back_again_with_its_history(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "in place of version 2" in rollback(project, NAME, None)
    # The version that was left is not promoted again by a schedule.
    registry = Registry(project)
    left = registry.client.get_model_version(NAME, "2")
    again = Candidate(
        "toy", dict(left.tags), left.run_id, lambda champion: judged(2.0, 3.0),
        lambda number: pytest.fail("it is registered"), lambda number, verdict: "card",
        lambda version: "", lambda version: None,
    )  # fmt: skip
    decision = submit(project, registry.client, again)
    assert decision.action == "challenger"
    assert decision.reason.startswith("it was rolled back on ")
    assert "version 2 is the champion again" in rollback(project, "toy", 2, "a false alarm")
    print_history(project, "toy")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{NAME}: champion 2, previous 1"
    assert [line.split()[1] for line in lines[1:]] == [
        "promoted", "promoted", "rolled", "challenger", "rolled",
    ]  # fmt: skip
    assert "version 1 (vp-mlp-s0) is the first champion: there was no champion" in lines[1]
    assert "version 2 (vp-mlp-s1) replaced version 1: fd 2 against 3" in lines[2]
    assert lines[5].endswith("version 2 (vp-mlp-s1) replaced version 1: a false alarm")
    assert not registry.client.get_model_version(NAME, "2").tags.get("sgm.rolled_back")


def test_a_rollback_that_was_interrupted_is_finished_and_not_undone(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    def dies(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "set_registered_model_alias", dies)
        with pytest.raises(KeyboardInterrupt):
            rollback(project, "toy", None)
    text = rollback(project, "toy", None)
    assert text == f"{NAME}: version 1 is the champion again; an interrupted rollback is done"
    client = Registry(project).client
    assert client.get_model_version(NAME, "2").tags.get("sgm.rolled_back")
    assert not client.get_model_version(NAME, "1").tags.get("sgm.rolled_back")
    # Repeating it must not bring back what was left.
    with pytest.raises(SgmError, match=r"version 2, was itself rolled back .* --to"):
        rollback(project, "toy", None)
    assert int(client.get_model_version_by_alias(NAME, "champion").version) == 1


def test_wrong_names_and_versions_say_what_to_write(project: Project) -> None:
    with pytest.raises(UsageError, match="did you mean 'sgm-toy'"):
        rollback(project, "sgm-tay", None)
    with pytest.raises(UsageError, match="sgm-other has no version yet; run: sgm publish other"):
        print_history(project, "other")
    with pytest.raises(
        UsageError, match="--to: 7 is not a version of sgm-toy; choose one of: 1, 2"
    ):
        rollback(project, "toy", 7)
    with pytest.raises(SgmError, match="version 2 is the champion already"):
        rollback(project, "toy", 2)
    registry = Registry(project)
    with pytest.raises(UsageError, match="write models:/NAME@champion or models:/NAME/3"):
        version_of(registry, "sgm-toy@champion")
    with pytest.raises(UsageError, match="is not in the registry"):
        version_of(registry, "models:/sgm-toy@best")


def test_a_registry_that_is_away_is_one_sentence(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")  # each one is a wait
    for work in (
        lambda: print_history(project, "toy"),
        lambda: rollback(project, "toy", None),
        lambda: find_model(f"models:/{NAME}@champion"),
    ):
        with pytest.raises(
            SgmError, match="MLflow at http://127.0.0.1:9 failed: it cannot be reached"
        ):
            work()


def test_a_model_that_does_not_load_says_why(project: Project, tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(files_of(project, 2), folder)
    (folder / "artifacts" / "model" / "model.safetensors").unlink()
    assert loads(folder).startswith("it does not load in a clean process (")


def test_events_in_words() -> None:
    entry = {"action": "challenger", "version": 4, "against": None, "time": "t", "reason": "low"}
    line = history.in_words(entry, {4: "vp-mlp-s0"})
    assert line == "t  challenger   version 4 (vp-mlp-s0) is not promoted: low"
