"""The built-in datasets: five rolls with known geometry, Fashion-MNIST files, emoji glyphs."""

from __future__ import annotations

import gzip
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from sgm_core.config.data import EmojiParams, FashionMNISTParams, SwissRollParams
from sgm_core.data import emoji, fashion_mnist, load_dataset, prepare, swiss_roll
from sgm_core.errors import SgmError, UsageError


def nearest(x: np.ndarray) -> np.ndarray:
    """Distance of points to the noise-free rolls."""
    curves = (swiss_roll.CENTRES[:, None] + swiss_roll.curve(2000)).reshape(-1, 2)
    return np.array([np.sqrt(((curves - p) ** 2).sum(axis=1).min()) for p in x])


def test_points_lie_on_five_equal_rolls() -> None:
    x = swiss_roll.read(SwissRollParams(n=1000), Path()).x
    mode = ((x[:, None] - swiss_roll.CENTRES) ** 2).sum(axis=2).argmin(axis=1)
    assert np.bincount(mode).tolist() == [200] * 5
    off = np.sqrt((nearest(x[:300]) ** 2).mean())
    assert 0.0015 < off < 0.0022  # noise 0.2 x 0.01, seen across the curve
    clean = swiss_roll.read(SwissRollParams(n=100, noise=0.0), Path()).x
    assert nearest(clean).max() < 5e-4  # half the spacing of the curve's points


def test_curve_and_seed() -> None:
    curve = swiss_roll.curve(101)
    t = np.linspace(1.5 * np.pi, 4.5 * np.pi, 101)
    np.testing.assert_allclose(np.hypot(*curve.T), 0.01 * t)
    np.testing.assert_allclose(
        curve[50], [0.01 * t[50] * np.cos(t[50]), 0.01 * t[50] * np.sin(t[50])]
    )
    a, b, c = (swiss_roll.read(SwissRollParams(n=50, seed=s), Path()).x for s in (0, 0, 2**40))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)
    assert {tuple(row) for row in swiss_roll.CENTRES} == {
        (0.0, 0.0), (0.8, 0.8), (0.8, -0.8), (-0.8, 0.8), (-0.8, -0.8),
    }  # fmt: skip


