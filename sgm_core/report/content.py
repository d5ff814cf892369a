"""Everything that a report is made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from sgm_core.config.experiment import ExperimentConfig
from sgm_core.report import rungs
from sgm_core.report.choice import Choice
from sgm_core.report.leaderboard import leaderboard
from sgm_core.report.results import Failures, Outcome, Result, read


@dataclass(frozen=True)
class Content:
    """Everything that a report is made from.

    Attributes:
        results: cells that may be chosen, in grid order; `cheap`: those of each cheap rung.
        samplers: samplers.json of the chosen cell, if it was measured.
    """

    experiment: ExperimentConfig
    results: list[Result]
    cheap: list[list[Result]]
    frame: pd.DataFrame
    choice: Choice
    samplers: Mapping[str, Any] | None

    @property
    def metric(self) -> str:
        """The ranking metric."""
        return str(self.frame.attrs["metric"])

    @property
    def ranked(self) -> list[Result]:
        """The results, best first."""
        order = {str(name): place for place, name in enumerate(self.frame["cell"])}
        return sorted(self.results, key=lambda r: order[r.name])


def searched_board(
    experiment: ExperimentConfig,
    outcomes: Sequence[Outcome],
    failures: Failures,
    cheap: Sequence[Sequence[Outcome]],
) -> pd.DataFrame:
    """Return the leaderboard of a search: its finalists, and what the cheap rungs left out."""
    finals, trials = read(outcomes, experiment), [read(rung, experiment) for rung in cheap]
    out = [result.outcome for result in rungs.left_out(trials, finals)]
    return leaderboard(outcomes, failures, experiment, out)
