"""Inpainting, colourising, interpolation and edits with a `ScoreModel`, and their commands."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from flows import cli
from sgm_core.control.api import colourise, edit, inpaint, interpolate
from sgm_core.control.paths import encode
from sgm_core.errors import UsageError
from sgm_core.likelihood import LogProb
from sgm_core.model import ScoreModel

UNET = {"kind": "unet", "channels": 8, "multipliers": [1], "blocks": 1}
MLP = {"kind": "mlp", "width": 16, "depth": 2}


def random(model: ScoreModel, std: float = 0.15) -> ScoreModel:
    """Give a model arbitrary weights: a new network's output is zero, whatever it is asked."""
    generator = torch.Generator().manual_seed(0)
    for parameter in model.net.parameters():
        torch.nn.init.normal_(parameter, std=std, generator=generator)
    return model


def images(
    channels: int = 1, process: str = "vp", labels: tuple[str, ...] = (), **sampling: Any
) -> ScoreModel:
    """Return a model of 4 x 6 images with values 0 to 16, with arbitrary weights."""
    model = ScoreModel(
        img_size=(4, 6),
        num_channels=channels,
        process=process,
        net=UNET,
        labels=labels,
        data_range=(0, 16),
        sampling={"steps": 6, "sigma_min": 0.02, **sampling},
    )
    return random(model)


def points(process: str = "cld", dimension: int = 3, labels: tuple[str, ...] = ()) -> ScoreModel:
    center = list(range(dimension))
    model = ScoreModel(
        shape=(dimension,), process=process, net=MLP, labels=labels, center=center, scale=2.0,
        sampling={"steps": 6, "sigma_min": 0.02},
    )  # fmt: skip
    return random(model)


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


def test_a_completion_does_not_depend_on_how_much_is_known_of_its_neighbours() -> None:
    """A network's Jacobian is not symmetric: its doubt must be a sample's own."""
    model = random(points("cld"), 0.3)
    model.net.double()  # what is left is no rounding
    x = np.random.default_rng(2).normal([0, 1, 2], size=(3, 3))
    mask = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 1]])
    together = inpaint(model, x, mask, n=3, seed=1).x
    alone = [inpaint(model, x[i], mask[i], n=3, seed=1 + 3 * i).x for i in range(3)]
    np.testing.assert_allclose(together, np.concatenate(alone), rtol=0, atol=1e-6)
    other = inpaint(random(points("cld"), 0.1), x, mask, n=3, seed=1).x
    assert np.abs(other - together).max() > 0.5  # the weights matter


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
@pytest.mark.parametrize("guidance", [None, 2.0])
def test_a_path_between_items_ends_in_them(process: str, guidance: float | None) -> None:
    model = points(process, 2, ("a", "b"))
    first, second = np.array([0.4, 1.2]), np.array([-1.0, 2.5])
    chosen = {"label": "b", "guidance": guidance, "steps": 100}
    path = interpolate(model, first, second, 5, **chosen)  # type: ignore[arg-type]
    # Arbitrary weights: the ends come back up to what the solver leaves.
    np.testing.assert_allclose(path.x[[0, -1]], [first, second], atol=0.03)
    # Encoding with one label and decoding with another does not lead back.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sgm_core.control.api.encode", without_labels)
        wrong = interpolate(model, first, second, 5, **chosen)  # type: ignore[arg-type]
    assert np.abs(wrong.x[[0, -1]] - [first, second]).max() > 0.08


def without_labels(denoiser: Any, x: torch.Tensor, **options: Any) -> torch.Tensor:
    options["labels"] = None
    return encode(denoiser, x, **options)


def test_guidance_without_a_class_costs_nothing() -> None:
    model = images(labels=("a", "b"))
    x, known = drawn(1, 4, 6), np.arange(6) < 3
    for result, plain in (
        (model.sample(2, label=-1, guidance=3.0), model.sample(2, label=-1)),
        (inpaint(model, x, known, guidance=3.0), inpaint(model, x, known)),
        (interpolate(model, x, x, 2, guidance=3.0), interpolate(model, x, x, 2)),
    ):
        assert result.nfe == plain.nfe
        np.testing.assert_array_equal(result.x, plain.x)
    mixed = model.sample(2, label=[-1, 1], guidance=3.0)
    assert mixed.nfe == 12
    np.testing.assert_allclose(mixed.x[:1], model.sample(1, label=-1).x, atol=1e-4)
    assert np.abs(mixed.x[1:] - model.sample(1, seed=1, label=1).x).max() > 0.1


