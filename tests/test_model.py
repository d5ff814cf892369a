"""ScoreModel: trains, samples reproducibly, saves without pickle, and explains bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sgm_core import ScoreModel
from sgm_core.errors import SgmError, UsageError

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
