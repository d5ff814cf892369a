"""Inpainting, colourising, interpolation and edits with a `ScoreModel`, and their commands."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from flows import cli
from sgm_core.control.api import colourise, edit, inpaint, interpolate
from sgm_core.errors import UsageError
from sgm_core.model import ScoreModel

UNET = {"kind": "unet", "channels": 8, "multipliers": [1], "blocks": 1}
MLP = {"kind": "mlp", "width": 16, "depth": 2}


def images(channels: int = 1, process: str = "vp", labels: tuple[str, ...] = ()) -> ScoreModel:
    """Return a model of 4 x 6 images with values 0 to 16, with arbitrary weights."""
    return ScoreModel(
        img_size=(4, 6),
        num_channels=channels,
        process=process,
        net=UNET,
        labels=labels,
        data_range=(0, 16),
        sampling={"steps": 6, "sigma_min": 0.02},
    )


def points(process: str = "cld", dimension: int = 3) -> ScoreModel:
    center = list(range(dimension))
    return ScoreModel(
        shape=(dimension,), process=process, net=MLP, center=center, scale=2.0,
        sampling={"steps": 6, "sigma_min": 0.02},
    )  # fmt: skip


def drawn(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).uniform(0, 16, shape)


@pytest.mark.parametrize(
    ("channels", "process"), [(1, "vp"), (2, "cld"), (3, "hold3"), (4, "flow")]
)
def test_what_is_known_of_an_image_stays(channels: int, process: str) -> None:
    model = images(channels, process)
    x, mask = drawn(2, channels, 4, 6), np.arange(6) < 3
    result = inpaint(model, x, mask, n=3, seed=5)
    assert result.x.shape == (6, channels, 4, 6) and result.nfe == 6
    known = result.x.reshape(2, 3, channels, 4, 6)[..., :3]
    np.testing.assert_array_equal(known, np.repeat(x[:, None, ..., :3], 3, 1).astype(np.float32))
    assert result.x.min() >= 0 and result.x.max() <= 16
    assert len(np.unique(result.x[..., 3:].reshape(6, -1).round(3), axis=0)) == 6


def test_a_completion_does_not_depend_on_passes_or_on_what_is_hidden() -> None:
    model = images(2, "cld")
    x, mask = drawn(3, 2, 4, 6), np.random.default_rng(1).random((3, 1, 4, 6)) < 0.5
    whole = inpaint(model, x, mask, n=2, seed=1).x
    again = inpaint(model, np.where(mask, x, np.nan), mask, n=2, seed=1, batch=4).x
    np.testing.assert_allclose(again, whole, atol=2e-3)
    third = inpaint(model, x[2], mask[2], n=2, seed=5).x
    np.testing.assert_allclose(third, whole[4:], atol=2e-3)


def test_a_coordinate_of_points_is_filled() -> None:
    model = points()
    x = np.array([[0.5, 1.5, np.nan], [-0.5, 0.5, np.nan]])
    result = inpaint(model, x, [1, 1, 0], n=4, process="ve")
    assert result.x.shape == (8, 3) and np.isfinite(result.x).all()
    np.testing.assert_array_equal(result.x[:, :2], np.repeat(x[:, :2], 4, 0))


@pytest.mark.parametrize("channels", [3, 4])
def test_colours_have_the_gray_that_was_given(channels: int) -> None:
    model = images(channels)
    gray = np.random.default_rng(0).uniform(6, 10, (2, 1, 4, 6))
    result = colourise(model, gray, n=2, steps=12)
    assert result.x.shape == (4, channels, 4, 6)
    mean = result.x.mean(1, keepdims=True)
    inside = (result.x > 0.1).all(1, keepdims=True) & (result.x < 15.9).all(1, keepdims=True)
    error = np.abs(mean - gray.repeat(2, 0))[inside]
    assert inside.mean() > 0.3 and float(np.median(error)) < 0.5
    alone = colourise(model, gray[0, 0], n=2, steps=12)
    np.testing.assert_allclose(alone.x, result.x[:2], atol=2e-3)


@pytest.mark.parametrize("process", ["vp", "cld", "hold3"])
def test_a_path_between_seeds_ends_in_their_samples(process: str) -> None:
    model = images(2, process)
    path = interpolate(model, 3, 17, count=4)
    ends = [model.sample(1, seed=seed, sampler="multistep").x[0] for seed in (3, 17)]
    np.testing.assert_allclose(path.x[[0, -1]], ends, atol=2e-3)
    assert path.x.shape == (4, 2, 4, 6)


@pytest.mark.parametrize("process", ["ve", "cld"])
def test_a_path_between_items_ends_in_them(process: str) -> None:
    model = points(process, dimension=2)
    first, second = np.array([0.4, 1.2]), np.array([-1.0, 2.5])
    path = interpolate(model, first, second, count=5, steps=200)
    # An untrained network: the ends come back up to what the solver leaves.
    np.testing.assert_allclose(path.x[[0, -1]], [first, second], atol=0.05)


def test_the_strength_of_an_edit_is_how_far_it_goes() -> None:
    model = points("vp")
    x = np.array([0.5, 1.5, 2.5])
    far = [np.abs(edit(model, x, s, n=50, steps=20).x - x).mean() for s in (0.1, 0.4, 0.7)]
    assert far[0] < 0.2 and far[0] < far[1] < far[2]
    assert edit(model, x[None].repeat(2, 0), 0.5, n=3).x.shape == (6, 3)
    assert edit(model, x, 0.5, n=2, steps=20).nfe == 10
    whole = edit(model, x, 0.6, n=6, seed=2).x
    np.testing.assert_allclose(edit(model, x, 0.6, n=6, seed=2, batch=4).x, whole, atol=1e-4)


def test_labels_and_guidance_pass_through() -> None:
    model = images(labels=("a", "b"))
    x = drawn(1, 4, 6)
    result = inpaint(model, x, np.arange(6) < 3, n=2, label="b", guidance=2.0)
    assert result.labels is not None and result.labels.tolist() == [1, 1] and result.nfe == 12
    assert inpaint(model, x, np.arange(6) < 3).labels is None
    assert interpolate(model, x, x, 3, label=0, steps=3).labels is not None
    labels = edit(model, x, 0.5, n=3, label=[0, 1, 0], batch=2).labels
    assert labels is not None and labels.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda m: inpaint(m, drawn(2, 2), 1), r"images: shape \(2, 2\) does not fit; give \(1, 4"),
        (
            lambda m: inpaint(m, drawn(1, 4, 6), [1, 0]),
            r"mask: shape \(2,\) does not fit the items",
        ),
        (lambda m: inpaint(m, drawn(1, 4, 6), 0.5), "mask: holds values other than 0 and 1"),
        (lambda m: inpaint(m, "cat", 1), "images: is not an array of numbers"),
        (lambda m: inpaint(m, np.full((1, 4, 6), np.nan), 1), "holds NaN or infinite values"),
        (lambda m: inpaint(m, drawn(1, 4, 6), 1, n=0), "n: 0 is not valid"),
        (lambda m: colourise(m, drawn(4, 6)), "needs a model of images with 3 channels"),
        (lambda m: colourise(images(3), drawn(6, 4)), r"gray: shape \(6, 4\) does not fit"),
        (lambda m: interpolate(m, 1, drawn(1, 4, 6)), "not one of each"),
        (lambda m: interpolate(m, 1, 2, 1), "count: 1 is not valid"),
        (lambda m: interpolate(m, 1, 2, sampler="ancestral"), "needs a deterministic sampler"),
        (lambda m: interpolate(m, 1, 2, sampler="ddim", options={"eta": 0.5}), "deterministic"),
        (lambda m: edit(m, drawn(1, 4, 6), 0), "strength: 0 is not valid"),
        (lambda m: edit(m, drawn(1, 4, 6), True), "strength: True is not valid"),
    ],
)
def test_wrong_arguments_are_one_sentence(call: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        call(images())
    assert "\n" not in str(caught.value)


# -- commands ---------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Models gray/, colour/ and points/, and files for them."""
    monkeypatch.chdir(tmp_path)
    images(1, labels=("a", "b")).save("gray")
    images(3).save("colour")
    points().save("points")
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("a.png")
    Image.fromarray(pixels[::-1].copy()).resize((30, 20)).save("large.png")
    hidden = np.zeros((4, 6), np.uint8)
    hidden[:, 3:] = 255
    Image.fromarray(hidden).save("mask.png")
    np.save("mask.npy", hidden)
    np.save("none.npy", hidden * 0)
    np.save("point.npy", np.array([0.5, 1.0, 0.0]))
    np.save("third.npy", np.array([0, 0, 1]))
    np.save("bright.npy", np.full((1, 4, 6), 17.0))
    Path("text.png").write_text("no image")
    Path("text.npy").write_text("no array")
    return tmp_path


