"""Scores and verdicts for tests of decisions: replicates are drawn, nothing is sampled."""

from __future__ import annotations

from typing import Any

import numpy as np

from sgm_core.config.selection import SelectionConfig
from sgm_core.evaluate.decision import Verdict, decide
from sgm_core.evaluate.evidence import Score


def score(
    value: float | None,
    noise: Any = 0.0,
    metric: str = "fd",
    better: str = "lower",
    rows: dict[str, dict[str, Any]] | None = None,
    **info: Any,
) -> Score:
    """A score whose ranking metric has this value and `noise` as deviations of its replicates."""
    own = {"metric": metric, "value": value, "better": better, "details": {}}
    replicates = {}
    if value is not None:
        replicates[metric] = value + np.broadcast_to(np.asarray(noise, dtype=float), (200,))
    about = {"main_metric": metric, "finite": 1.0, "nfe": 25, "seconds_per_sample": 0.01, **info}
    return Score(about, {metric: own, **(rows or {})}, replicates)


def judged(new: float, champion: float | None, least: float = 0.0, noise: float = 0.0) -> Verdict:
    """The verdict on two values whose difference has a standard error of `noise`."""
    deviations = noise * np.random.default_rng(0).standard_normal(200)
    other = None if champion is None else score(champion)
    limits = SelectionConfig().model_copy(update={"min_effect": least})
    return decide(score(new, deviations), other, limits, better="lower")
