"""The folder of a report: complete, deterministic, swapped in one step, safe to open."""

from __future__ import annotations

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from matplotlib.image import imread
from report_fakes import IMAGES_META, experiment, outcome, spec

from flows import packaging
from sgm_core.errors import SgmError
from sgm_core.report import write as writing
from sgm_core.report.card import model_card
from sgm_core.report.content import Content
from sgm_core.report.scene import PARTS, Scene
from sgm_core.report.write import write_reports

HOSTILE = "vp-<script>alert(1)</script>\"'&|`_x_-s0"


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_report_is_complete_and_deterministic(tmp_path: Path) -> None:
    config = experiment()
    outcomes = [
        outcome(tmp_path, "vp-small-s0", 0.3, extra={"off": 0.02}),
        outcome(tmp_path, "cld-small-s0", 0.2, 0.25),
    ]
    failures = [(spec("cld-large-s0"), "the loss became NaN")]
    report = write_reports(config, outcomes, failures, tmp_path / "a")
    write_reports(config, outcomes[::-1], failures, tmp_path / "b")
    first = files(tmp_path / "a")
    assert first == files(tmp_path / "b")
    assert set(first) == {
        "leaderboard.parquet", "leaderboard.md", "metrics.json", "report.html",
        "loss.png", "nfe.png", "heatmap.png", "training_time.png", "samplers.png",
        "side_by_side.png",
        "cells/vp-small-s0/samples.png", "cells/vp-small-s0/trajectory.png",
        "cells/cld-small-s0/samples.png", "cells/cld-small-s0/trajectory.png",
    }  # fmt: skip
    for name in ("loss.png", "nfe.png", "heatmap.png", "training_time.png"):
        picture = imread(tmp_path / "a" / name)
        assert picture.shape[1] > 700
        assert picture[..., :3].std() > 0.02
    assert report.choice.cell == "cld-small-s0"
    frame = pd.read_parquet(tmp_path / "a" / "leaderboard.parquet")
    pd.testing.assert_frame_equal(frame, report.frame)
    assert frame.attrs["metric"] == "sliced_w2"


def test_metrics_json_is_flat_numbers(tmp_path: Path) -> None:
    outcomes = [
        outcome(tmp_path, "vp-small-s0", 0.3, extra={"off": 0.02}),
        outcome(tmp_path, "cld-small-s0", 0.2, 0.25),
    ]
    write_reports(experiment(), outcomes, [(spec("vp-large-s0"), "x")], tmp_path / "out")
    text = (tmp_path / "out" / "metrics.json").read_text()
    numbers = json.loads(text)
    assert text.endswith("}\n")
    assert set(numbers["cells"]) == {"vp-small-s0", "cld-small-s0"}
    assert numbers["best"] == numbers["cells"]["cld-small-s0"]
    assert numbers["best"] == {
        "nfe": 20, "parameters": 1000, "sliced_w2": 0.25, "sliced_w2_validation": 0.2,
        "train_seconds": 1.5,
    }  # fmt: skip
    assert numbers["cells"]["vp-small-s0"]["off"] == 0.02


def test_several_seeds_missing_fields_and_a_metric_below_zero(tmp_path: Path) -> None:
    config = experiment(seeds=[0, 1], selection={"metric": "energy"})
    outcomes = [
        outcome(tmp_path, "vp-small-s0", -0.01, metric="energy"),
        outcome(tmp_path, "vp-small-s1", 0.2, metric="energy", seed=1),
        outcome(tmp_path, "cld-large-s0", None, metric="energy", details={"finite": 0.0}),
    ]
    report = write_reports(config, outcomes, [], tmp_path / "out")
    assert report.choice.cell == "vp-small-s0"
    assert report.frame["seed"].tolist()[:2] == [0, 1]


def test_all_cells_failed_still_gives_a_report(tmp_path: Path) -> None:
    report = write_reports(experiment(), [], [(spec("vp-small-s0"), "NaN")], tmp_path / "out")
    assert report.choice.cell is None
    assert "failed: NaN" in (tmp_path / "out" / "report.html").read_text()
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == {"best": {}, "cells": {}}
    with pytest.raises(SgmError, match="no cell to report"):
        write_reports(experiment(), [], [], tmp_path / "none")


def test_images_experiment(tmp_path: Path) -> None:
    one = outcome(tmp_path, "vp-small-s0", 0.3, metric="fd", meta=IMAGES_META)
    report = write_reports(experiment(images=True), [one], [], tmp_path / "out")
    assert report.frame.attrs["metric"] == "fd"