def call(monkeypatch: pytest.MonkeyPatch, line: str) -> int:
    monkeypatch.setattr(sys, "argv", ["sgm", *line.split()])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(str(ended.value.code))


@pytest.mark.parametrize(
    ("line", "shape"),
    [
        ("sample gray --image a.png --mask mask.png -n 3 --label b --guidance 2", (3, 1, 4, 6)),
        ("sample colour --image large.png --mask mask.npy -n 2 --process cld", (2, 3, 4, 6)),
        ("sample colour --gray a.png -n 2", (2, 3, 4, 6)),
        ("sample points --image point.npy --mask third.npy -n 5", (5, 3)),
        ("interpolate gray --seeds 3,17 --count 4", (4, 1, 4, 6)),
        ("interpolate colour --images a.png,large.png --count 3 --steps 4", (3, 3, 4, 6)),
        ("edit colour large.png --strength 0.4 -n 2 --sampler ancestral", (2, 3, 4, 6)),
        ("edit points point.npy", (4, 3)),
    ],
)
def test_commands_write_what_was_asked_for(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    line: str,
    shape: tuple[int, ...],
) -> None:
    for out in ("out.npy", "out.png"):
        assert call(monkeypatch, f"{line} -o {out}") == 0, capsys.readouterr().err
    x = np.load(folder / "out.npy")
    assert x.shape == shape and np.isfinite(x).all()
    with Image.open(folder / "out.png") as picture:
        assert min(picture.size) > 50
    said = capsys.readouterr().out
    assert ("large.png scaled from 30 x 20 to 6 x 4" in said) == ("large" in line)
    if "--image a.png" in line:
        with Image.open("a.png") as original:
            known = np.asarray(original.convert("L"), float)[:, :3] / 255 * 16
        np.testing.assert_allclose(x[:, 0, :, :3], known[None].repeat(len(x), 0), atol=1e-5)
    if "point.npy --mask" in line:
        np.testing.assert_array_equal(x[:, :2], [[0.5, 1.0]] * len(x))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("sample gray --image a.png", "--mask is missing"),
        ("sample gray --mask mask.png", "--image is missing"),
        ("sample gray --gray a.png --image a.png", "--gray goes without --image and --mask"),
        ("sample gray --gray a.png", "needs a model of images with 3 channels"),
        ("sample points --gray point.npy", "needs a model of images with 3 channels"),
        ("sample colour --gray third.npy", "third.npy has shape (3,); this model takes (4, 6)"),
        ("sample gray --image no.png --mask mask.png", "--image: no.png does not exist"),
        ("sample gray --image text.png --mask mask.png", "text.png is not an image"),
        ("sample gray --image text.npy --mask mask.png", "is not a .npy file of numbers"),
        ("sample gray --image third.npy --mask mask.png", "has shape (3,); this model takes (1,"),
        (
            "sample gray --image bright.npy --mask mask.png",
            "values 17 to 17; this model's data lie",
        ),
        ("sample gray --image a.png --mask third.npy", "--mask: third.npy has shape (3,)"),
        ("sample gray --image a.png --mask none.npy", "leaves nothing to fill"),
        ("sample points --image a.png --mask third.npy", "a.png is no .npy file"),
        ("interpolate gray", "a path has two ends"),
        ("interpolate gray --seeds 1,2 --images a.png,a.png", "a path has two ends"),
        ("interpolate gray --seeds 1", "--seeds: '1' is not valid; write two"),
        ("interpolate gray --seeds 1,b", "--seeds: '1,b' is not valid"),
        ("interpolate gray --images a.png", "--images: 'a.png' is not valid; write two"),
        ("interpolate gray --seeds 1,2 --sampler ancestral", "needs a deterministic sampler"),
        ("edit gray a.png --strength 1.5", "strength: 1.5 is not valid"),
        ("edit gray a.png --label c", "unknown label 'c'"),
        ("edit gray no.png", "image: no.png does not exist"),
    ],
)
def test_wrong_calls_are_one_sentence(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    line: str,
    words: str,
) -> None:
    assert call(monkeypatch, f"{line} -o out.png") == 2
    error = " ".join(capsys.readouterr().err.split())
    assert words in error and "Traceback" not in error and "internal" not in error
    assert not (folder / "out.png").exists()
