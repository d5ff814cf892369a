"""The rule of promotion: paired gains, floors, and what it does on two hundred nights of nothing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from decision_fakes import score

from sgm_core.config.selection import SelectionConfig
from sgm_core.evaluate.decision import FIRST_SEED, common_seed, decide
from sgm_core.evaluate.evidence import Score
from sgm_core.evaluate.nights import Nights

LIMITS = SelectionConfig()


def test_a_gain_is_relative_to_the_champion_and_its_interval_is_that_of_the_difference() -> None:
    rng = np.random.default_rng(0)
    shared, own, theirs = rng.standard_normal((3, 200))
    new = score(1.5, 0.4 * shared + 0.02 * own)
    old = score(2.0, 0.4 * shared + 0.02 * theirs)
    verdict = decide(new, old, LIMITS, better="lower", rival="version 3")
    gain = verdict.gain
    assert gain is not None
    assert gain.value == pytest.approx(0.25)
    # The shared noise cancels: sd of the difference is 0.02 sqrt 2, relative to 2.0 one half of it.
    half = 1.96 * 0.02 * math.sqrt(2) / 2.0
    assert gain.low == pytest.approx(0.25 - half, abs=half / 3)
    assert gain.high == pytest.approx(0.25 + half, abs=half / 3)
    assert verdict.promote
    assert "1.5 against 2 of version 3: a gain of 25.0%" in verdict.reason


def test_without_common_noise_the_same_gain_is_not_enough() -> None:
    rng = np.random.default_rng(0)
    first, second = 0.4 * rng.standard_normal((2, 200))
    verdict = decide(score(1.5, first), score(2.0, second), LIMITS, better="lower")
    assert verdict.gain is not None and verdict.gain.low < 0
    assert not verdict.promote
    assert "whose lower end is not above 0.0%" in verdict.reason


@pytest.mark.parametrize(("least", "promote"), [(0.0, True), (0.24, True), (0.26, False)])
def test_the_lower_end_must_exceed_the_least_effect(least: float, promote: bool) -> None:
    limits = SelectionConfig(min_effect=least)
    assert decide(score(1.5), score(2.0), limits, better="lower").promote is promote


def test_higher_is_better_where_the_metric_says_so() -> None:
    new, old = (score(v, metric="coverage", better="higher") for v in (0.9, 0.6))
    verdict = decide(new, old, LIMITS, better="higher")
    assert verdict.gain is not None and verdict.gain.value == pytest.approx(0.5)
    assert verdict.promote
    assert not decide(old, new, LIMITS, better="higher").promote


def test_the_first_model_needs_the_floors_alone() -> None:
    assert decide(score(9.0), None, LIMITS, better="lower").promote
    poor = score(9.0, finite=0.99)
    verdict = decide(poor, None, LIMITS, better="lower")
    assert not verdict.promote
    assert "only 99.0% of its samples are finite" in verdict.reason


def test_a_champion_that_cannot_be_measured_is_replaced_and_a_model_that_cannot_is_not() -> None:
    broken = score(None)
    assert decide(score(2.0), broken, LIMITS, better="lower").promote
    verdict = decide(broken, score(2.0), LIMITS, better="lower")
    assert not verdict.promote
    assert "its fd could not be measured" in verdict.reason


def test_without_an_interval_a_gain_may_be_chance() -> None:
    without = score(1.0)
    without.replicates.pop("fd")  # type: ignore[attr-defined]
    for new in (without, score(1.0, np.nan)):
        verdict = decide(new, score(500.0), LIMITS, better="lower")
        assert not verdict.promote
        assert "its gain over the champion in fd has no interval" in verdict.reason


def test_gains_of_a_metric_around_zero_are_in_units_of_its_floor() -> None:
    def of(value: float) -> Score:
        kid = {"metric": "kid", "value": value, "better": "lower", "details": {}, "floor": -0.04}
        found = score(1.0, rows={"kid": kid})
        return Score(found.info, found.rows, {**found.replicates, "kid": np.full(200, value)})

    gains = {g.metric: g for g in decide(of(-0.002), of(0.0), LIMITS, better="lower").gains}
    assert gains["kid"].value == pytest.approx(0.05)


def test_the_evidence_says_what_both_scores_were_made_from() -> None:
    made = {"seeds": [7, 106], "split": "test", "reference_digest": "r", "key": "k1"}
    verdict = decide(score(1.0, **made), score(2.0, **made | {"key": "k2"}), LIMITS, better="lower")
    assert verdict.evidence["new"]["key"] == "k1" and verdict.evidence["champion"]["key"] == "k2"
    assert verdict.as_dict()["evidence"]["champion"]["seeds"] == [7, 106]


def row(metric: str, value: float, **more: Any) -> dict[str, dict[str, Any]]:
    details = {"details": more.pop("details", {})}
    return {metric: {"metric": metric, "value": value, "better": "higher", **details, **more}}


@pytest.mark.parametrize(
    ("rows", "info", "limits", "text"),
    [
        (row("memorised", 0.4), {}, {}, "40.0% of its samples copy training items"),
        (row("coverage", 0.3, floor=0.9), {}, {}, "coverage 0.3 is 33.3% of real items'"),
        (
            row("class_balance", 0.1, details={"least_share": 0.1, "least_class": 7}),
            {}, {}, "its rarest class, 7, has 10.0% of its share",
        ),
        (
            row("mode_balance", 0.1, details={"least_share": 0.2, "least_class": 3}),
            {}, {}, "its rarest mode, 3, has 20.0% of its share",
        ),
        ({}, {"nfe": 60}, {"max_nfe": 50}, "60 network evaluations per sample (at most 50)"),
        (
            {}, {"seconds_per_sample": 0.2}, {"max_seconds_per_sample": 0.1},
            "0.2 seconds per sample (at most 0.1)",
        ),
    ],
)  # fmt: skip
def test_every_floor_stops_a_model_that_gains(
    rows: dict[str, Any], info: dict[str, Any], limits: dict[str, Any], text: str
) -> None:
    wanted = SelectionConfig(**limits)
    verdict = decide(score(1.0, rows=rows, **info), score(2.0), wanted, better="lower")
    assert not verdict.promote
    assert text in verdict.reason
    assert [floor.holds for floor in verdict.floors].count(False) == 1
    loose = SelectionConfig(
        max_memorised=1, min_coverage=0, min_class_share=0, max_nfe=99, max_seconds_per_sample=9
    )
    assert decide(score(1.0, rows=rows, **info), score(2.0), loose, better="lower").promote


def test_a_verdict_is_plain_json() -> None:
    import json

    verdict = decide(score(1.0), score(2.0), LIMITS, better="lower")
    text = json.dumps(verdict.as_dict(), allow_nan=False)
    assert json.loads(text)["gain"]["value"] == 0.5


def test_the_seeds_of_a_decision_belong_to_the_two_models() -> None:
    seed = common_seed("a", "b")
    assert seed == common_seed("b", "a") >= FIRST_SEED
    assert len({seed, common_seed("a", "c"), common_seed("a"), common_seed("b", "c")}) == 4
    assert all(common_seed(str(i), "x") + 10**9 < 2**63 for i in range(100))


# --- Nights: the rule as a whole, on numbers that are drawn


def test_two_hundred_nights_without_a_gain_promote_at_most_one_in_twenty() -> None:
    verdicts = list(Nights().verdicts(200, gain=0.0))
    # A comparison of points would have promoted on about every other one.
    assert 80 < sum(v.gain.value > 0 for v in verdicts if v.gain is not None) < 120
    assert sum(v.promote for v in verdicts) <= 10


def test_a_gain_of_two_standard_errors_is_found_on_nine_nights_of_ten() -> None:
    nights = Nights()
    assert nights.promoted(100, gain=2 * nights.error) >= 90


def test_what_finds_it_is_that_both_models_share_their_noise() -> None:
    alone = Nights(shared_samples=0.0, shared_items=0.0)
    assert alone.promoted(100, gain=2 * alone.error) < 60


def test_the_best_of_nine_equal_cells_wins_by_its_points_on_most_nights() -> None:
    """Why the decision needs fresh data: the number that chose a cell flatters it."""
    rng, wins = np.random.default_rng(0), 0
    for _ in range(200):
        cells, champion = rng.standard_normal(9), rng.standard_normal()
        wins += cells.min() < champion
    assert wins / 200 == pytest.approx(0.9, abs=0.06)
