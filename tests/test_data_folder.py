"""Folders of images as people have them: sizes, colours, orientation, damage, layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sgm_core.config.data import FolderParams
from sgm_core.data import folder, load_dataset, prepare
from sgm_core.data.image import Unreadable, read_header, read_image
from sgm_core.errors import SgmError, UsageError

Array = np.ndarray[Any, Any]


def picture(
    file: Path, width: int = 16, height: int = 12, mode: str = "RGB", seed: int = 0
) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, *file.name.encode()])
    levels = rng.integers(0, 256, (height, width, 4), dtype=np.uint8)
    Image.fromarray(levels).convert(mode).save(file)
    return file


def read(root: Path, **fields: Any) -> Any:
    return folder.read(FolderParams(path="images", **fields), root)


def only(array: Array, *shape: int) -> Array:
    assert array.dtype == np.uint8 and array.shape == shape
    return array


@pytest.mark.parametrize("suffix", ["png", "bmp", "webp", "tif", "ppm", "PNG", "npy"])
def test_lossless_formats_return_the_pixels(tmp_path: Path, suffix: str) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    file = tmp_path / f"a.{suffix}"
    if suffix == "npy":
        np.save(file, levels)
    elif suffix == "webp":
        Image.fromarray(levels).save(file, lossless=True)
    else:
        Image.fromarray(levels).save(file)
    header = read_header(file)
    assert (header.height, header.width, header.channels) == (5, 7, 3)
    np.testing.assert_array_equal(read_image(file, 5, 7, 3), levels.transpose(2, 0, 1))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_shows_white(tmp_path: Path, mode: str) -> None:
    levels = np.zeros((4, 6, 4), np.uint8)  # black; left half transparent, right half opaque
    levels[:, 3:, 3] = 255
    image = Image.fromarray(levels)
    if mode == "P":
        image = image.convert("RGBA").quantize(4)
    image.convert(mode).save(tmp_path / "a.png")
    x = only(read_image(tmp_path / "a.png", 4, 6, 1), 1, 4, 6)
    assert (x[0, :, :3] == 255).all() and (x[0, :, 3:] == 0).all()
    half = np.full((4, 4, 4), [255, 0, 0, 51], np.uint8)  # a fifth of red on white
    Image.fromarray(half).save(tmp_path / "b.png")
    assert read_image(tmp_path / "b.png", 4, 4, 3)[:, 0, 0].tolist() == [255, 204, 204]


def test_depths_and_colour_models(tmp_path: Path) -> None:
    deep = np.array([[0, 257, 32768, 65535]], np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert read_header(tmp_path / "deep.png").channels == 1
    assert read_image(tmp_path / "deep.png", 1, 4, 1)[0, 0].tolist() == [0, 1, 128, 255]
    Image.fromarray(np.array([[0, 0.5, 1]], np.float32)).save(tmp_path / "float.tif")
    assert read_image(tmp_path / "float.tif", 1, 3, 1)[0, 0].tolist() == [0, 128, 255]
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "bit.png")
    assert read_image(tmp_path / "bit.png", 1, 2, 1)[0, 0].tolist() == [255, 0]
    Image.new("CMYK", (2, 2), (0, 255, 255, 0)).save(tmp_path / "print.tif")
    assert read_image(tmp_path / "print.tif", 2, 2, 3)[:, 0, 0].tolist() == [255, 0, 0]
    picture(tmp_path / "palette.gif", 8, 8, "P")
    assert read_header(tmp_path / "palette.gif").channels == 3
    only(read_image(tmp_path / "palette.gif", 8, 8, 3), 3, 8, 8)


@pytest.mark.parametrize(
    ("array", "first"),
    [
        (np.full((6, 5), 7, np.uint8), 7),
        (np.full((3, 6, 5), 0.2), 51),
        (np.full((6, 5, 1), 257 * 9, np.uint16), 9),
        (np.full((6, 5, 4), 255, np.int64), 255),
        (np.ones((6, 5), bool), 255),
    ],
)
def test_arrays(tmp_path: Path, array: Array, first: int) -> None:
    np.save(tmp_path / "a.npy", array)
    header = read_header(tmp_path / "a.npy")
    assert (header.height, header.width) == (6, 5)
    x = read_image(tmp_path / "a.npy", 6, 5, header.channels)
    assert x[0, 0, 0] == first and len(x) == header.channels


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((6, 5), np.nan), "leave"),
        (np.full((6, 5), 3.5), r"leave \[0, 1\]"),
        (np.full((6, 5), -1), "leave 0 to 65535"),
        (np.zeros((6, 5, 7)), "not that of an image"),
        (np.zeros(6), "not that of an image"),
        (np.zeros((0, 5)), "not that of an image"),
        (np.zeros((6, 5), complex), "complex128 values"),
    ],
)
def test_arrays_that_are_no_images(tmp_path: Path, array: Array, message: str) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(Unreadable, match=message):
        read_image(tmp_path / "a.npy", 6, 5, 1)


def test_orientation_tag_is_applied(tmp_path: Path) -> None:
    levels = np.zeros((4, 8, 3), np.uint8)
    levels[:, :4] = 255  # left half white
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown rotated by 90 degrees clockwise: the left side becomes the top
    Image.fromarray(levels).save(tmp_path / "a.png", exif=exif)
    header = read_header(tmp_path / "a.png")
    assert (header.height, header.width) == (8, 4)
    x = read_image(tmp_path / "a.png", 8, 4, 3)
    assert (x[:, :4] == 255).all() and (x[:, 4:] == 0).all()


def test_resizing_crops_and_does_not_stretch(tmp_path: Path) -> None:
    levels = np.zeros((20, 60, 3), np.uint8)
    levels[:, 20:40] = 255  # the middle third is a white square
    Image.fromarray(levels).save(tmp_path / "a.png")
    x = only(read_image(tmp_path / "a.png", 10, 10, 1), 1, 10, 10)
    assert x[0, :, 1:-1].min() > 230


def test_classes_and_oblong_images_to_a_dataset(tmp_path: Path) -> None:
    for name in ("dog", "cat"):
        for i in range(7):
            picture(tmp_path / "images" / name / "more" / f"{i}.png", 10, 6, seed=ord(name[0]))
    (tmp_path / "images" / "cat" / "notes.txt").write_text("x")
    (tmp_path / "images" / ".hidden").mkdir()
    params, lines = FolderParams(path="images"), list[str]()
    meta = prepare("pets", params, tmp_path, tmp_path / "out", lines.append)
    assert lines[0] == "pets: left out 1 files that are not images: notes.txt"
    assert (meta["shape"], meta["labels"]) == ([3, 6, 10], ["cat", "dog"])
    assert meta["label_counts"] == {"train": [5, 5], "validation": [1, 1], "test": [1, 1]}
    split = load_dataset(tmp_path / "out").split("train")
    cats = {read_image(f, 6, 10, 3).tobytes() for f in (tmp_path / "images/cat/more").iterdir()}
    assert split.labels is not None
    for x, label in zip(split.x, split.labels, strict=True):
        assert (x.tobytes() in cats) == (label == 0)


def test_grey_and_colour(tmp_path: Path) -> None:
    for i in range(10):
        picture(tmp_path / "images" / f"{i}.png", mode="L")
    assert read(tmp_path).x.shape == (10, 1, 12, 16)
    picture(tmp_path / "images" / "colour.png")
    assert read(tmp_path).x.shape == (11, 3, 12, 16)
    assert read(tmp_path, channels=1).x.shape == (11, 1, 12, 16)
    assert read(tmp_path, height=5, width=9).x.shape == (11, 3, 5, 9)


def test_mixed_sizes_need_a_size(tmp_path: Path) -> None:
    for i in range(6):
        picture(tmp_path / "images" / f"{i}.png", 16, 12)
    picture(tmp_path / "images" / "other.png", 20, 12)
    with pytest.raises(
        UsageError, match="2 different sizes .*6 of 16 x 12, 1 of 20 x 12.*set height"
    ):
        read(tmp_path)
    assert read(tmp_path, height=8, width=8).x.shape == (7, 3, 8, 8)


def test_damaged_files_are_named_and_skipped_only_on_request(tmp_path: Path) -> None:
    for i in range(12):
        picture(tmp_path / "images" / f"{i:02}.jpg", 40, 40)
    for name in ("03.jpg", "07.jpg"):
        file = tmp_path / "images" / name
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    (tmp_path / "images" / "empty.png").write_bytes(b"")
    (tmp_path / "images" / "text.png").write_text("no image")
    with pytest.raises(
        UsageError, match=r"4 of 14 images .*03.jpg \(.*truncated.*07.jpg"
    ) as caught:
        read(tmp_path)
    assert "empty.png" in str(caught.value) and "--skip-unreadable" in str(caught.value)
    params = FolderParams(path="images", skip_unreadable=True)
    meta = prepare("p", params, tmp_path, tmp_path / "out", lambda _: None)
    assert meta["skipped"] == ["03.jpg", "07.jpg", "empty.png", "text.png"]
    assert sum(meta["counts"].values()) == 10
    for file in (tmp_path / "images").glob("*.jpg"):
        file.write_bytes(b"")
    with pytest.raises(UsageError, match="14 of 14 images"):
        read(tmp_path, skip_unreadable=True)


def test_labels_stay_with_their_images_when_files_are_skipped(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for i in range(3):
            picture(tmp_path / "images" / name / f"{i}.png")
    (tmp_path / "images" / "a" / "1.png").write_bytes(b"x")
    raw = read(tmp_path, skip_unreadable=True)
    assert raw.labels.tolist() == [0, 0, 1, 1, 1] and raw.skipped == ("a/1.png",)
    for i in (0, 2):
        (tmp_path / "images" / "a" / f"{i}.png").write_bytes(b"x")
    with pytest.raises(UsageError, match="no image of class folder 'a'"):
        read(tmp_path, skip_unreadable=True)


def test_layouts_that_are_refused(tmp_path: Path) -> None:
    root = tmp_path / "images"
    with pytest.raises(UsageError, match="does not exist"):
        read(tmp_path)
    root.mkdir()
    with pytest.raises(UsageError, match="holds no images; put PNG"):
        read(tmp_path)
    (root / "a.csv").write_text("x")
    with pytest.raises(UsageError, match=r"holds no images \(1 .csv\)"):
        read(tmp_path)
    picture(root / "cat" / "a.png")
    assert read(tmp_path, height=4, width=4).labels is None  # one folder is no class
    (root / "dog").mkdir()
    with pytest.raises(UsageError, match="class folder 'dog' in .* holds no images"):
        read(tmp_path)
    picture(root / "a.png")
    with pytest.raises(UsageError, match="1 images beside sub-folders"):
        read(tmp_path)
    for name in ("train", "test"):
        picture(tmp_path / "split" / name / "a.png")
    with pytest.raises(UsageError, match="holds the splits test, train"):
        folder.read(FolderParams(path="split"), tmp_path)
    with pytest.raises(UsageError, match="is a file"):
        folder.read(FolderParams(path="images/a.csv"), tmp_path)


def test_a_large_folder_goes_through_a_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(10):
        picture(tmp_path / "images" / f"{i}.png")
    expected = read(tmp_path).x
    monkeypatch.setattr(folder, "IN_MEMORY", 100)
    raw = read(tmp_path)
    assert isinstance(raw.x, np.memmap)
    np.testing.assert_array_equal(raw.x, expected)
    assert list((tmp_path / "data").iterdir()) == []  # unnamed: nothing stays, even when killed
    with pytest.raises(SgmError, match=r"data: .*; use fewer or smaller items"):
        folder.allocate((2**50,), tmp_path)
