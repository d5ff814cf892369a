"""Processes that are the same model by construction, and that a search trains one of them in full."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from report_fakes import experiment, outcome

from sgm_core import ScoreModel
from sgm_core.report.choice import best_pairs
from sgm_core.report.leaderboard import leaderboard
from sgm_core.report.twins import GRIDS, IN_LEVELS, twins
from sgm_core.sample.names import LANGEVIN_ONLY, SAMPLERS

VP: dict[str, Any] = {"kind": "vp"}
SUBVP: dict[str, Any] = {"kind": "subvp"}
EDM: dict[str, Any] = {"kind": "edm", "sigma_min": 0.002, "sigma_max": 80.0}


def of(a: dict[str, Any], b: dict[str, Any], **fields: Any) -> bool:
    return twins(experiment(processes={"a": a, "b": b}, **fields)) == [["a", "b"]]


@pytest.mark.parametrize(
    ("a", "b", "fields", "same"),
    [
        (VP, SUBVP, {}, True),
        (VP, SUBVP, {"training": {"time_sampling": "loguniform"}}, True),
        ({"kind": "ve", "sigma_min": 0.002, "sigma_max": 80.0}, EDM, {}, True),
        (VP, {**SUBVP, "beta_max": 19.0}, {}, False),  # sampling starts elsewhere
        (VP, EDM, {}, False),
        # The grid ends elsewhere, and the law has mass below 0.01.
        ({"kind": "ve", "sigma_max": 80.0}, EDM, {}, False),
        # The grid is the same and the law is not.
        ({"kind": "ve", "sigma_max": 80.0}, EDM, {"sampling": {"sigma_min": 0.02}}, False),
        (VP, SUBVP, {"training": {"p_mean": -8.0}}, False),
        (VP, SUBVP, {"sampling": {"sigma_min": 1e-5}}, False),
        (VP, SUBVP, {"sampling": {"grid": "quadratic"}}, False),
        (VP, SUBVP, {"sampling": {"sampler": "euler_maruyama"}}, False),
        (VP, SUBVP, {"training": {"parametrisation": "native"}}, False),
        (VP, SUBVP, {"training": {"time_sampling": "uniform"}}, False),
        ({"kind": "cld"}, {"kind": "cld"}, {}, False),  # nothing is known of Langevin processes
    ],
)
def test_twins(a: dict[str, Any], b: dict[str, Any], fields: dict[str, Any], same: bool) -> None:
    assert of(a, b, **fields) == same


def model(process: str) -> ScoreModel:
    torch.manual_seed(0)
    net = {"kind": "mlp", "width": 16, "depth": 1}
    made, items = ScoreModel(shape=(2,), process=process, net=net, seed=0), torch.Generator()
    for _ in range(20):
        made.train_step(0.5 * torch.randn(64, 2, generator=items.manual_seed(1)))
    return made


def test_twins_train_the_same_network_and_draw_the_same_samples_in_levels_alone() -> None:
    vp, subvp = model("vp"), model("subvp")

    def apart(sampler: str, grid: str) -> float:
        x, y = (m.sample(32, seed=1, steps=12, sampler=sampler, grid=grid).x for m in (vp, subvp))
        return float(abs(x - y).max())

    for sampler in set(SAMPLERS) - LANGEVIN_ONLY:
        for grid in GRIDS:
            assert (apart(sampler, grid) < 1e-3) == (sampler in IN_LEVELS), (sampler, grid)
        assert apart(sampler, "quadratic") > 1e-3, sampler


def test_a_search_sends_one_of_two_twins_on_whatever_rounding_made_of_them(tmp_path: Path) -> None:
    config = experiment(processes={"vp": VP, "subvp": SUBVP, "cld": {"kind": "cld"}})
    outcomes = [
        outcome(tmp_path, "vp-small-s0", 0.200),
        outcome(tmp_path, "subvp-small-s0", 0.203),
        outcome(tmp_path, "subvp-large-s0", 0.204),
        outcome(tmp_path, "cld-small-s0", 0.300),
    ]
    frame = leaderboard(outcomes, [], config)
    pairs = best_pairs(frame, 4)
    assert pairs == [("vp", "small"), ("subvp", "large"), ("cld", "small"), ("subvp", "small")]
