"""params.yaml: the shipped file is valid, and each kind of mistake gets one sentence."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from sgm_core.config import load_config, parse_config
from sgm_core.errors import UsageError

ROOT = Path(__file__).resolve().parents[1]
VALUES: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())


@pytest.mark.parametrize("file", ["params.yaml", ".ci/params.yaml"])
def test_the_shipped_files_are_valid(file: str) -> None:
    config = load_config(ROOT / file)
    assert set(config.active) == {"swiss_roll", "digits"}
    for name in config.active:
        assert config.dataset(config.experiment(name).dataset)


def test_the_default_grid_has_four_processes_and_two_networks() -> None:
    config = load_config(ROOT / "params.yaml")
    for name in config.active:
        experiment = config.experiment(name)
        assert set(experiment.processes) == {"vp", "subvp", "ve", "cld"}
        assert len(experiment.nets) == 2


def test_a_label_may_differ_from_its_kind() -> None:
    values = copy.deepcopy(VALUES)
    values["experiments"]["digits"]["processes"]["vp_short"] = {"kind": "vp", "beta_max": 10}
    process = parse_config(values).experiments["digits"].processes["vp_short"]
    assert process.kind == "vp"
    assert process.model_dump() == {
        "beta_min": 0.1,
        "beta_max": 10.0,
        "schedule": "linear",
        "s": 0.008,
    }


MISTAKES: list[tuple[str, Any, list[str]]] = [
    ("experiments.swiss_roll.processes.vp.beta_mx", 3, ["vp.beta_mx", "'beta_max'"]),
    ("experiments.swiss_roll.processes.vp.beta_max", "x", ["beta_max", "'x'", "number"]),
    ("experiments.swiss_roll.processes.vp.beta_max", 0.01, ["beta_max = 0.01", "raise"]),
    ("experiments.swiss_roll.processes.vpp", {}, ["'vpp'", "'vp'"]),
    ("experiments.swiss_roll.processes", {}, ["processes", "at least one"]),
    ("experiments.swiss_roll.nets.mlp.kind", "mpl", ["'mpl'", "'mlp'"]),
    ("experiments.digits.nets.unet.attention", [3], ["attention level 3", "0 to 1"]),
    ("experiments.digits.training.steps", 0, ["training.steps", "0", "greater than or equal to 1"]),
    ("experiments.digits.training.lr", -1, ["training.lr", "-1"]),
    ("experiments.digits.training.schedule", "linear", ["schedule", "'cosine' or 'constant'"]),
    ("experiments.digits.training.lr", float("nan"), ["training.lr", "finite"]),
    ("experiments.digits.sampling.sampler", "ddimm", ["sampler", "'ddim'"]),
    ("experiments.digits.dataset", "digitz", ["'digitz'", "'digits'"]),
    (
        "experiments.digits",
        {
            "dataset": "digits",
            "processes": {"vp": {}},
            "nets": {"unet": {}},
            "evaluation": {"likelihood_items": 0},
            "selection": {"metric": "bits_per_dim"},
        },
        ["likelihood_items: 0", "'bits_per_dim'", "at least 1"],
    ),
    ("experiments.digits.seeds", [1, 1], ["seeds", "twice"]),
    ("experiments.digits.seeds", [-1], ["seeds", "[-1]"]),
    ("experiments.digits.trainnig", {}, ["'trainnig'", "'training'"]),
    ("experiments.digits.training", 5, ["training", "mapping"]),
    ("datasets.digits.validation", 0.8, ["validation", "lower"]),
    ("datasets.emoji.size", 4, ["size", "4"]),
    ("datasets.mine", {"kind": "folder"}, ["datasets.mine.path", "missing"]),
    ("active", ["digit"], ["'digit'", "'digits'"]),
    ("active", "digits", ["active", "list"]),
    ("activ", [], ["'activ'", "'active'"]),
    ("experiments.digits.nets", {"mlp": {}}, ["nets.mlp", "'digits'", "unet"]),
    ("experiments.digits.selection", {"metric": "local"}, ["'local'", "'digits'", "fd"]),
    ("experiments.digits", {"seeds": [0]}, ["digits.dataset", "missing"]),
    ("active", [["digits"]], ["active", "experiment"]),
    ("active", ["digits", "digits"], ["active", "twice"]),
    ("experiments.digits.training.steps", True, ["training.steps", "True", "number"]),
    ("experiments.digits.training.betas", [1.5, 2], ["training.betas", "1.5"]),
    ("experiments.digits.nets.unet.multipliers", [0, -2], ["multipliers", "0"]),
    ("experiments.digits.evaluation.nfe_curve", [-3], ["nfe_curve", "-3"]),
    ("experiments.digits.selection", {"metric": "fdd"}, ["selection.metric", "'fd'"]),
    ("experiments.digits.sampling.sigma_min", 1e9, ["sigma_min", "less than 10"]),
    ("experiments.digits.sampling.sampler", "heun", ["'heun'", "'cld'", "multistep_sde"]),
    ("experiments.digits.sampling.sampler", "sscs", ["'sscs'", "'vp'", "ddim"]),
    ("experiments.digits.dataset", ["digits"], ["dataset", "['digits']"]),
    ("experiments.digits.processes.vp.kind", ["vp"], ["kind", "['vp']"]),
    ("experiments.../docs", {}, ["'../docs'", "not a name"]),
]


@pytest.mark.parametrize(("path", "value", "words"), MISTAKES)
def test_a_mistake_gets_one_sentence(path: str, value: Any, words: list[str]) -> None:
    values = copy.deepcopy(VALUES)
    *parents, last = ["experiments", "../docs"] if ".." in path else path.split(".")
    entry = values
    for parent in parents:
        entry = entry[parent]
    entry[last] = value
    with pytest.raises(UsageError) as error:
        parse_config(values)
    text = str(error.value)
    assert all(word in text for word in words), text
    assert "\n" not in text


def test_a_missing_or_broken_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        load_config(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("a: [1")
    with pytest.raises(UsageError, match="not valid YAML"):
        load_config(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("active: [a]\nactive: [b]\n")
    with pytest.raises(UsageError, match=r"params\.yaml.*line 2: 'active' is given twice"):
        load_config(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("- 1")
    with pytest.raises(UsageError, match="write a mapping"):
        load_config(tmp_path / "params.yaml")
