"""What a report says beside its table: changes, pairs and rungs, samplers, provenance, the card."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from decision_fakes import judged
from matplotlib.image import imread
from report_fakes import IMAGES_META, experiment, images_data, outcome
from safetensors.numpy import save_file

from sgm_core.report.card import DESCRIPTION, model_card, shortened
from sgm_core.report.card_page import card_page
from sgm_core.report.nearest import nearest_picture
from sgm_core.report.provenance import provenance
from sgm_core.report.results import read
from sgm_core.report.sampler_chart import samplers_figure
from sgm_core.report.write import write_reports

CONFIG = experiment(seeds=[0, 1, 2])


def cells(root: Path, shift: float = 0.0) -> list[Any]:
    """Two pairs with three seeds each; their evaluation keys depend on the numbers."""
    found = []
    for process, value in (("vp", 0.3), ("cld", 0.5)):
        for seed in range(3):
            one = outcome(root / f"{shift}", f"{process}-small-s{seed}", value + shift, seed=seed)
            one.evaluation.key = f"{process}{seed}{shift}" * 4
            found.append(one)
    return found


def since(out: Path) -> list[str]:
    return list(pd.read_parquet(out / "leaderboard.parquet").attrs["since"])


def test_a_report_tells_what_changed_since_the_last_one(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_reports(CONFIG, cells(tmp_path), [], out)
    assert since(out) == []
    first = (out / "report.html").read_bytes()
    before = cells(tmp_path / "again")
    write_reports(CONFIG, before, [], out)
    assert (out / "report.html").read_bytes() == first, "writing it twice changes nothing"
    later = cells(tmp_path, -0.02)[:5]
    later[3] = outcome(tmp_path / "z", "cld-small-s0", 0.01)
    later[4] = before[4]
    write_reports(CONFIG, later, [], out)
    told = since(out)
    assert told[0].startswith("the chosen cell is cld-small-s0")
    assert "it was vp-small-s0 (sliced_w2 0.300)" in told[0]
    assert "gone: cld-small-s2" in told
    assert "vp-small-s0: sliced_w2 0.280, better (was 0.300)" in told
    assert not any(text.startswith("cld-small-s1:") for text in told), "it is as it was"
    assert "<h2>Since the last report</h2>" in (out / "report.html").read_text()
    write_reports(CONFIG, later, [], out)
    assert since(out) == told, "said again until the results are others"


def test_a_last_report_that_is_damaged_counts_as_none(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "leaderboard.parquet").write_bytes(b"PAR1")
    write_reports(CONFIG, cells(tmp_path), [], out)
    assert since(out) == []


def test_pairs_and_rungs_have_their_tables(tmp_path: Path) -> None:
    config = experiment(seeds=[0, 1, 2])
    trials = [
        outcome(tmp_path / "cheap", f"{name}-{net}-s0-20steps", value)
        for name, net, value in (("vp", "small", 0.6), ("cld", "small", 0.7), ("vp", "large", 0.9))
    ]
    out = tmp_path / "out"
    report = write_reports(config, cells(tmp_path), [], out, [trials])
    board, page = (out / "leaderboard.md").read_text(), (out / "report.html").read_text()
    assert "| vp | small | 3 | 0.300 ± 0 | 0.300 | 0.300 |" in board
    assert "| 20 | vp-large-s0-20steps | 0.900 (0.810 to 0.990) | 1.50 | no |" in board
    assert "| 20 | vp-small-s0-20steps | 0.600 (0.540 to 0.660) | 1.50 | yes |" in board
    for words in ("Pairs over their training seeds", "The search", "vp-large-s0-20steps"):
        assert words in page
    assert report.frame["status"].tolist() == ["ok"] * 6 + ["left out"]
    assert imread(out / "heatmap.png")[..., :3].std() > 0.02
    assert imread(out / "side_by_side.png")[..., :3].std() > 0.02


def samplers() -> dict[str, Any]:
    rows = [
        {
            "sampler": name, "steps": nfe, "nfe": nfe, "metric": "sliced_w2", "value": value / nfe,
            "low": 0.9 * value / nfe, "high": 1.1 * value / nfe, "floor": 0.01, "better": "lower",
            "n": 100, "seconds_per_sample": 0.002, "cpu_seconds_per_sample": 0.001,
        }
        for name, value in (("ddim", 1.0), ("<b>heun", 2.0)) for nfe in (5, 10, 20)
    ]  # fmt: skip
    return {"rows": rows, "sampler": "ddim", "steps": 20}


def test_the_samplers_of_the_chosen_cell_have_a_chart_and_a_table(tmp_path: Path) -> None:
    write_reports(CONFIG, cells(tmp_path), [], tmp_path / "out", samplers=samplers())
    board = (tmp_path / "out" / "leaderboard.md").read_text()
    page = (tmp_path / "out" / "report.html").read_text()
    assert "| ddim | 5 | 0.200 (0.180 to 0.220) | 0.00100 | 0.00200 |" in board
    assert "&lt;b&gt;heun" in page and "<b>heun" not in page
    assert imread(tmp_path / "out" / "samplers.png")[..., :3].std() > 0.02
    write_reports(CONFIG, cells(tmp_path / "b"), [], tmp_path / "without")
    assert "under every sampler" not in (tmp_path / "without" / "report.html").read_text()
    assert (tmp_path / "without" / "samplers.png").is_file(), "a stage of DVC promises the file"


def test_the_chart_of_samplers_takes_metrics_below_zero() -> None:
    from sgm_core.report.canvas import LIGHT, png

    document = samplers()
    for row in document["rows"]:
        row["value"] -= 0.1
    assert png(samplers_figure(document, "sliced_w2", LIGHT))


DETAILS = {
    "finite": 1.0, "sampler": "ddim", "options": {"eta": 0.5}, "grid": "log", "steps": 20,
    "nfe": 20, "device": "cpu", "seeds": [1234, 1333],
    "reference": {"split": "test", "dataset_digest": "a" * 64, "reference_digest": "b" * 64},
    "extractor": {"name": "sgm-cnn-1", "sha256": "c" * 64, "dim": 64, "resize": "none"},
}  # fmt: skip


def test_a_frechet_distance_carries_all_that_it_was_made_from(tmp_path: Path) -> None:
    one = outcome(
        tmp_path, "vp-small-s0", 0.7, metric="fd", meta=IMAGES_META, details=DETAILS,
        extra={"fd_inf": 0.6, "kid": 0.01},
    )  # fmt: skip
    result = read([one], experiment(images=True))[0]
    facts = dict(provenance(result))
    assert facts["fd"] == "0.700 (0.630 to 0.770), n = 100 against 90"
    assert facts["fd_inf"].startswith("0.600") and facts["kid"].startswith("0.0100")
    assert facts["reference"] == f"test split, data {'a' * 16}…, statistics {'b' * 16}…"
    assert facts["samples"] == (
        "sampler ddim {'eta': 0.5}, log grid, 20 steps, 20 network evaluations, seeds 1234 to "
        "1333, cpu"
    )
    assert facts["features"] == f"sgm-cnn-1, 64 numbers, weights {'c' * 16}…"
    assert facts["resize"] == "none; samples rounded to whole pixel values"
    write_reports(experiment(images=True), [one], [], tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Where the figures come from" in page and f"weights {'c' * 16}" in page


def test_side_by_side_shows_the_same_seeds_of_images(tmp_path: Path) -> None:
    config = experiment(images=True)
    both = []
    for name in ("vp-small-s0", "cld-small-s0"):
        one = outcome(tmp_path, name, 0.3, metric="fd", meta=IMAGES_META)
        save_file(
            {"x": images_data().x.astype("float32")}, one.evaluation.path / "samples.safetensors"
        )
        both.append(one)
    write_reports(config, both, [], tmp_path / "out")
    picture = imread(tmp_path / "out" / "side_by_side.png")
    assert picture.shape[1] > 600 and picture[..., :3].std() > 0.05


def test_the_closest_pairs_stand_above_each_other(tmp_path: Path) -> None:
    data = images_data()
    made = data.x[[5, 9, 3]].astype(float)
    nearest_picture(data, made, np.array([0.3, 0.1, 0.2]), np.array([5, 9, 3]), tmp_path)
    picture = imread(tmp_path / "nearest.png")[..., :3]
    # Each sample equals its neighbour, so both rows of the picture are the same.
    top, left, tall = 48, 96, 80
    rows = [picture[top + i * (tall + 12) :][:tall, left : left + 3 * 84] for i in (0, 1)]
    assert rows[0] == pytest.approx(rows[1], abs=1e-3)


def test_the_card_tells_what_was_decided(tmp_path: Path) -> None:
    one = outcome(
        tmp_path, "vp-small-s0", 0.7, metric="fd", meta=IMAGES_META, details=DETAILS,
        extra={"memorised": 0.02},
    )  # fmt: skip
    config = experiment(images=True)
    verdict = judged(2.0, 3.0, noise=0.1)
    text = model_card("sgm-toy", 3, config, one, "it is <b>best</b>.", {"commit": "abc"}, verdict)
    assert "## What was decided" in text
    assert re.search(r"\| \*\*fd\*\* \| 2\.00 \| 3\.00 \| 33\.3% \(\d", text)
    assert "| finite | yes | all samples are finite |" in text
    assert f"weights {'c' * 16}" in text
    for heading in ("How good it is", "How to use it", "made from", "Limits", "Lineage"):
        assert heading in text
    short = shortened(text)
    assert len(short) <= DESCRIPTION and "What was decided" in short
    assert "The whole card is README.md" in shortened(text, 1200)
    page = card_page(text, one.evaluation.path)
    assert "<h2>What was decided</h2>" in page and "<table>" in page
    assert "data:image/png;base64," in page and '<img src="samples' not in page
    assert "&lt;b&gt;best" in page and "<b>best" not in page
    assert "default-src 'none'" in page


def test_reports_do_not_know_the_time(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_reports(CONFIG, cells(tmp_path / name), [], tmp_path / name / "out")
    texts = [(tmp_path / name / "out" / "metrics.json").read_text() for name in ("a", "b")]
    assert texts[0] == texts[1]
    assert json.loads(texts[0])["best"]["sliced_w2"] == 0.3
