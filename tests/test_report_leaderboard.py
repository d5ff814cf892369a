"""The ranking: validation decides, the test split is shown, the excluded say why."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from report_fakes import experiment, outcome, spec
from rich.console import Console

from sgm_core.errors import SgmError
from sgm_core.report import markdown, terminal
from sgm_core.report.choice import choose
from sgm_core.report.leaderboard import leaderboard


def test_rank_follows_validation_and_shows_the_test_split(tmp_path: Path) -> None:
    config = experiment()
    outcomes = [
        outcome(tmp_path, "vp-small-s0", 0.30, 0.10),
        outcome(tmp_path, "cld-large-s0", 0.20, 0.40, extra={"off": 0.5}),
    ]
    frame = leaderboard(outcomes, [(spec("vp-large-s0"), "NaN\nat step 3")], config)
    assert list(frame["cell"]) == ["cld-large-s0", "vp-small-s0", "vp-large-s0"]
    assert frame["rank"].tolist()[:2] == [1, 2]
    assert pd.isna(frame["rank"][2])
    best = frame.iloc[0]
    assert (best["process"], best["net"], best["seed"]) == ("cld", "large", 0)
    assert (best["sliced_w2"], best["sliced_w2_validation"]) == (0.40, 0.20)
    assert math.isclose(best["sliced_w2_low"], 0.36)
    assert math.isclose(best["sliced_w2_high"], 0.44)
    assert best["sliced_w2_floor"] == 0.01
    assert frame["off"].isna().tolist() == [False, True, True]
    assert frame["status"].tolist() == ["ok", "ok", "failed"]
    assert frame["error"][2] == "failed: NaN at step 3" or frame["error"][2] == "NaN at step 3"
    assert frame["nfe"].tolist()[:2] == [20, 20]
    first = list(frame.columns[:8])
    assert first == [
        "rank", "cell", "process", "net", "seed", "sliced_w2", "sliced_w2_low", "sliced_w2_high",
    ]  # fmt: skip


def test_order_does_not_depend_on_arrival_and_ties_go_to_the_smaller(tmp_path: Path) -> None:
    a = outcome(tmp_path, "vp-large-s0", 0.2, parameters=5000)
    b = outcome(tmp_path, "vp-small-s0", 0.2, parameters=100)
    c = outcome(tmp_path, "cld-small-s0", 0.2, parameters=100)
    config = experiment()
    names = [list(leaderboard(order, [], config)["cell"]) for order in ([a, b, c], [c, b, a])]
    assert names[0] == names[1] == ["cld-small-s0", "vp-small-s0", "vp-large-s0"]


def test_higher_is_better_where_the_metric_says_so(tmp_path: Path) -> None:
    config = experiment(images=True, selection={"metric": "agreement"})
    outcomes = [
        outcome(tmp_path, "vp-small-s0", 0.5, metric="agreement"),
        outcome(tmp_path, "cld-small-s0", 0.9, metric="agreement"),
    ]
    frame = leaderboard(outcomes, [], config)
    choice = choose(frame)
    assert choice.cell == "cld-small-s0"
    assert "highest agreement" in choice.reason


def test_not_finite_and_memorised_cells_cannot_be_chosen(tmp_path: Path) -> None:
    config = experiment(images=True, selection={"max_memorised": 0.2})
    outcomes = [
        outcome(tmp_path, "vp-small-s0", 0.1, metric="fd", extra={"memorised": 0.6}),
        outcome(tmp_path, "vp-large-s0", None, metric="fd", details={"finite": 0.5}),
        outcome(tmp_path, "cld-small-s0", 0.05, metric="fd", details={"finite": 0.99}),
        outcome(tmp_path, "cld-large-s0", 0.9, metric="fd", extra={"memorised": 0.2}),
    ]
    frame = leaderboard(outcomes, [], config)
    choice = choose(frame)
    assert choice.cell == "cld-large-s0"
    assert frame["cell"][0] == "cld-large-s0"
    assert frame["rank"].notna().sum() == 1
    assert set(choice.excluded) == {"vp-small-s0", "vp-large-s0", "cld-small-s0"}
    assert "60.0%" in choice.excluded["vp-small-s0"]
    assert "(at most 20.0%)" in choice.excluded["vp-small-s0"]
    assert choice.excluded["vp-large-s0"].startswith("not finite")
    statuses = dict(zip(frame["cell"], frame["status"], strict=True))
    assert statuses["vp-small-s0"] == "memorised"
    assert statuses["cld-small-s0"] == "not finite"


def test_the_reason_admits_overlapping_intervals(tmp_path: Path) -> None:
    config = experiment()
    near = [
        outcome(tmp_path / "a", "vp-small-s0", 0.20),
        outcome(tmp_path / "a", "cld-small-s0", 0.21),
    ]
    far = [
        outcome(tmp_path / "b", "vp-small-s0", 0.20),
        outcome(tmp_path / "b", "cld-small-s0", 0.90),
    ]
    reasons = [choose(leaderboard(o, [], config)) for o in (near, far)]
    assert "overlap" in reasons[0].reason
    assert "overlap" not in reasons[1].reason


def test_nothing_to_choose(tmp_path: Path) -> None:
    config = experiment()
    frame = leaderboard([], [(spec("vp-small-s0"), "out of memory")], config)
    choice = choose(frame)
    assert choice.cell is None
    assert choice.excluded == {"vp-small-s0": "failed: out of memory"}


def test_the_test_split_takes_no_part_in_the_choice(tmp_path: Path) -> None:
    config = experiment(images=True, selection={"max_memorised": 0.2})
    outcomes = [
        outcome(tmp_path, "vp-small-s0", 0.1, metric="fd"),
        outcome(tmp_path, "vp-large-s0", 0.2, metric="fd", extra={"memorised": 0.1}),
        outcome(tmp_path, "cld-small-s0", None, 0.05, metric="fd"),
    ]
    change(outcomes[0], "fd", value=None)
    change(outcomes[1], "memorised", value=0.9)
    frame = leaderboard(outcomes, [], config)
    choice = choose(frame)
    assert choice.cell == "vp-small-s0"
    assert choice.excluded == {"cld-small-s0": "not measured: no fd on the validation split"}


def change(one: Any, metric: str, **fields: Any) -> None:
    """Alter the row of a metric on the test split."""
    file = one.evaluation.path / "metrics.json"
    document = json.loads(file.read_text())
    (row,) = (r for r in document["rows"] if r["metric"] == metric and r["split"] == "test")
    row.update(fields)
    file.write_text(json.dumps(document))


@pytest.mark.parametrize("same", ["weights", "numbers", "neither", "native", "net"])
def test_processes_that_agree_are_explained(tmp_path: Path, same: str) -> None:
    training = {"parametrisation": "native"} if same == "native" else {}
    config = experiment(training=training)
    other = "cld-large-s0" if same == "net" else "cld-small-s0"
    value = 0.3 if same in ("weights", "neither") else 0.20001
    outcomes = [outcome(tmp_path, "vp-small-s0", 0.2), outcome(tmp_path, other, value)]
    if same == "weights":
        for one in outcomes:
            one.cell.manifest["summary"]["weights_sha256"] = "ab" * 32
    frame = leaderboard(outcomes, [], config)
    text = markdown.leaderboard(frame, choose(frame))
    told = "cld and vp agree: with parametrisation: edm" in text
    assert told == (same in ("weights", "numbers"))


def test_terminal_is_plain_in_a_pipe_and_coloured_on_a_screen(tmp_path: Path) -> None:
    frame = leaderboard(
        [outcome(tmp_path, "vp-small-s0", 0.2)], [(spec("cld-small-s0"), "[red]x")], experiment()
    )
    frame.to_parquet(tmp_path / "leaderboard.parquet")
    frame = terminal.load(tmp_path / "leaderboard.parquet")
    stream = io.StringIO()
    Console(file=stream, force_terminal=True, width=200).print(terminal.rich_table(frame))
    plain = terminal.plain_table(frame)
    assert "\x1b[" in stream.getvalue()
    assert "\x1b[" not in plain
    for words in (stream.getvalue(), plain):
        assert "vp-small-s0" in words
        assert "failed: [red]x" in words
        assert "0.200 (0.180 to 0.220)" in words
        assert "toy: ranked by sliced_w2, lower is better" in words


def test_damaged_leaderboards(tmp_path: Path) -> None:
    file = tmp_path / "leaderboard.parquet"
    file.write_bytes(b"PAR1 not really")
    with pytest.raises(SgmError, match=r"leaderboard\.parquet cannot be read"):
        terminal.load(file)
    pd.DataFrame({"a": [1]}).to_parquet(file)
    with pytest.raises(SgmError, match="is not a leaderboard"):
        terminal.load(file)