def idx_files(folder: Path, n: int = 30) -> None:
    """Write four small files in the layout of Fashion-MNIST."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for part in ("train", "t10k"):
        images = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        head = bytes([0, 0, 8, 3]) + np.array(images.shape, ">u4").tobytes()
        with gzip.open(folder / f"{part}-images-idx3-ubyte.gz", "wb") as stream:
            stream.write(head + images.tobytes())
        head = bytes([0, 0, 8, 1]) + np.array([n], ">u4").tobytes()
        with gzip.open(folder / f"{part}-labels-idx1-ubyte.gz", "wb") as stream:
            stream.write(head + bytes(i % 10 for i in range(n)))


def test_fashion_mnist_from_files(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "raw" / "fashion_mnist"
    idx_files(folder)
    raw = fashion_mnist.read(FashionMNISTParams(), tmp_path)
    assert raw.x.shape == (60, 1, 28, 28) and raw.x.dtype == np.uint8
    assert raw.labels is not None and np.bincount(raw.labels).tolist() == [6] * 10
    meta = prepare("f", FashionMNISTParams(), tmp_path, tmp_path / "f", lambda _: None)
    assert meta["counts"]["train"] == 40 and meta["labels"][9] == "Ankle boot"

    file = folder / "train-images-idx3-ubyte.gz"
    whole = file.read_bytes()
    file.write_bytes(whole[:1000])
    with pytest.raises(SgmError, match=r"train-images-idx3-ubyte.gz cannot be read"):
        fashion_mnist.read(FashionMNISTParams(), tmp_path)
    file.write_bytes(gzip.compress(gzip.decompress(whole)[:1000]))
    with pytest.raises(SgmError, match="is truncated"):
        fashion_mnist.read(FashionMNISTParams(), tmp_path)
    file.write_bytes(gzip.compress(b"hello world, this is not idx"))
    with pytest.raises(SgmError, match="is not an idx file"):
        fashion_mnist.read(FashionMNISTParams(), tmp_path)
    with pytest.raises(UsageError, match="path: .*elsewhere has no train-images"):
        fashion_mnist.read(FashionMNISTParams(path="elsewhere"), tmp_path)


def test_fashion_mnist_nowhere_names_all_three_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fashion_mnist, "DEBIAN", tmp_path / "absent")

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network")

    fake = types.ModuleType("torchvision.datasets")
    fake.FashionMNIST = refuse  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.datasets", fake)
    with pytest.raises(SgmError) as caught:
        fashion_mnist.read(FashionMNISTParams(), tmp_path)
    for way in ("dataset-fashion-mnist", "data/raw/fashion_mnist", "torchvision", "no network"):
        assert way in str(caught.value)

    def download(root: str, train: bool, download: bool) -> None:
        if train and download:
            idx_files(Path(root) / "FashionMNIST" / "raw")

    fake.FashionMNIST = download  # type: ignore[attr-defined]
    assert len(fashion_mnist.read(FashionMNISTParams(), tmp_path).x) == 60


@pytest.mark.skipif(not fashion_mnist.DEBIAN.is_dir(), reason="no dataset-fashion-mnist")
def test_fashion_mnist_of_debian(tmp_path: Path) -> None:
    raw = fashion_mnist.read(FashionMNISTParams(), tmp_path)
    assert raw.x.shape == (70_000, 1, 28, 28)
    assert raw.labels is not None and np.bincount(raw.labels).tolist() == [7000] * 10


GROUPS = """# group: Smileys & Emotion
1F600                 ; fully-qualified     # grinning face
263A FE0F             ; fully-qualified     # smiling face
263A                  ; unqualified         # smiling face
# group: People & Body
1F44B                 ; fully-qualified     # waving hand
1F44B 1F3FB           ; fully-qualified     # waving hand: light skin tone
# group: Flags
1F1E9 1F1EA           ; fully-qualified     # flag: Germany
"""


def test_emoji_list_without_selectors_and_skin_tones() -> None:
    assert emoji.emoji_of(GROUPS) == [
        ("Smileys & Emotion", (0x1F600,)),
        ("Smileys & Emotion", (0x263A,)),
        ("People & Body", (0x1F44B,)),
        ("Flags", (0x1F1E9, 0x1F1EA)),
    ]


def test_emoji_errors_say_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"font: .*mine.ttf does not exist"):
        emoji.read(EmojiParams(font="mine.ttf"), tmp_path)
    monkeypatch.setattr(emoji, "FONTS", ())
    with pytest.raises(SgmError, match="install Debian's fonts-noto-color-emoji"):
        emoji.read(EmojiParams(), tmp_path)
    monkeypatch.setattr(emoji, "GROUPS", ())
    (tmp_path / "mine.ttf").write_bytes(b"not a font")
    with pytest.raises(SgmError, match="install Debian's unicode-data"):
        emoji.read(EmojiParams(font="mine.ttf"), tmp_path)
    own = tmp_path / "data" / "raw" / "emoji"
    own.mkdir(parents=True)
    (own / "emoji-test.txt").write_text(GROUPS)
    with pytest.raises(UsageError, match="not a readable font"):
        emoji.read(EmojiParams(font="mine.ttf"), tmp_path)


@pytest.mark.skipif(
    not (Path(emoji.FONTS[0]).is_file() and Path(emoji.GROUPS[0]).is_file()),
    reason="no fonts-noto-color-emoji or no unicode-data",
)
def test_emoji_of_debian(tmp_path: Path) -> None:
    meta = prepare("emoji", EmojiParams(size=32), tmp_path, tmp_path / "e", lambda _: None)
    data = load_dataset(tmp_path / "e")
    assert data.shape == (3, 32, 32) and len(data.labels) == 9
    assert sum(meta["counts"].values()) > 1500
    x = data.split("train").x
    corners = x[:, :, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners > 250).mean() > 0.95  # on white
    assert len({item.tobytes() for item in x}) == len(x)