@pytest.mark.parametrize(
    ("sampling", "options", "kept"),
    [
        ({"sampler": "ddim"}, None, "ddim"),
        ({"sampler": "ddim", "options": {"eta": 0.5}}, None, "multistep"),
        ({"sampler": "ddim", "options": {"eta": 0.5}}, {"eta": 0.0}, "ddim"),
        ({"sampler": "heun", "options": {"s_churn": 5.0}}, None, "multistep"),
        ({"sampler": "heun", "options": {"s_noise": 1.1}}, None, "heun"),
        ({"sampler": "ancestral"}, {"order": 3}, "multistep"),
    ],
)
def test_a_path_keeps_the_models_sampler_where_it_draws_no_noise(
    sampling: dict[str, Any], options: dict[str, float] | None, kept: str
) -> None:
    path = interpolate(images(**sampling), 3, 17, 2, options=options)
    plain = interpolate(images(), 3, 17, 2, sampler=kept, options=options)
    np.testing.assert_array_equal(path.x, plain.x)


def test_everything_is_computed_on_the_models_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the device `meta` an operation with numbers of the CPU's fails."""
    seen: list[str] = []

    def density(denoiser: Any, x: torch.Tensor, **options: Any) -> LogProb:
        seen.extend([x.device.type, options["labels"].device.type])
        assert denoiser(x[:, None], 0.5, labels=options["labels"]).device.type == "meta"
        return LogProb(torch.zeros(len(x)), 1, 1, 1, 1, 1, "exact", 0, "prior", "vp")

    def gain(spread: Any, operator: Any, residual: torch.Tensor, *_: Any) -> torch.Tensor:
        lifted = operator.adjoint(residual)
        seen.append(operator.forward(spread(lifted)).device.type)
        return lifted

    def to_data(x: torch.Tensor, clip: bool = True) -> np.ndarray[Any, Any]:
        seen.append(x.device.type)
        return np.zeros(x.shape)

    monkeypatch.setattr("sgm_core.likelihood.log_prob", density)
    monkeypatch.setattr("sgm_core.likelihood.bound", density)
    monkeypatch.setattr("sgm_core.control.conditioned.gain", gain)
    monkeypatch.setattr("sgm_core.control.api.ENCODING_STEPS", 3)
    model = images(3, labels=("a", "b"))
    model.device = torch.device("meta")
    model.net.to("meta")
    monkeypatch.setattr(model.space, "to_data", to_data)
    x = drawn(2, 3, 4, 6)
    model.log_prob(x, label=1)
    model.bound(x, label="b")
    chosen: dict[str, Any] = {"label": 1, "guidance": 2.0, "batch": 3, "steps": 3}
    model.sample(4, **chosen)
    inpaint(model, x, np.arange(6) < 3, n=2, **chosen)
    colourise(model, x, n=2, **chosen)
    interpolate(model, 3, 17, 4, **chosen)
    interpolate(model, x[0], x[1], 4, process="cld", **chosen)
    edit(model, x, 0.5, n=2, process="cld", **chosen)
    assert set(seen) == {"meta"} and len(seen) > 20


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
        (lambda m: interpolate(m, 1, 2, sampler="ddim", options={"eta": 0.5}), "leave eta out"),
        (lambda m: interpolate(m, 1, 2, options={"eta": 0.5}), "options: multistep draws"),
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
    np.save("mask.npy", hidden // 255)
    np.save("none.npy", hidden * 0)
    np.save("three.npy", hidden // 255 * 3)
    np.save("hidden-nan.npy", np.where(hidden > 0, np.nan, 0.0))
    np.save("nan.npy", np.full((1, 4, 6), np.nan))
    np.save("gray-nan.npy", np.full((4, 6), np.nan))
    np.save("half.npy", np.array([0.5, 1.0, np.nan]))
    Path("somewhere.npy").mkdir()
    Path("somewhere.png").mkdir()
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
        ("sample points --image half.npy --mask third.npy -n 2", (2, 3)),
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
        (
            "sample gray --image a.png --mask three.npy",
            "--mask: three.npy holds values other than 0 and 1; write 1 where it is to be filled",
        ),
        ("sample gray --image a.png --mask hidden-nan.npy", "values other than 0 and 1"),
        ("sample gray --image nan.npy --mask mask.png", "--image: nan.npy holds NaN or infinite"),
        ("sample points --image half.npy --mask none.npy", "--mask: none.npy has shape"),
        ("sample colour --gray gray-nan.npy", "--gray: gray-nan.npy holds NaN or infinite"),
        ("interpolate gray --images nan.npy,nan.npy", "--images: nan.npy holds NaN or infinite"),
        ("edit gray nan.npy", "image: nan.npy holds NaN or infinite"),
        ("sample gray --image somewhere.npy --mask mask.png", "somewhere.npy is a folder"),
        ("sample gray --image a.png --mask somewhere.png", "--mask: somewhere.png is a folder"),
        ("edit gray somewhere.png", "image: somewhere.png is a folder; name a file"),
        ("sample colour --guidance 3", "--guidance: 3 was given and this model has no classes"),
        ("edit colour a.png --guidance 3", "this model has no classes; leave it out"),
        ("sample gray -n 20000", "20000 images do not fit into one picture; end it in .npy"),
        ("sample gray -n 100000000000", "'-n': Input should be less than or equal to 10000000"),
        ("interpolate gray --seeds 1,2 --count 100000000000", "'--count': Input should be less"),
        (
            "interpolate gray --seeds 1,2 --sampler ddim --option eta=0.5",
            "--option: ddim draws fresh noise with eta",
        ),
        (
            "sample gray --option steps=3",
            "has no option 'steps': it belongs to all samplers; write --steps,",
        ),
        ("sample gray --sampler dimm", "--sampler: 'dimm' is not valid"),
        ("interpolate gray", "a path has two ends"),
        ("interpolate gray --seeds 1,2 --images a.png,a.png", "a path has two ends"),
        ("interpolate gray --seeds 1", "--seeds: '1' is not valid; write two"),
        ("interpolate gray --seeds 1,b", "--seeds: '1,b' is not valid"),
        ("interpolate gray --images a.png", "--images: 'a.png' is not valid; write two"),
        ("interpolate gray --seeds 1,2 --sampler ancestral", "needs a deterministic sampler"),
        ("edit gray a.png --strength 1.5", "--strength: 1.5 is not valid"),
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


@pytest.mark.parametrize(
    "line",
    ["sample points", "sample points --image point.npy --mask third.npy", "edit points point.npy",
     "interpolate points --seeds 1,2", "interpolate points --images point.npy,point.npy",
     "sample gray --label b --guidance 1e300", "edit gray a.png --label b --guidance 1e300"],
)  # fmt: skip
@pytest.mark.parametrize("out", ["out.npy", "out.png"])
def test_samples_that_diverged_are_not_written(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    line: str,
    out: str,
) -> None:
    broken = points()
    for parameter in broken.net.parameters():
        torch.nn.init.constant_(parameter, 1e30)
    broken.save("points")
    assert call(monkeypatch, f"{line} -o {out}") == 1
    said = capsys.readouterr()
    assert "samples are not finite, and nothing was written" in said.err and said.out == ""
    assert not (folder / out).exists()


def test_infinite_pixels_are_not_white() -> None:
    space = images().space
    x = torch.tensor([torch.inf, -torch.inf, torch.nan, 1e30]).repeat(6).reshape(1, 1, 4, 6)
    shown = space.to_data(x)
    assert np.isnan(shown).sum() == 18
    assert shown[np.isfinite(shown)].tolist() == [16.0] * 6


def test_memory_that_is_too_small_is_one_sentence(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def exhausted(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(ScoreModel, "sample", exhausted)
    assert call(monkeypatch, "sample points -o out.npy") == 1
    assert "the memory does not hold this many samples" in capsys.readouterr().err


@pytest.mark.parametrize("out", ["somewhere.png", "none/out.png", "/proc/out.png"])
def test_a_file_that_cannot_be_written_is_found_before_sampling(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], out: str
) -> None:
    def sampled(*_: Any, **__: Any) -> None:
        raise AssertionError("sampled")

    monkeypatch.setattr(ScoreModel, "sample", sampled)
    lines = ["sample gray", "edit gray a.png", "interpolate gray --seeds 1,2"]
    for line in [*lines, "sample gray --image a.png --mask mask.png"]:
        assert call(monkeypatch, f"{line} -o {out}") == 2
        assert "--out: " in capsys.readouterr().err
