"""Preparing and loading: split, deduplication, digest, atomic writing, alterations noticed."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sgm_core.config.data import DatasetParams, DigitsParams, SwissRollParams, TableParams
from sgm_core.data import load_dataset, prepare
from sgm_core.data import prepare as prepare_function
from sgm_core.data.check import check
from sgm_core.data.raw import Raw
from sgm_core.errors import SgmError, UsageError


def quiet(_: str) -> None:
    pass


def points(n: int = 50, d: int = 2, seed: int = 0) -> Raw:
    return Raw("points", np.random.default_rng(seed).normal(size=(n, d)))


def test_digits_are_prepared_stratified_and_disjoint(tmp_path: Path) -> None:
    meta = prepare("digits", DigitsParams(), tmp_path, tmp_path / "digits", quiet)
    data = load_dataset(tmp_path / "digits")
    assert data.meta == meta
    assert (data.kind, data.shape, data.meta["range"]) == ("images", (1, 8, 8), [0.0, 16.0])
    assert data.labels == [str(digit) for digit in range(10)]
    assert (meta["center"], meta["scale"]) == ([8.0], [8.0])
    splits = {name: data.split(name) for name in ("train", "validation", "test")}
    assert sum(len(split) for split in splits.values()) == 1797
    seen: set[bytes] = set()
    for name, split in splits.items():
        assert split.x.dtype == np.uint8
        assert split.labels is not None and split.labels.dtype == np.int64
        assert np.bincount(split.labels).tolist() == meta["label_counts"][name]
        items = {x.tobytes() for x in split.x}
        assert len(items) == len(split) == meta["counts"][name] and not items & seen
        seen |= items
    model_space = (splits["train"].x - 8.0) / 8.0
    assert meta["sigma_data"] == pytest.approx(model_space.std(), rel=1e-9)
    assert min(meta["label_counts"]["test"]) >= 26
    first = splits["train"].labels
    assert first is not None and len(set(first[:50].tolist())) == 10  # shuffled, not by class


def test_points_are_standardised_by_the_train_split(tmp_path: Path) -> None:
    params = SwissRollParams(n=2000)
    meta = prepare("roll", params, tmp_path, tmp_path / "roll", quiet)
    train = load_dataset(tmp_path / "roll").split("train")
    assert train.x.dtype == np.float64 and train.labels is None
    np.testing.assert_allclose(meta["center"], train.x.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(meta["scale"], train.x.std(axis=0), rtol=1e-9)
    assert meta["sigma_data"] == pytest.approx(1.0)


def test_digest_depends_on_bytes_and_seed_but_not_on_names(tmp_path: Path) -> None:
    def digest(name: str, params: DatasetParams) -> str:
        return str(prepare(name, params, tmp_path, tmp_path / name, quiet)["digest"])

    one = digest("one", SwissRollParams(n=500))
    assert one == digest("two", SwissRollParams(n=500))
    assert one != digest("three", SwissRollParams(n=500, seed=1))
    assert one != digest("four", SwissRollParams(n=500, test=0.2))


def test_loading_needs_no_torch_and_no_pickle(tmp_path: Path) -> None:
    prepare("digits", DigitsParams(), tmp_path, tmp_path / "d", quiet)
    from safetensors.numpy import load_file

    split = load_dataset(tmp_path / "d").split("test")
    other = load_file(tmp_path / "d" / "test.safetensors")  # the file is what the library expects
    np.testing.assert_array_equal(split.x, other["x"])
    assert split.labels is not None
    np.testing.assert_array_equal(split.labels, other["labels"])


@pytest.mark.parametrize("kind", ["digits", "roll"])
def test_one_flipped_bit_is_noticed_and_named(tmp_path: Path, kind: str) -> None:
    params: DatasetParams = DigitsParams() if kind == "digits" else SwissRollParams(n=200)
    prepare(kind, params, tmp_path, tmp_path / "d", quiet)
    (file,) = (tmp_path / "d").glob("test.*")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    data = load_dataset(tmp_path / "d")
    assert len(data.split("train")) > 0
    with pytest.raises(SgmError, match=rf"{file.name} was altered"):
        data.split("test")
    file.unlink()
    with pytest.raises(SgmError, match=r"cannot be read \(No such file"):
        data.split("test")


def test_altered_or_missing_description(tmp_path: Path) -> None:
    with pytest.raises(SgmError, match=r"dvc repro prepare@nothing"):
        load_dataset(tmp_path / "nothing")
    prepare("roll", SwissRollParams(n=200), tmp_path, tmp_path / "d", quiet)
    file = tmp_path / "d" / "dataset.json"
    text = file.read_text()
    assert text.endswith("}\n") and list(json.loads(text)) == sorted(json.loads(text))
    meta = json.loads(text)
    meta["scale"][0] *= 2
    file.write_text(json.dumps(meta))
    with pytest.raises(SgmError, match="was altered"):
        load_dataset(tmp_path / "d")
    file.write_text(text[:100])
    with pytest.raises(SgmError, match="is damaged"):
        load_dataset(tmp_path / "d")
    file.write_text('{"format": 99}')
    with pytest.raises(SgmError, match="format 99"):
        load_dataset(tmp_path / "d")
    with pytest.raises(UsageError, match="did you mean 'train'"):
        prepare("roll", SwissRollParams(n=200), tmp_path, tmp_path / "e", quiet)
        load_dataset(tmp_path / "e").split("trian")


def test_duplicates_keep_the_first_occurrence() -> None:
    x = np.arange(40.0).reshape(20, 2)
    x[[5, 9]] = x[2]
    x[7] = -0.0
    x[8] = 0.0  # equal to -0.0
    checked = check(Raw("points", x), SwissRollParams())
    rows = np.sort(np.concatenate(list(checked.rows.values())))
    assert rows.tolist() == [i for i in range(20) if i not in (5, 8, 9)]
    assert checked.meta["duplicates_removed"] == 3


def test_a_rare_class_is_seen_in_training() -> None:
    labels = np.array([0] * 30 + [1] * 2 + [2] * 3)
    raw = Raw("points", points(35).x, labels, ("many", "two", "three"))
    counts = check(raw, SwissRollParams()).meta["label_counts"]
    assert counts["train"][1] == 2
    assert [counts[split][2] for split in ("train", "validation", "test")] == [1, 1, 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ([(3, 1, np.nan)], r"row 4 column 'b'"),
        ([(3, 1, np.inf), (8, 0, np.nan)], r"in 2 of 50 rows: row 4 column 'b', row 9 column 'a'"),
        ([(slice(None), 0, 0.1)], r"column 'a' is constant \(0\.1\)"),
        ([(slice(0, 25), 0, 1e308), (slice(25, 50), 0, -1e308)], "'a' has values too large"),
    ],
)
def test_bad_points(change: list[tuple[Any, int, float]], message: str) -> None:
    x = points().x
    for row, column, value in change:
        x[row, column] = value
    with pytest.raises(UsageError, match=message):
        check(Raw("points", x, columns=("a", "b")), SwissRollParams())


def test_too_few_items() -> None:
    with pytest.raises(UsageError, match="has 9 items; give at least 10"):
        check(points(9), SwissRollParams())
    x = np.repeat(points(5).x, 4, axis=0)
    with pytest.raises(UsageError, match="5 items after 15 exact duplicates"):
        check(Raw("points", x), SwissRollParams())
    counts = check(points(10), SwissRollParams()).meta["counts"]
    assert min(counts.values()) >= 1 and sum(counts.values()) == 10


def test_a_failure_leaves_the_older_dataset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "data" / "digits"
    before = prepare("digits", DigitsParams(), tmp_path, out, quiet)

    def full(*_: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    module = __import__("sgm_core.data.prepare", fromlist=["write_tensors"])
    monkeypatch.setattr(module, "write_tensors", full)
    with pytest.raises(SgmError, match="the disk is full; free some space") as caught:
        prepare("digits", DigitsParams(seed=1), tmp_path, out, quiet)
    assert caught.value.exit_code == 1
    assert load_dataset(out).digest == before["digest"]
    assert [child.name for child in out.parent.iterdir()] == ["digits"]


def test_destinations_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(SgmError, match=r"file.*: .*; move that file away"):
        prepare("roll", SwissRollParams(n=100), tmp_path, tmp_path / "file" / "out", quiet)
    with pytest.raises(UsageError, match="something else than a prepared dataset"):
        prepare("roll", SwissRollParams(n=100), tmp_path, tmp_path, quiet)
    assert (tmp_path / "file").read_text() == "x"


def test_messages_name_the_dataset_and_reach_the_log(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("1,2\n" * 5)
    lines: list[str] = []
    with pytest.raises(UsageError, match=r"dataset mine: has 5 items"):
        prepare_function("mine", TableParams(path="p.csv"), tmp_path, tmp_path / "o", lines.append)
    assert lines == ["mine: p.csv has no header; its columns are called x0, x1, ..."]
    assert not (tmp_path / "o").exists()
