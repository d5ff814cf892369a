"""The rule of promotion on simulated nights: how often it errs, and what gain it finds.

A model's metric is taken as a mean over its samples plus a mean over the real items, in units of
their standard deviations,

    M = truth + mean_i a_i + mean_j b_j,     i = 1 .. n samples,  j = 1 .. m items,

and two models of a decision share a part of both: correlation(a_i, a_i') = `shared_samples` on common
seeds, correlation(b_j, b_j') = `shared_items` on the same items. One standard error is that of a
cell's own evaluation, sqrt(1 / n + 1 / m); a decision draws `more` times as many samples.

Which of several equal cells was chosen says nothing about these numbers: it was told from another
split and other seeds. So a night without a gain is one comparison of equal models.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgm_core.config.selection import SelectionConfig
from sgm_core.evaluate.decision import Verdict, decide
from sgm_core.evaluate.evidence import Score
from sgm_core.evaluate.uncertainty import Bootstrap

Array = NDArray[Any]
TRUTH = 10.0
METRIC = "fd"


@dataclass(frozen=True)
class Nights:
    """A series of decisions between a champion and a new model.

    Args:
        samples, items: n of a cell's evaluation, and m.
        more: samples of a decision in units of n.
        shared_samples, shared_items: correlations between two models; see docs/evaluation.md for
            those that were measured.
        replicates: bootstrap resamples.
        seed: of everything that is drawn.
    """

    samples: int = 200
    items: int = 100
    more: int = 4
    shared_samples: float = 0.3
    shared_items: float = 0.9
    replicates: int = 200
    seed: int = 2026

    @property
    def error(self) -> float:
        """The standard error of one model's metric in its own evaluation."""
        return math.sqrt(1 / self.samples + 1 / self.items)

    def verdicts(self, nights: int, gain: float) -> Iterator[Verdict]:
        """Yield a verdict a night on a model that is truly better by `gain`."""
        for night in range(nights):
            rng = np.random.default_rng([self.seed, night])
            new, old = self._scores(rng, (TRUTH - gain, TRUTH))
            yield decide(new, old, SelectionConfig(), better="lower")

    def promoted(self, nights: int, gain: float) -> int:
        """Count the nights on which the new model replaces the champion."""
        return sum(verdict.promote for verdict in self.verdicts(nights, gain))

    def _scores(self, rng: np.random.Generator, truths: tuple[float, ...]) -> list[Score]:
        """Draw the scores of models on common seeds, items and resamples."""
        n, m, b = self.more * self.samples, self.items, self.replicates
        boot = Bootstrap(b, int(rng.integers(2**31)))
        samples, items = rng.standard_normal(n), rng.standard_normal(m)
        found = []
        for truth in truths:
            x = _sharing(rng, samples, self.shared_samples)
            y = _sharing(rng, items, self.shared_items)
            replicates = truth + boot.mean("samples", x, b) + boot.mean("real", y, b)
            found.append(_score(truth + x.mean() + y.mean(), replicates))
        return found


def _sharing(rng: np.random.Generator, common: Array, share: float) -> Array:
    own = rng.standard_normal(len(common))
    return np.asarray(math.sqrt(share) * common + math.sqrt(1 - share) * own)


def _score(value: float, replicates: Array) -> Score:
    row = {"metric": METRIC, "value": float(value), "better": "lower", "details": {}}
    return Score({"main_metric": METRIC, "finite": 1.0}, {METRIC: row}, {METRIC: replicates})
