"""Tables and arrays: points from CSV, Parquet, .npy, .npz, and what is wrong with them."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sgm_core.config.data import TableParams
from sgm_core.data import load_dataset, prepare, table
from sgm_core.errors import UsageError


def read(file: Path, label: str = "") -> Any:
    return table.read(TableParams(path=file.name, label=label), file.parent)


def text(file: Path, content: str) -> Path:
    file.write_text(content)
    return file


ROWS = "\n".join(f"{i},{i * i % 11},{'ab'[i % 2]}" for i in range(12))


def test_csv_with_labels_to_a_dataset(tmp_path: Path) -> None:
    text(tmp_path / "p.csv", f"u,v,class\n{ROWS}\n")
    params = TableParams(path="p.csv", label="class")
    meta = prepare("p", params, tmp_path, tmp_path / "out", lambda _: None)
    assert (meta["shape"], meta["labels"], meta["columns"]) == ([2], ["a", "b"], ["u", "v"])
    split = load_dataset(tmp_path / "out").split("train")
    assert split.labels is not None
    np.testing.assert_array_equal(split.x[:, 0] % 2, split.labels)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "u,v\n1,2.5\n3,4\n"),
        ("a.csv", "\ufeffu,v\r\n1,2.5\r\n3,4\r\n"),
        ("a.csv", "1,2.5\n3,4\n"),
        ("a.csv", "u;v\n1;2.5\n3;4"),
        ("a.tsv", "u\tv\n1\t2.5\n3\t4\n"),
        ("a.txt", "1 2.5\n3  4\n"),
        ("a.csv", '"u", "v"\n1, 2.5\n\n3, 4\n'),
    ],
)
def test_dialects(tmp_path: Path, name: str, content: str) -> None:
    assert read(text(tmp_path / name, content)).x.tolist() == [[1, 2.5], [3, 4]]
    with gzip.open(tmp_path / "b.csv.gz", "wt", encoding="utf-8") as stream:
        stream.write("1,2.5\n3,4\n")
    assert read(tmp_path / "b.csv.gz").x.tolist() == [[1, 2.5], [3, 4]]


def test_parquet_and_one_column(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1, 2, 3, 4], "ok": [True, False, True, True], "y": [7, 9, 9, 7]})
    frame.to_parquet(tmp_path / "p.parquet", index=False)
    raw = read(tmp_path / "p.parquet", "y")
    assert raw.x.tolist() == [[1, 1], [2, 0], [3, 1], [4, 1]]
    assert raw.labels.tolist() == [0, 1, 1, 0] and raw.label_names == ("7", "9")
    assert read(text(tmp_path / "one.csv", "t\n1\n2\n")).x.shape == (2, 1)


def test_labels_sort_as_numbers(tmp_path: Path) -> None:
    values = "\n".join(f"{i},{(i % 3) * 5}" for i in range(9))
    assert read(text(tmp_path / "p.csv", f"u,y\n{values}\n"), "y").label_names == ("0", "5", "10")


@pytest.mark.parametrize(
    ("content", "label", "message"),
    [
        (
            f"u,v,class\n{ROWS}\n",
            "",
            r"column 'class' of .* is not numeric \(row 1: 'a'\).*label: class",
        ),
        ("u,v\n1,2\n3,x4\n", "", r"column 'v' of .* is not numeric \(row 2: 'x4'\)"),
        (f"u,v,class\n{ROWS}\n", "clas", "unknown column 'clas'; did you mean 'class'"),
        ("u,y\n1,a\n2,\n3,a\n", "y", "column 'y' is empty in 1 rows, first in row 2"),
        ("u,y\n1,0.1\n2,0.2\n3,0.3\n", "y", "3 different values in 3 rows"),
        ("u,v\n1,\n2,\n", "", "column 'v' of .* is empty"),
        ("u,v\n1,2,3\n4,5,6\n", "", "more cells than its first row"),
        ("u,v\n1,2\n4,5,6\n", "", "cannot be read"),
        ("u,v\n", "", "has no rows"),
        ("", "", "is empty"),
        ("\n\n", "", "has no rows"),
        ("y\na\na\nb\nb\n", "y", "no column of numbers"),
    ],
)
def test_bad_csv(tmp_path: Path, content: str, label: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read(text(tmp_path / "p.csv", content), label)


def test_missing_cell_names_row_and_column(tmp_path: Path) -> None:
    rows = [f"{i},{i}" for i in range(20)]
    rows[16] = "16,"
    rows[4] = "nan,4"
    text(tmp_path / "p.csv", "u,v\n" + "\n".join(rows) + "\n")
    with pytest.raises(UsageError, match=r"in 2 of 20 rows: row 5 column 'u', row 17 column 'v'"):
        prepare("p", TableParams(path="p.csv"), tmp_path, tmp_path / "out", lambda _: None)


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        read(tmp_path / "gone.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        read(tmp_path / "folder.csv")
    with pytest.raises(UsageError, match="unknown type; give one of .csv"):
        read(text(tmp_path / "p.xlsx", "x"))
    for name in ("p.parquet", "p.npy", "p.npz", "p.csv.gz"):
        with pytest.raises(UsageError, match="cannot be read"):
            read(text(tmp_path / name, "this is something else"))
    np.save(tmp_path / "q.npy", np.ones((50, 5)))
    (tmp_path / "q.npy").write_bytes((tmp_path / "q.npy").read_bytes()[:900])
    with pytest.raises(UsageError, match="cannot be read"):
        read(tmp_path / "q.npy")
    (tmp_path / "latin.csv").write_bytes("größe,v\n1,2\n".encode("latin-1"))
    with pytest.raises(UsageError, match="cannot be read"):
        read(tmp_path / "latin.csv")


def test_arrays_of_points(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    raw = read(tmp_path / "x.npy")
    assert raw.kind == "points" and raw.x.dtype == np.float64
    np.testing.assert_array_equal(raw.x, x)
    np.save(tmp_path / "t.npy", np.arange(5))
    assert read(tmp_path / "t.npy").x.shape == (5, 1)
    np.savez(tmp_path / "z.npz", data=x, kind=np.array(["b", "a"] * 10))
    raw = read(tmp_path / "z.npz", "kind")
    assert raw.labels.tolist() == [1, 0] * 10 and raw.label_names == ("a", "b")


@pytest.mark.parametrize("shape", [(12, 6, 5), (12, 6, 5, 1), (12, 1, 6, 5), (12, 6, 5, 2)])
def test_arrays_of_grey_images(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "x.npy", np.full(shape, 255, np.uint8))
    raw = read(tmp_path / "x.npy")
    assert (raw.kind, raw.x.shape, raw.x.dtype) == ("images", (12, 1, 6, 5), np.uint8)
    assert (raw.x == 255).all()


def test_arrays_of_colour_images(tmp_path: Path) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (300, 6, 5, 3), dtype=np.uint8)
    expected = levels.transpose(0, 3, 1, 2)
    for stored in (
        levels,
        expected,
        levels / 255.0,
        levels.astype(np.int64),
        levels.astype(np.float32),
    ):
        np.save(tmp_path / "x.npy", stored)
        np.testing.assert_array_equal(read(tmp_path / "x.npy").x, expected)
    np.save(tmp_path / "x.npy", levels.astype(np.uint16) * 257)
    np.testing.assert_array_equal(read(tmp_path / "x.npy").x, expected)
    clear = np.concatenate([levels, np.zeros((300, 6, 5, 1), np.uint8)], axis=3)
    np.save(tmp_path / "x.npy", clear)
    assert (read(tmp_path / "x.npy").x == 255).all()  # all transparent on white


@pytest.mark.parametrize(
    ("arrays", "label", "message"),
    [
        ({"a": np.ones((9, 2)), "b": np.ones(9)}, "", "holds the arrays a, b; keep one"),
        ({"x": np.ones((9, 2)), "y": np.ones(8)}, "y", "8 labels for 9 items"),
        ({"x": np.ones((9, 2)), "y": np.ones((9, 1))}, "y", r"has shape \(9, 1\)"),
        ({"x": np.ones((9, 2))}, "z", "unknown array 'z'"),
        ({"x": np.full((9, 4, 4), 3.5e5)}, "", "levels 350000 to 350000; give 0 to 255"),
        ({"x": np.full((9, 4, 4), np.nan)}, "", "in 9 items, first in item 1"),
        ({"x": np.ones((9, 8, 8, 7))}, "", "no axis has the 1 or 3 channels"),
        ({"x": np.ones((9, 2), complex)}, "", "complex128 values"),
        ({"x": np.ones((2, 2, 2, 2, 2))}, "", "shape"),
        ({"x": np.ones(())}, "", "shape"),
    ],
)
def test_bad_arrays(tmp_path: Path, arrays: dict[str, Any], label: str, message: str) -> None:
    np.savez(tmp_path / "z.npz", **arrays)
    with pytest.raises(UsageError, match=message):
        read(tmp_path / "z.npz", label)


def test_pickled_objects_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "o.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(UsageError, match="cannot be read"):
        read(tmp_path / "o.npy")
