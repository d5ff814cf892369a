"""params.yaml: the shipped file is valid, and each kind of mistake gets one sentence."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from sgm_core.config import load_config, parse_config
from sgm_core.config.process import PROCESSES
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


FD_INF: dict[str, Any] = {
    "dataset": "digits",
    "processes": {"vp": {}},
    "nets": {"unet": {}},
    "selection": {"metric": "fd_inf"},
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
    (
        "experiments.digits.selection",
        {"metric": "coverage"},
        ["selection.metric", "'coverage' cannot rank cells"],
    ),
    (
        "experiments.digits",
        FD_INF | {"evaluation": {"samples": 200}},
        ["evaluation.samples: 200", "fd_inf", "at least 260"],
    ),
    (
        "experiments.digits",
        FD_INF | {"reference": {"extractor": "inception", "weights": "w.pth"}},
        ["selection.metric", "no interval with the features of inception", "fd or kid"],
    ),
    (
        "experiments.digits",
        {
            "dataset": "digits",
            "processes": {"vp": {}},
            "nets": {"unet": {}},
            "evaluation": {"samplers": ["ddim", "sscs"]},
        },
        ["evaluation.samplers: 'sscs'", "none of the processes (vp)", "remove it"],
    ),
    ("experiments.digits.sampling.sigma_min", 1e9, ["sigma_min", "less than 10"]),
    ("experiments.digits.sampling.sampler", "heun", ["'heun'", "'cld'", "multistep_sde"]),
    ("experiments.digits.sampling.sampler", "sscs", ["'sscs'", "'vp'", "ddim"]),
    ("experiments.digits.dataset", ["digits"], ["dataset", "['digits']"]),
    ("experiments.digits.processes.vp.kind", ["vp"], ["kind", "['vp']"]),
    ("experiments.digits.training.steps", 10**10, ["training.steps", "1000000000"]),
    ("experiments.digits.training.betas", [1, 2, 3], ["betas: [1, 2, 3]", "at most 2 entries"]),
    ("experiments.digits.training.betas", [0.9], ["training.betas: [0.9]", "too few entries"]),
    ("experiments.digits.evaluation.under", "vp", ["under: 'vp'", "write a list"]),
    ("experiments.digits.processes.ve.sigma_max", 1e30, ["ve", "sigma_max = 1e+30", "lower it"]),
    ("experiments.digits.processes.mine", {"kind": "custom.ou"}, ["no class", "custom.ou:CLASS"]),
    ("experiments.digits.processes.mine", {"kind": "custom/ou.py"}, ["write custom.ou:CLASS"]),
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


UNUSABLE: list[tuple[str, dict[str, Any], list[str]]] = [
    ("vp", {"beta_max": 1000}, ["beta_max = 1000.0", "noise level 3.84e+108", "lower"]),
    ("vp", {"beta_max": 1e300}, ["beta_max = 1e+300", "noise level inf", "lower"]),
    ("vp", {"beta_max": 1}, ["beta_max = 1.0", "keeps the data", "raise"]),
    (
        "vp",
        {"schedule": "cosine", "beta_max": 10},
        ["beta_max = 10.0", "schedule: cosine", "leave"],
    ),
    ("vp", {"s": 0.1}, ["s = 0.1", "schedule: linear", "leave it out"]),
    ("subvp", {"beta_max": 1e30}, ["beta_max = 1e+30", "lower"]),
    ("ve", {"sigma_max": 1e30}, ["sigma_max = 1e+30", "lower it"]),
    ("ve", {"sigma_max": 1.0}, ["sigma_max = 1.0", "keeps the data", "raise it"]),
    ("ve", {"sigma_min": 1e-300}, ["sigma_min = 1e-300", "raise it"]),
    ("edm", {"sigma_max": 1e30}, ["sigma_max = 1e+30", "lower it"]),
    ("flow", {"eps": 1e-300}, ["eps = 1e-300", "raise it"]),
    ("cld", {"beta": 50}, ["m_inv = 4.0, beta = 50.0", "lower m_inv or beta"]),
    ("cld", {"beta": 200}, ["beta = 200.0", "lower"]),
    ("cld", {"beta": 1e300}, ["beta = 1e+300", "lower"]),
    ("cld", {"beta": 1e-300}, ["beta = 1e-300", "raise"]),
    ("cld", {"m_inv": 1e12}, ["m_inv", "1000000"]),
    ("cld", {"gamma": 1e-300}, ["gamma", "1e-300"]),
    ("psld", {"beta": 500}, ["gamma = 0.01, nu = 4.01, beta = 500.0", "lower"]),
    ("psld", {"gamma": 4.0099999}, ["nu - gamma", "inverse mass"]),
    ("hold3", {"omega": 40}, ["omega = 40.0, beta = 4.0", "lower omega or beta"]),
    ("hold3", {"beta": 1e9}, ["beta = 1000000000.0", "lower"]),
    ("hold3", {"beta": 1e-300}, ["beta = 1e-300", "raise"]),
]


@pytest.mark.parametrize(("kind", "fields", "words"), UNUSABLE)
def test_a_process_that_overflows_or_keeps_the_data_is_refused(
    kind: str, fields: dict[str, Any], words: list[str]
) -> None:
    values = copy.deepcopy(VALUES)
    values["experiments"]["digits"]["processes"] = {"mine": {"kind": kind, **fields}}
    with pytest.raises(UsageError) as error:
        parse_config(values)
    text = str(error.value)
    assert text.startswith("experiments.digits.processes.mine")
    assert all(word in text for word in words), text
    assert "\n" not in text


# Each process next to the limits of what is accepted, at both ends.
EDGES: list[tuple[str, dict[str, Any]]] = [
    ("vp", {"beta_max": 55.0}),
    ("vp", {"beta_max": 3.2}),
    ("vp", {"beta_min": 1e-300}),
    ("vp", {"schedule": "cosine", "s": 0.99}),
    ("subvp", {"beta_max": 55.0}),
    ("subvp", {"beta_max": 3.5}),
    ("ve", {"sigma_min": 1e-6, "sigma_max": 1e6}),
    ("ve", {"sigma_max": 2.0}),
    ("edm", {"sigma_min": 1e-6, "sigma_max": 1e6}),
    ("edm", {"sigma_max": 2.0}),
    ("flow", {"eps": 1.1e-6}),
    ("flow", {"eps": 0.1}),
    ("cld", {"beta": 8.4}),
    ("cld", {"beta": 1.15}),
    ("cld", {"m_inv": 1e6, "beta": 0.0168}),
    ("cld", {"m_inv": 1e-6, "beta": 16_800.0}),
    ("cld", {"beta": 8.4, "gamma": 1e-6}),
    ("cld", {"gamma": 100.0}),
    ("psld", {"beta": 16.0}),
    ("psld", {"beta": 2.5}),
    ("psld", {"gamma": 4.007, "beta": 6.8}),
    ("psld", {"gamma": 0.0, "kappa": 1e-6}),
    ("psld", {"kappa": 100.0}),
    ("hold3", {"beta": 9.7}),
    ("hold3", {"beta": 1.8}),
    ("hold3", {"omega": 1e6, "beta": 1.9e-5}),
    ("hold3", {"omega": 1e-6, "beta": 1.9e7, "aux_variance": 1e-6}),
    ("hold3", {"aux_variance": 100.0}),
]


@pytest.mark.parametrize(("kind", "fields"), EDGES)
def test_all_that_is_accepted_can_be_computed_with(kind: str, fields: dict[str, Any]) -> None:
    """Kernels, levels, grids and samplers at the limits of the parameters."""
    from sgm_core.oracle import gaussian_denoiser
    from sgm_core.process import make_process
    from sgm_core.process.probe import probe
    from sgm_core.sample import make_sampler

    process = make_process(kind, **fields)
    probe(process)
    level = PROCESSES[kind](**fields).largest_level()
    assert level == pytest.approx(process.sigma_range()[1], rel=1e-9)
    least = PROCESSES[kind](**fields).smallest_level()
    assert least is None or least == pytest.approx(process.sigma_range()[0], rel=1e-5)
    oracle = gaussian_denoiser(0.2, 0.5, (2,), process)
    lowest = max(0.002, process.sigma_range()[0])
    langevin = PROCESSES[kind].langevin
    for name in ("ddim", "multistep_sde", "euler_maruyama", "sscs" if langevin else "heun"):
        x = make_sampler(name, steps=25, sigma_min=lowest)(oracle, (400, 2), 0)
        assert bool(x.isfinite().all()), name
        if name in ("ddim", "multistep_sde"):  # with 25 steps over at most 12 decades
            assert float(x.mean()) == pytest.approx(0.2, abs=0.15), name
            assert float(x.std()) == pytest.approx(0.5, abs=0.25), name


@pytest.mark.parametrize("where", ["processes", "under"])
def test_a_grid_that_ends_above_the_noise_is_refused(where: str) -> None:
    values = copy.deepcopy(VALUES)
    digits = values["experiments"]["digits"]
    digits["processes"] = {"low": {"kind": "ve", "sigma_max": 3.0}}
    digits["sampling"] = {"sigma_min": 2.9}
    parse_config(values)
    if where == "under":
        digits["processes"], digits["sampling"]["sigma_min"] = {"vp": {}}, 9.9
        digits["evaluation"] = {"under": ["cld", "ve"]}
        parse_config(values)  # the defaults reach further
        return
    digits["sampling"] = {"sigma_min": 5, "sampler": "ode"}
    with pytest.raises(
        UsageError, match=r"digits\.sampling\.sigma_min: 5\.0 is not below 3, .*'low'"
    ):
        parse_config(values)


def test_reading_it_imports_no_torch() -> None:
    code = "import sys; from sgm_core.config import load_config; load_config(sys.argv[1]); "
    code += "assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code, str(ROOT / "params.yaml")], check=True, cwd=ROOT)


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
