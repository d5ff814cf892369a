"""ScoreModel: trains, samples reproducibly, saves without pickle, and explains bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sgm_core import ScoreModel
from sgm_core.config.process import PROCESSES
from sgm_core.errors import SgmError, UsageError
from sgm_core.process import make_process

NET = {"kind": "unet", "channels": 8, "attention": [1], "heads": 2}


@pytest.fixture(scope="module")
def model() -> ScoreModel:
    """A small class-conditional image model after a few steps, so that labels matter."""
    made = ScoreModel(
        num_timesteps=100, img_size=(9, 7), num_channels=1, labels=["a", "b"], net=NET,
        process="cld", data_range=(0, 16), training={"label_dropout": 0.0, "warmup": 5, "lr": 5e-3},
    )  # fmt: skip
    rng = np.random.default_rng(0)
    for _ in range(120):
        labels = rng.integers(2, size=16)
        made.train_step(rng.normal(8, 1, (16, 1, 9, 7)) + 6 * labels[:, None, None, None], labels)
    return made


def test_training_on_points_reaches_their_law() -> None:
    points = ScoreModel(shape=(2,), training={"lr": 3e-3, "steps": 400}, sampling={"steps": 20})
    rng = np.random.default_rng(1)
    mixing = np.array([[1.0, 0.0], [0.8, 0.3]])
    losses = [points.train_step(rng.normal(size=(128, 2)) @ mixing.T) for _ in range(400)]
    assert np.mean(losses[-50:]) < 0.87 * np.mean(losses[:10])
    drawn = points.generate(3000, seed=5)
    assert drawn.shape == (3000, 2)
    assert drawn.dtype == np.float64
    np.testing.assert_allclose(np.cov(drawn.T), mixing @ mixing.T, atol=0.25)


def test_a_model_goes_on_learning_however_long_it_is_trained() -> None:
    """Without `steps` nobody knows the end, so the learning rate does not fall to zero."""
    open_end = ScoreModel(shape=(1,), training={"warmup": 0})
    planned = ScoreModel(shape=(1,), training={"warmup": 0, "steps": 3})
    for model, moves in ((open_end, True), (planned, False)):
        for _ in range(4):
            model.train_step(np.ones((4, 1)))
        before = [p.clone() for p in model.net.parameters()]
        assert model._state is not None
        model._state.step = 1_000_000 if moves else model._state.step
        model.train_step(np.ones((4, 1)))
        changed = any(not p.equal(b) for p, b in zip(model.net.parameters(), before, strict=True))
        assert changed is moves


def test_a_seed_means_one_picture(model: ScoreModel) -> None:
    together = model.generate(6, seed=4, steps=5, label=1)
    parts = model.generate(6, seed=4, steps=5, label=1, batch=4)
    np.testing.assert_allclose(together, parts, atol=1e-4)
    shifted = model.generate(2, seed=8, steps=5, label=1)
    np.testing.assert_allclose(together[4:], shifted, atol=1e-4)
    assert not np.allclose(together[0], together[1])
    assert together.dtype == np.float32
    assert together.min() >= 0
    assert together.max() <= 16


def test_labels_by_name_index_or_in_turn(model: ScoreModel) -> None:
    by_name = model.sample(2, steps=4, label="b")
    np.testing.assert_array_equal(by_name.x, model.generate(2, steps=4, label=1))
    in_turn = model.sample(4, steps=4)
    assert in_turn.labels is not None
    assert in_turn.labels.tolist() == [0, 1, 0, 1]
    dark, light = model.generate(8, steps=10, label=0), model.generate(8, steps=10, label=1)
    assert light.mean() > dark.mean() + 2
    guided = model.sample(8, steps=10, label=1, guidance=2.0)
    assert guided.nfe == 20
    assert not np.allclose(guided.x, light)


def test_the_callback_sees_every_step_and_can_stop(model: ScoreModel) -> None:
    seen: list[tuple[int, int, float]] = []

    def watch(step: int, steps: int, t: float, sigma: float, x: Any, x0: Any) -> bool:
        seen.append((step, steps, sigma))
        assert x.shape == x0.shape == (3, 1, 9, 7)
        return step < 4

    result = model.sample(3, steps=9, callback=watch)
    assert [s[0] for s in seen] == [1, 2, 3, 4]
    assert seen[0][2] > seen[-1][2]
    assert result.nfe == 4


def test_save_and_load_keep_the_model(model: ScoreModel, tmp_path: Path) -> None:
    model.save(tmp_path / "m")
    assert sorted(f.name for f in (tmp_path / "m").iterdir()) == [
        "config.json",
        "model.safetensors",
    ]
    loaded = ScoreModel.load(tmp_path / "m")
    np.testing.assert_array_equal(
        loaded.generate(3, steps=4, seed=2), model.generate(3, steps=4, seed=2)
    )
    assert loaded.labels == ["a", "b"]


@pytest.mark.parametrize("place", [0, 7, 500, -1])
def test_altered_weights_are_refused(model: ScoreModel, tmp_path: Path, place: int) -> None:
    model.save(tmp_path)
    file = tmp_path / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(data)
    with pytest.raises(SgmError, match="altered"):
        ScoreModel.load(tmp_path)
    file.write_bytes(bytes(data)[:-10])
    with pytest.raises(SgmError, match="altered"):
        ScoreModel.load(tmp_path)


def test_a_folder_without_a_model_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no model"):
        ScoreModel.load(tmp_path)
    (tmp_path / "config.json").write_text("{")
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(SgmError, match=r"config\.json is damaged"):
        ScoreModel.load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(SgmError, match="format 99"):
        ScoreModel.load(tmp_path)


def test_the_score_of_an_untrained_model_is_that_of_gaussian_data() -> None:
    """With zero output D = c_skip y, so the score is -y / (sigma_d^2 + sigma^2)."""
    model = ScoreModel(shape=(2,), process="cld", scale=2.0, center=1.0)
    x = np.array([[3.0, -1.0]])
    sigma = float(model.process.sigma_eff(0.3))
    expected = -((x - 1) / 2) / (1 + sigma**2) / 2
    np.testing.assert_allclose(model.score(x, 0.3), expected, rtol=1e-9)


def gaussian(process: str = "vp", **fields: Any) -> ScoreModel:
    """With zero output the model is the exact denoiser of N(center, scale^2 sigma_d^2)."""
    return ScoreModel(shape=(2,), process=process, scale=[2.0, 0.5], center=[1.0, -3.0], **fields)


@pytest.mark.parametrize("process", sorted(PROCESSES))
def test_one_checkpoint_samples_under_every_process(process: str) -> None:
    model = gaussian("cld")
    seen: list[float] = []

    def watch(step: int, steps: int, t: float, sigma: float, x: Any, x0: Any) -> None:
        seen.append(sigma)
        assert sigma == pytest.approx(float(model.denoiser(process).process.sigma_eff(t)))
        if step == steps:  # the statistic of this process has come down to the data
            np.testing.assert_allclose(x, x0, atol=1.0)

    drawn = model.sample(1000, steps=60, process=process, callback=watch)
    np.testing.assert_allclose(drawn.x.mean(0), [1, -3], atol=0.2)
    np.testing.assert_allclose(drawn.x.std(0), [2.0, 0.5], rtol=0.1)
    assert len(seen) == 60
    assert seen == sorted(seen, reverse=True)
    assert model.denoiser(process).process.kind == process


def test_the_process_trained_under_is_the_default() -> None:
    model = gaussian("cld")
    expected = model.generate(3, steps=4)
    np.testing.assert_array_equal(model.generate(3, steps=4, process="cld"), expected)
    slow = {"kind": "cld", "beta": 2.0}
    assert not np.allclose(model.generate(3, steps=4, process=slow), expected)
    made = make_process("cld", beta=2.0)
    np.testing.assert_array_equal(
        model.generate(3, steps=4, process=made), model.generate(3, steps=4, process=slow)
    )


def test_options_are_the_samplers_own(tmp_path: Path) -> None:
    model = gaussian(sampling={"sampler": "ddim", "steps": 5, "options": {"eta": 1.0}})
    noisy = model.generate(3)
    still = model.generate(3, options={"eta": 0.0})
    assert not np.allclose(noisy, still)
    np.testing.assert_array_equal(model.generate(3, sampler="ddim"), noisy)
    # Another sampler does not inherit an option that it may not have.
    other = model.generate(3, sampler="ancestral")
    np.testing.assert_array_equal(other, gaussian().generate(3, sampler="ancestral", steps=5))
    model.save(tmp_path)
    loaded = ScoreModel.load(tmp_path)
    np.testing.assert_array_equal(loaded.generate(3), noisy)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["sampling"]["options"]  # as it was written before there were options
    (tmp_path / "config.json").write_text(json.dumps(config))
    np.testing.assert_array_equal(ScoreModel.load(tmp_path).generate(3), still)


def test_a_given_start_and_a_wrapped_denoiser() -> None:
    model = gaussian("cld")
    process = model.denoiser("ve").process
    level, data = 3.0, np.array([[1.0, -3.0], [5.0, -2.0]])
    start = model.to_model(data)[:, None] * float(process.mean(process.time_of(level)))
    rest = {"process": "ve", "sampler": "ddim", "steps": 40, "sigma_max": level, "sigma_min": 1e-2}
    drawn = model.generate(2, start=start, batch=1, **rest)
    # The flow of Gaussian data shrinks a state by the ratio of the standard deviations.
    shrunk = (data - [1, -3]) * np.sqrt((1 + 1e-4) / (1 + level**2)) + [1, -3]
    np.testing.assert_allclose(drawn, shrunk, atol=0.1)

    def pinned(denoiser: Any) -> Any:
        def call(u: Any, t: Any, **cond: Any) -> Any:
            return 0 * denoiser(u, t, **cond) + 1.0

        call.process = denoiser.process  # type: ignore[attr-defined]
        return call

    result = model.sample(3, wrap=pinned, steps=4)
    np.testing.assert_allclose(result.x, np.tile([3.0, -2.5], (3, 1)))
    assert result.nfe == 4


@pytest.mark.parametrize("process", [None, "cld", "ve"])
def test_the_log_density_is_in_the_datas_units(process: str | None) -> None:
    x = np.array([[1.0, -3.0], [4.0, -2.2], [-3.0, -3.5]])
    z = (x - [1, -3]) / [2.0, 0.5]
    expected = -0.5 * (z**2).sum(1) - np.log(2 * np.pi) - np.log(2.0 * 0.5)
    found = gaussian().log_prob(x, process=process, sigma_min=1e-3)
    tolerance = 1e-3 if process != "ve" else 1e-3 + 2e-4 * (1 + (z**2).sum(1).max())
    np.testing.assert_allclose(found.value.numpy(), expected, atol=tolerance)


def test_the_papers_bound_is_in_the_datas_units_and_below_the_density() -> None:
    x = np.array([[1.0, -3.0], [4.0, -2.2], [-3.0, -3.5]])
    for process in ("cld", "hold3"):
        model = gaussian(process)
        exact = model.log_prob(x, sigma_min=1e-2).value
        lower = model.bound(x, draws=2, sigma_min=1e-2)
        assert lower.draws == 2 and lower.process == process
        # The exact denoiser closes the gap up to the noise of the auxiliary states.
        np.testing.assert_allclose(lower.value.numpy(), exact.numpy(), atol=0.05)
    other = gaussian("vp").bound(x, process="cld", sigma_min=1e-2)
    np.testing.assert_allclose(
        other.value.numpy(), gaussian("cld").log_prob(x, sigma_min=1e-2).value.numpy(), atol=0.05
    )
    with pytest.raises(UsageError, match="'vp' has no auxiliary channels; use log_prob"):
        gaussian("vp").bound(x)
    with pytest.raises(UsageError, match="label: 1 was given and this model has no classes"):
        gaussian("cld").bound(x, label=1)
    with pytest.raises(UsageError, match="draws: 0 is not valid"):
        gaussian("cld").bound(x, draws=0)


def test_data_range_and_model_space() -> None:
    images = ScoreModel(shape=(1, 2, 2), data_range=(0, 16))
    x = np.array([[[[0, 16], [8, 4]]]], dtype=np.uint8)
    z = images.to_model(x)
    assert z.flatten().tolist() == [-1, 1, 0, -0.5]
    np.testing.assert_array_equal(images.to_data(z), x)
    assert images.to_data(3 * z).max() == 16
    assert images.to_data(3 * z, clip=False).max() == 32
    for wrong, words in (
        (np.zeros((2, 2)), "(2, 2) does not fit; give (X, 1, 2, 2)"),
        (np.full((1, 1, 2, 2), np.inf), "NaN or infinite"),
        ([["a"]], "array of numbers"),
    ):
        with pytest.raises(UsageError) as error:
            images.to_model(wrong)
        assert words in str(error.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n": 0}, ["n: 0", "from 1"]),
        ({"steps": 0}, ["steps", "greater than or equal to 1"]),
        ({"steps": 2.5}, ["steps", "2.5"]),
        ({"sampler": "ddimm"}, ["'ddimm'", "'ddim'"]),
        ({"grid": "cubic"}, ["grid", "'cubic'"]),
        ({"label": 2}, ["label: 2", "0 to 1"]),
        ({"label": "c"}, ["'c'", "a, b"]),
        ({"label": [0, 1, 0]}, ["label", "2 of them"]),
        ({"seed": -1}, ["seed: -1"]),
        ({"seed": "x"}, ["seed: 'x'"]),
        ({"seed": 2**64}, ["seed: 18446744073709551616", "2^64"]),
        ({"guidance": -0.5}, ["guidance", "-0.5"]),
        ({"sampler": "heun", "steps": 3}, ["'heun'", "cld", "sscs"]),
        ({"sampler": "sscs", "process": "ve"}, ["'sscs'", "'ve'", "multistep"]),
        ({"process": "vpp"}, ["unknown process 'vpp'", "'vp'"]),
        ({"process": {"sigma_min": 1}}, ["process", "has no kind"]),
        ({"process": {"kind": "ve", "sigma_min": -1}}, ["sigma_min", "-1"]),
        ({"process": 3}, ["process: 3", "name"]),
        ({"options": {"eta": 0.5}}, ["'multistep_sde'", "no option 'eta'"]),
        ({"options": {"oder": 2}}, ["no option 'oder'", "'order'"]),
        ({"options": {"sigma_min": 1}}, ["no option 'sigma_min'", "write sampling.sigma_min"]),
        ({"options": {"stps": 1}}, ["no option 'stps'; choose one of: order"]),
        ({"sampler": "ancestral", "options": {"eta": 1}}, ["no option 'eta'; leave it out"]),
        ({"options": {"order": 9}}, ["order: 9", "from 1 to 4"]),
        ({"options": {"order": 1.5}}, ["order: 1.5", "whole"]),
        ({"options": 0.5}, ["options: 0.5", "dictionary"]),
        ({"sampler": "ddim", "options": {"eta": float("nan")}}, ["eta", "nan", "0 to 1"]),
        ({"start": torch.zeros(2, 1, 1, 9, 7)}, ["start", "(2, 2, 1, 9, 7)"]),
        ({"sigma_max": -1.0}, ["sigma_max: -1"]),
    ],
)
def test_wrong_options_get_one_sentence(
    model: ScoreModel, options: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(UsageError) as error:
        model.sample(**{"n": 2, **options})
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: ScoreModel(num_channels=9), ["num_channels: 9", "1 to 4"]),
        (lambda: ScoreModel(img_size=3.5), ["shape: (3, 3.5, 3.5)"]),  # type: ignore[arg-type]
        (lambda: ScoreModel(shape=(2, 2)), ["shape", "(d,)"]),
        (lambda: ScoreModel(shape=(2,), net="unet"), ["'unet'", "images"]),
        (lambda: ScoreModel(shape=(2,), process="vpp"), ["'vpp'", "'vp'"]),
        (
            lambda: ScoreModel(shape=(2,)).train_step(np.zeros((4, 3))),
            ["batch", "(4, 3)", "(B, 2)"],
        ),
        (lambda: ScoreModel(shape=(2,)).train_step(np.full((4, 2), np.nan)), ["batch", "NaN"]),
        (lambda: ScoreModel(shape=(2,)).generate(1, label=0), ["label: 0", "no classes"]),
        (lambda: ScoreModel(shape=(2,), training={"lr": -1}), ["training.lr", "-1"]),
        (lambda: ScoreModel(process=3), ["process: 3", "name"]),  # type: ignore[arg-type]
        (lambda: ScoreModel(num_timesteps=0), ["num_timesteps: 0"]),
        (lambda: ScoreModel(num_timesteps="a"), ["num_timesteps: 'a'"]),  # type: ignore[arg-type]
        (lambda: ScoreModel(data_range=(5, 5)), ["data_range: (5, 5)"]),
        (lambda: ScoreModel(shape=(2,), center=[0, 0, 0]), ["center", "1 or 2"]),
        (lambda: ScoreModel(shape=(2,), scale=0), ["scale: 0", "positive"]),
        (lambda: ScoreModel(shape=(2,), sigma_data=0), ["sigma_data: 0", "positive"]),
    ],
)
def test_wrong_models_get_one_sentence(build: Any, words: list[str]) -> None:
    with pytest.raises(UsageError) as error:
        build()
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize("process", ["cld", "psld", "hold3"])
@pytest.mark.parametrize("parametrisation", ["native", "mixed"])
def test_a_network_of_all_channels_has_a_density(process: str, parametrisation: str) -> None:
    """Its scalar twin spans the trained levels, which begin far below what params.yaml accepts."""
    model = ScoreModel(shape=(2,), process=process, training={"parametrisation": parametrisation})
    found = model.log_prob(np.zeros((2, 2)), sigma_min=0.01, rtol=1e-3, atol=1e-3)
    assert bool(torch.isfinite(found.value).all())
    assert (found.process, found.sigma_eps) == ("edm", pytest.approx(0.01))
