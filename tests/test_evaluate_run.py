"""References and whole evaluations on small data, with models whose faults are planted."""

from __future__ import annotations

import functools
import json
import shutil
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from sgm_core.config.data import DigitsParams, SwissRollParams
from sgm_core.data.dataset import load_dataset
from sgm_core.data.prepare import prepare
from sgm_core.ending import Terminated
from sgm_core.errors import SgmError, UsageError
from sgm_core.evaluate import features
from sgm_core.evaluate.floors import floor_sizes, nearest_floor
from sgm_core.evaluate.reference import make_reference
from sgm_core.evaluate.run import evaluate

SAMPLING = {
    "sampler": "multistep",
    "steps": 10,
    "grid": "log",
    "sigma_min": 0.002,
    "guidance": 1.0,
}
EVALUATION = {
    "samples": 400,
    "seed": 3,
    "bootstrap": 30,
    "nfe_curve": (5, 10),
    "curve_samples": 100,
    "batch": 150,
}


def quiet(_: object) -> None:
    pass


class Memory:
    """A model that knows the train split: `damage(x, rng)` spoils what it draws.

    Item i is decided by its seed and the class asked for, as for a real model.
    """

    def __init__(self, dataset: Path, damage=lambda x, rng: x) -> None:
        self.train = load_dataset(dataset).split("train")
        self.damage = damage
        self.calls: list[dict] = []

    def sample(self, n, *, seed, steps, label=None, batch, **settings):
        self.calls.append({"n": n, "seed": seed, "steps": steps, **settings})
        out = np.empty((n, *self.train.x.shape[1:]))
        for i in range(n):
            rng = np.random.default_rng(seed + i)
            rows = np.arange(len(self.train.x))
            if label is not None:
                rows = np.flatnonzero(self.train.labels == label[i])
            out[i] = self.damage(self.train.x[rng.choice(rows)].astype(float), rng)
        return types.SimpleNamespace(x=out, labels=label, nfe=steps, seconds=0.5, cpu_seconds=0.25)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Prepared datasets and references: a small swiss_roll, and digits with a hasty network."""
    root = tmp_path_factory.mktemp("evaluate")
    prepare("swiss_roll", SwissRollParams(n=4000), root, root / "swiss_roll", quiet)
    prepare("digits", DigitsParams(), root, root / "digits", quiet)
    with pytest.MonkeyPatch.context() as patch:
        hasty = functools.partial(features.train_network, steps=150)
        patch.setattr(features, "train_network", hasty)
        for name in ("swiss_roll", "digits"):
            make_reference(root / name, root / f"{name}-reference", quiet)
    return root


@pytest.fixture
def run(places, tmp_path, monkeypatch):
    """run(name, damage, ...) evaluates a `Memory` and returns (summary, metrics.json, model)."""

    def go(name, damage=lambda x, rng: x, events=None, reference=None, **changes):
        data = load_dataset(places / name)
        model = Memory(places / name, damage)
        module = types.ModuleType("sgm_core.model")
        module.ScoreModel = types.SimpleNamespace(load=lambda folder, device: model)
        monkeypatch.setitem(sys.modules, "sgm_core.model", module)
        figures = types.ModuleType("sgm_core.report.figures")
        figures.cell_pictures = lambda model, data, samples, out: (out / "samples.png").touch()
        monkeypatch.setitem(sys.modules, "sgm_core.report.figures", figures)
        folder = tmp_path / "model"
        folder.mkdir(exist_ok=True)
        config = {"data": {"labels": data.labels, "shape": list(data.shape)}}
        (folder / "config.json").write_text(json.dumps(config))
        out = tmp_path / "out"
        summary = evaluate(
            folder,
            places / name,
            reference or places / f"{name}-reference",
            SAMPLING,
            EVALUATION | changes,
            out,
            quiet if events is None else events.append,
        )
        text = (out / "metrics.json").read_text()
        return summary, json.loads(text, parse_constant=pytest.fail), model

    return go


def by_name(result, split="test"):
    return {r["metric"]: r for r in result["rows"] if r["split"] == split}


def test_swiss_roll_samples_as_good_as_real_are_at_the_floor(run, tmp_path):
    summary, result, model = run("swiss_roll")
    for split in ("validation", "test"):
        rows = by_name(result, split)
        assert list(rows) == [
            "sliced_w2", "w2", "energy", "mmd", "off", "local", "mode_balance",
            "precision", "recall", "density", "coverage", "memorised",
        ]  # fmt: skip
        assert rows.pop("memorised")["value"] == 1.0  # it draws from the training data itself
        for row in rows.values():
            assert row["low"] <= row["value"] <= row["high"]
            assert row["floor_low"] <= row["floor"] <= row["floor_high"]
            assert row["low"] < row["floor_high"]
            assert row["details"]["floor_n"] == 500
    assert rows["off"]["value"] == pytest.approx(0.002, abs=0.0002)
    assert result["main_metric"] == "sliced_w2"
    assert summary["test"]["local"] == by_name(result)["local"]["value"]
    assert result["nfe"] == 10
    assert result["seconds_per_sample"] == pytest.approx(3 * 0.5 / 400)
    assert [c["nfe"] for c in result["curve"] if c["metric"] == "sliced_w2"] == [5, 10]
    # the curve's point at the usual steps needs no new samples
    assert [c["steps"] for c in model.calls] == [10, 10, 10, 5]
    stored = load_file(str(tmp_path / "out" / "samples.safetensors"))
    assert stored["x"].shape == (400, 2)
    assert stored["x"].dtype == np.float32
    assert (tmp_path / "out" / "samples.png").exists()


def test_a_selection_metric_is_the_main_one(run):
    assert run("swiss_roll", metric="local")[1]["main_metric"] == "local"
    with pytest.raises(UsageError, match="'fd' cannot be measured on this data"):
        run("swiss_roll", metric="fd")


def test_blurred_points_are_worse_than_the_floor(run):
    _, result, _ = run("swiss_roll", lambda x, rng: x + 0.03 * rng.standard_normal(2))
    rows = by_name(result)
    assert rows["off"]["low"] > 3 * rows["off"]["floor_high"]
    assert rows["local"]["low"] > rows["local"]["floor"]


def test_digits_that_copy_the_training_set_are_caught(run):
    _, result, _ = run("digits")
    rows = by_name(result)
    assert set(rows) == {
        "fd", "fd_inf", "kid", "precision", "recall", "density", "coverage", "memorised", "agreement",
        "class_balance",
    }  # fmt: skip
    assert rows["memorised"]["value"] == 1.0
    assert rows["memorised"]["floor"] < 0.05
    assert rows["agreement"]["value"] == 1.0
    assert rows["agreement"]["floor"] > 0.97
    assert rows["class_balance"]["value"] < 0.02
    assert rows["fd"]["value"] < 2 * rows["fd"]["floor"]
    details = rows["fd"]["details"]
    assert details["extractor"]["sha256"]
    assert details["seeds"] == [3, 402]
    assert details["reference"]["split"] == "test"
    assert {"sampler", "grid", "steps", "nfe"} <= set(details)


def test_noisy_digits_are_worse_everywhere(run):
    _, result, _ = run(
        "digits", lambda x, rng: np.clip(x + 5 * rng.standard_normal(x.shape), 0, 16)
    )
    rows = by_name(result)
    assert rows["fd"]["low"] > rows["fd"]["floor_high"]
    assert rows["precision"]["value"] < rows["precision"]["floor"]
    assert rows["agreement"]["value"] < rows["agreement"]["floor"]
    assert rows["memorised"]["value"] < 0.2


def test_samples_that_are_not_finite_give_null(run):
    def sometimes(x, rng):
        return x * np.nan if rng.random() < 0.25 else x

    for name in ("swiss_roll", "digits"):
        summary, result, _ = run(name, sometimes)
        assert all(r["value"] is None and r["low"] is None for r in result["rows"])
        assert result["rows"][0]["details"]["finite"] == pytest.approx(0.75, abs=0.07)
        assert summary["finite"] == result["finite"] < 1
        assert all(c["value"] is None for c in result["curve"])


def test_huge_samples_count_as_diverged(run):
    _, result, _ = run("swiss_roll", lambda x, rng: x * 1e200)
    assert result["finite"] == 0.0


@pytest.mark.parametrize("name", ["swiss_roll", "digits"])
def test_same_settings_same_numbers_at_any_batch(run, name):
    _, first, _ = run(name)
    _, again, _ = run(name, batch=400)
    assert [r["value"] for r in first["rows"]] == [r["value"] for r in again["rows"]]
    assert [r["low"] for r in first["rows"]] == [r["low"] for r in again["rows"]]


def test_progress_is_reported_to_the_end(run):
    events: list[dict] = []
    run("swiss_roll", events=events)
    progress = [e for e in events if e["event"] == "progress"]
    assert progress[-1]["step"] == progress[-1]["steps"] == 3 * 10 + 1 * 5
    assert progress[-1]["phase"] == "evaluate"


def test_a_picture_that_fails_keeps_the_metrics(run, monkeypatch):
    events: list[dict] = []
    monkeypatch.setattr(Path, "touch", lambda self: 1 / 0)
    _, result, _ = run("swiss_roll", events=events)
    assert result["rows"]
    assert any("pictures were not drawn" in e.get("text", "") for e in events)


@pytest.mark.parametrize("error", [Terminated("stopped by SIGTERM"), MemoryError()])
def test_a_picture_does_not_swallow_a_stop(run, monkeypatch, error):
    def stop(self):
        raise error

    monkeypatch.setattr(Path, "touch", stop)
    with pytest.raises(type(error)):
        run("swiss_roll")


def test_the_curve_leaves_out_wrong_steps_but_does_not_swallow_a_stop(run, monkeypatch):
    def failing(error):
        draw = Memory.sample

        def sample(self, n, *, steps, **rest):
            if steps == 5:
                raise error
            return draw(self, n, steps=steps, **rest)

        monkeypatch.setattr(Memory, "sample", sample)

    with monkeypatch.context() as monkeypatch:
        for error in (UsageError("steps: 5 is odd"), SgmError("sampler 'ode' did not finish")):
            failing(error)
            assert {c["nfe"] for c in run("swiss_roll")[1]["curve"]} == {10}
        failing(Terminated("stopped by SIGTERM"))
        with pytest.raises(Terminated):
            run("swiss_roll")


def test_labelled_points_are_asked_for_in_the_proportions_of_the_data(run, places, tmp_path):
    from sgm_core.config.data import TableParams

    x = np.random.default_rng(0).standard_normal(1000)
    rows = [f"{v},{'rare' if i % 10 == 0 else 'common'}" for i, v in enumerate(x)]
    (tmp_path / "p.csv").write_text("x,y\n" + "\n".join(rows))
    params = TableParams(path="p.csv", label="y")
    prepare("skewed", params, tmp_path, places / "skewed", quiet)
    make_reference(places / "skewed", places / "skewed-reference", quiet)
    run("skewed")
    labels = load_file(str(tmp_path / "out" / "samples.safetensors"))["labels"]
    assert np.bincount(labels).tolist() == [360, 40]


def test_a_reference_of_other_data_is_refused(run, places):
    with pytest.raises(SgmError, match=r"was made from other data .* make it again with"):
        run("swiss_roll", reference=places / "digits-reference")


@pytest.mark.parametrize("file", ["reference.json", "statistics.safetensors"])
def test_an_altered_reference_is_refused(run, places, tmp_path, file):
    copy = tmp_path / "reference"
    shutil.copytree(places / "digits-reference", copy)
    data = bytearray((copy / file).read_bytes())
    data[-40] ^= 1
    (copy / file).write_bytes(bytes(data))
    with pytest.raises(SgmError, match="altered|damaged"):
        run("digits", reference=copy)


def test_a_model_of_another_shape_is_refused(run, places, tmp_path):
    run("digits")
    config = tmp_path / "model" / "config.json"
    config.write_text(json.dumps({"data": {"labels": [], "shape": [3, 8, 8]}}))
    with pytest.raises(SgmError, match=r"trained on items of shape \(3, 8, 8\)"):
        evaluate(
            tmp_path / "model", places / "digits", places / "digits-reference",
            SAMPLING, EVALUATION, tmp_path / "out", quiet,
        )  # fmt: skip


def test_reference_is_the_same_bytes_again(places, tmp_path):
    again = make_reference(places / "swiss_roll", tmp_path / "again", quiet)
    written = (places / "swiss_roll-reference" / "reference.json").read_bytes()
    assert (tmp_path / "again" / "reference.json").read_bytes() == written
    assert again["digest"] == json.loads(written)["digest"]


def test_reference_holds_statistics_of_every_split(places):
    info = json.loads((places / "digits-reference" / "reference.json").read_text())
    arrays = load_file(str(places / "digits-reference" / "statistics.safetensors"))
    counts = load_dataset(places / "digits").meta["counts"]
    for split in ("train", "validation", "test"):
        assert arrays[f"{split}.features"].shape == (counts[split], 64)
        mean = arrays[f"{split}.features"].astype(np.float64).mean(0)
        assert arrays[f"{split}.mean"] == pytest.approx(mean)
    assert info["extractor"]["task"] == "classifier"
    assert info["extractor"]["accuracy"]["test"] > 0.7


def test_ten_items_are_enough_to_be_told_that_they_are_too_few(tmp_path, run, places):
    from sgm_core.config.data import TableParams

    raw = np.random.default_rng(0).standard_normal((10, 3))
    np.save(tmp_path / "few.npy", raw)
    prepare("few", TableParams(path="few.npy"), tmp_path, places / "few", quiet)
    make_reference(places / "few", places / "few-reference", quiet)
    _, result, _ = run("few")
    energy = by_name(result)["energy"]
    assert energy["value"] is None or energy["n_reference"] >= 2
    if energy["value"] is None:
        assert "needs at least 2 items" in energy["details"]["reason"]


def test_floor_sizes_reach_half_the_train_split():
    assert floor_sizes(80_000) == [100, 500, 1000, 2000, 5000, 10_000]
    assert floor_sizes(1257) == [100, 500, 628]
    assert floor_sizes(8) == [4]
    floors = [{"metric": "fd", "split": "test", "n": n} for n in (100, 1000)]
    assert nearest_floor(floors, "fd", "test", 300)["n"] == 100
    assert nearest_floor(floors, "fd", "test", 400)["n"] == 1000
    assert nearest_floor(floors, "kid", "test", 400) is None


@pytest.mark.slow
def test_reference_of_digits_names_held_out_digits(places, tmp_path):
    info = make_reference(places / "digits", tmp_path / "reference", quiet)
    assert info["extractor"]["accuracy"]["test"] > 0.95
    again = make_reference(places / "digits", tmp_path / "again", quiet)
    assert again["digest"] == info["digest"]