class Page(HTMLParser):
    """Collects every address, tag and inline handler of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.handlers: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "srcset", "action", "data", "poster"):
                self.addresses.append(value or "")
            if name.startswith("on") or name == "style":
                self.handlers.append(name)


def test_html_loads_nothing_and_escapes_everything(tmp_path: Path) -> None:
    one = outcome(tmp_path, HOSTILE, 0.3)
    failures = [(spec("cld-small-s0"), "<img src=x onerror=alert(2)>")]
    out = tmp_path / "out"
    # A cell's name is also a folder's; the grid refuses such labels, the page must not rely on it.
    results = writing.read([one], experiment())
    frame = writing.searched_board(experiment(), [one], failures, [])
    frame.attrs["since"] = ["<script>alert(1)</script>"]
    content = Content(experiment(), results, [], frame, writing.choose(frame), None)
    text = writing.html.report_page(content, writing.draw_here(Scene.of(content), PARTS))
    page = Page(text)
    assert page.tags.count("script") == 1
    assert page.handlers == []
    assert page.addresses
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)
    without_data = re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "", text)
    assert not re.search(r"https?:|//[a-z]|@import|url\(", without_data)
    assert "&lt;script&gt;alert(1)" in text
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert "default-src 'none'" in text
    assert "prefers-color-scheme: dark" in text
    assert not out.exists()


def test_markdown_keeps_hostile_names_inside_their_cell(tmp_path: Path) -> None:
    frame = writing.searched_board(experiment(), [outcome(tmp_path, HOSTILE, 0.3)], [], [])
    choice = writing.choose(frame)
    text = writing.markdown.leaderboard(frame, choice)
    assert "<script>" not in re.sub(r"\\<", "", text)
    row = next(line for line in text.splitlines() if line.startswith("| 1 |"))
    head = next(line for line in text.splitlines() if line.startswith("| rank"))
    assert len(re.findall(r"(?<!\\)\|", row)) == len(re.findall(r"(?<!\\)\|", head))


def test_a_report_is_replaced_whole_and_survives_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    one = outcome(tmp_path, "vp-small-s0", 0.3)
    write_reports(experiment(), [one], [], out)
    (out / ".gitignore").write_text("/leaderboard.parquet\n")
    (out / "stale.png").write_text("x")
    before = files(out)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing, "write_json", full)
    with pytest.raises(SgmError, match="disk is full"):
        write_reports(experiment(), [one], [], out)
    assert files(out) == before
    monkeypatch.undo()
    write_reports(experiment(), [one], [], out)
    after = files(out)
    assert after == {name: data for name, data in before.items() if name != "stale.png"}
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_model_card(tmp_path: Path) -> None:
    one = outcome(
        tmp_path, "vp-small-s0", 0.3, 0.2, metric="fd", extra={"memorised": 0.02}, meta=IMAGES_META
    )
    text = model_card(
        "sgm-toy", 3, experiment(images=True), one, "it is the best.", {"git commit": "abc|`x"}
    )
    for part in (
        "# sgm-toy, version 3",
        "| **fd** | 0.200 (0.180 to 0.220) | 0.0100 (0.00800 to 0.0120) |",
        'mlflow.pyfunc.load_model("models:/sgm-toy@champion")',
        '"label": 0}',
        "each of class zero",
        "ScoreModel.load",
        "2.0% of its samples",
        "![samples](samples.png)",
        "`abc/'x`",
        "sampler `ddim`",
    ):
        assert part in text
    assert "field.png" not in text


def test_the_code_of_a_card_runs_with_the_types_of_the_signature(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = outcome(tmp_path, "vp-small-s0", 0.3, metric="fd", meta=IMAGES_META)
    text = model_card("sgm-toy", 3, experiment(images=True), one, "best.", {})
    asked: dict[str, object] = {}

    class Model:
        def predict(self, _: None, params: dict[str, object]) -> None:
            asked.update(params)

    model = SimpleNamespace(generate=lambda n, seed: asked.update(n=n))
    fakes = {
        "mlflow": SimpleNamespace(pyfunc=SimpleNamespace(load_model=lambda uri: Model())),
        "sgm_core.model": SimpleNamespace(ScoreModel=SimpleNamespace(load=lambda path: model)),
    }
    for name, fake in fakes.items():
        monkeypatch.setitem(sys.modules, name, fake)
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    for block in blocks:
        exec(compile(block, "card", "exec"), {})
    assert len(blocks) == 2
    assert asked == {"n": 16, "seed": 0, "label": 0}
    types = {"long": int, "double": float, "string": str}
    signature = packaging.parameters()
    assert all(type(value) is types[signature[name][0]] for name, value in asked.items())
