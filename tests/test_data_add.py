"""Adding one's own data: checked first, copied once, params.yaml edited in place."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from sgm_core.config import load_config, parse_config
from sgm_core.data import add as add_module
from sgm_core.data import add_dataset, experiment_snippet, prepare
from sgm_core.data.yaml_edit import add_entry, add_item
from sgm_core.errors import SgmError, UsageError
from sgm_core.store.files import os_errors

PARAMS = """# the top comment
active: [roll]   # what runs

datasets:
  roll: {kind: swiss_roll, n: 1000}  # five rolls

experiments:
  # the first one
  roll:
    dataset: roll
    processes: {vp: {}}
    nets:
      mlp:
        {kind: mlp,
         width: 16}
    selection: {metric: 'local'}
# the end
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    (root / "params.yaml").write_text(PARAMS)
    return root


@pytest.fixture
def images(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for i in range(6):
            levels = rng.integers(0, 256, (10, 14, 3), dtype=np.uint8)
            Image.fromarray(levels).save(tmp_path / "pets" / name / f"{i}.png")
    (tmp_path / "pets" / ".DS_Store").write_text("x")
    return tmp_path / "pets"


def add(project: Path, name: str, source: Path, **options: Any) -> Any:
    return add_dataset(project, name, source, log=lambda _: None, **options)


def test_a_folder_becomes_a_dataset_and_an_active_experiment(project: Path, images: Path) -> None:
    params = add(project, "pets", images, height=8, width=12, activate=True)
    text = (project / "params.yaml").read_text()
    old, new = PARAMS.splitlines(), text.splitlines()
    assert "active: [roll, pets]   # what runs" in new
    assert "  pets: {kind: folder, path: data/raw/pets, height: 8, width: 12}" in new
    gone = [line for line in difflib.ndiff(old, new) if line.startswith("- ")]
    assert gone == ["- active: [roll]   # what runs"]  # nothing else changed or moved
    config = load_config(project / "params.yaml")
    assert config.dataset("pets") == params and config.active == ("roll", "pets")
    assert set(config.experiment("pets").processes) == {"vp", "ve", "cld"}
    files = sorted(f.name for f in (project / "data" / "raw" / "pets").rglob("*.png"))
    assert len(files) == 12 and not (project / "data/raw/pets/.DS_Store").exists()
    meta = prepare("pets", params, project, project / "out", lambda _: None)
    assert meta["shape"] == [3, 8, 12] and meta["labels"] == ["cat", "dog"]


def test_a_table_becomes_a_dataset(project: Path, tmp_path: Path) -> None:
    rows = "\n".join(f"{i},{i % 7},{'yn'[i % 2]}" for i in range(20))
    source = tmp_path / "my points.csv"
    source.write_text(f"u,v,y\n{rows}\n")
    add(project, "points", source, label="y", experiment=True)
    config = load_config(project / "params.yaml")
    assert config.dataset("points").model_dump()["path"] == "data/raw/points/my points.csv"
    assert config.dataset("points").model_dump()["label"] == "y"
    assert config.active == ("roll",) and "points" in config.experiments
    np.save(tmp_path / "p.npy", np.random.default_rng(0).normal(size=(30, 4)))
    add(project, "array", tmp_path / "p.npy")
    assert "array" not in load_config(project / "params.yaml").experiments


def test_data_that_lies_at_its_place_is_not_copied(project: Path, images: Path) -> None:
    target = project / "data" / "raw" / "pets"
    target.parent.mkdir(parents=True)
    images.rename(target)
    add(project, "pets", target)
    assert load_config(project / "params.yaml").dataset("pets").kind == "folder"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("roll", {}, "dataset 'roll' exists already"),
        ("a b", {}, "name: 'a b' is not usable"),
        ("../up", {}, "is not usable"),
        ("", {}, "is not usable"),
        ("pets", {"label": "y"}, "label: 'y' is for tables"),
        ("pets", {"height": 8}, "give both height and width"),
        ("pets", {"height": -8, "width": 8}, "height: -8 is not valid"),
        ("pets", {"channels": 2}, "channels = 2 is not possible"),
    ],
)
def test_wrong_options_change_nothing(
    project: Path, images: Path, name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        add(project, name, images, **options)
    assert (project / "params.yaml").read_text() == PARAMS
    assert [child.name for child in project.iterdir()] == ["params.yaml"]


def test_wrong_data_changes_nothing(project: Path, images: Path, tmp_path: Path) -> None:
    (images / "dog" / "0.png").write_bytes(b"")
    with pytest.raises(UsageError, match=r"dog/0.png \(is not an image\)"):
        add(project, "pets", images)
    with pytest.raises(UsageError, match="does not exist; name a folder"):
        add(project, "pets", tmp_path / "gone")
    with pytest.raises(UsageError, match="is one image"):
        add(project, "pets", images / "cat" / "0.png")
    with pytest.raises(UsageError, match="contains the project's data folder"):
        add(project, "pets", tmp_path)
    assert [child.name for child in project.iterdir()] == ["params.yaml"]
    add(project, "pets", images, skip_unreadable=True)
    assert (project / "data/raw/pets/dog/0.png").exists()


def test_raw_data_is_never_overwritten(project: Path, images: Path) -> None:
    target = project / "data" / "raw" / "pets"
    target.mkdir(parents=True)
    (target / "precious.txt").write_text("x")
    with pytest.raises(UsageError, match="never overwritten"):
        add(project, "pets", images)
    assert [child.name for child in target.iterdir()] == ["precious.txt"]


def test_a_failing_disk_leaves_the_project_as_it_was(
    project: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(add_module.shutil, "copyfile", full)
        with pytest.raises(SgmError, match="the disk is full; free some space"):
            add(project, "pets", images)
    with monkeypatch.context() as patch:
        patch.setattr(add_module, "write_atomic", full)
        with pytest.raises(SgmError, match=r"params.yaml: the disk is full"):
            add(project, "pets", images)
    assert (project / "params.yaml").read_text() == PARAMS
    assert list((project / "data" / "raw").iterdir()) == []


def test_params_yaml_keeps_its_mode(project: Path, images: Path) -> None:
    (project / "params.yaml").chmod(0o640)
    add(project, "pets", images)
    assert (project / "params.yaml").stat().st_mode & 0o7777 == 0o640
    assert [child.name for child in project.iterdir() if child.name.startswith(".")] == []


def test_a_full_disk_is_blamed_and_not_the_source_of_a_copy(tmp_path: Path) -> None:
    with pytest.raises(SgmError) as caught, os_errors(tmp_path / "target"):
        raise OSError(28, "No space left on device", "source")
    assert str(caught.value).startswith(f"{tmp_path}/target: the disk is full; free some space")


@pytest.mark.parametrize(
    "text",
    [
        "datasets:\n  a: {kind: digits}",
        "datasets:\n    a:\n        kind: digits\n        seed: 1   # c\n\n\n# next\nactive: []\n",
        "datasets: {a: {kind: digits}}\nactive:\n- a  # first\n# end\n",
        "active:\n  - a\ndatasets:\n  a:\n    kind: folder\n    path: |\n      here\nb: 1\n",
        "datasets:\r\n  a: {kind: digits}\r\nactive: [a]\r\n",
        "active: []\n",
        "datasets:\nactive: [\n  a,\n  b\n]\n",
        "active: [a,]\ndatasets: {}\n",
        "",
    ],
)
def test_any_layout_of_params_yaml(text: str) -> None:
    wanted = yaml.safe_load(text) or {}
    new = add_entry(text, "datasets", "n", "  # why\n  n: {kind: digits, seed: 3}\n")
    new = add_item(new, "active", "n")
    wanted["datasets"] = (wanted.get("datasets") or {}) | {"n": {"kind": "digits", "seed": 3}}
    wanted["active"] = [*(wanted.get("active") or []), "n"]
    assert yaml.safe_load(new) == wanted
    assert new.count("#") >= text.count("#")  # no comment is lost
    assert ("\r\n" in text) == ("\r\n" in new)
    assert add_item(new, "active", "n") == new


@pytest.mark.parametrize(
    ("kind", "shape", "train"),
    [
        ("points", [2], 10),
        ("points", [300], 100_000),
        ("images", [1, 8, 8], 1000),
        ("images", [3, 5, 40], 7),
        ("images", [3, 64, 64], 500),
        ("images", [1, 1, 1], 10),
        ("images", [3, 512, 384], 100),
    ],
)
def test_the_first_experiment_is_valid_for_any_shape(
    kind: str, shape: list[int], train: int
) -> None:
    meta = {"kind": kind, "shape": shape, "counts": {"train": train}}
    experiments = yaml.safe_load("experiments:\n" + experiment_snippet("mine", meta))
    config = parse_config({"datasets": {"mine": {"kind": "table", "path": "x.npy"}}} | experiments)
    experiment = config.experiment("mine")
    (net,) = experiment.nets.values()
    assert net.data_rank == len(shape)
    assert experiment.training.batch <= train
    if kind == "images":
        levels = len(net.model_dump()["multipliers"])
        assert levels == 1 or min(shape[1:]) / 2 ** (levels - 1) >= 4
