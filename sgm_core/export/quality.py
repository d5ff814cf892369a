"""What a variant loses in the experiment's main metric: paired with the fp32 network, same seeds.

The comparison is that of a promotion (sgm_core.evaluate.decision) with the variant as the new model, the
fp32 network as the champion, and a loss allowed in place of a gain asked for:

    published  <=>  lower end of the 95 % interval of the gain > -max_loss, and the floors hold
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sgm_core.config.selection import SelectionConfig
from sgm_core.evaluate.decision import Verdict, common_seed, decide
from sgm_core.evaluate.evidence import Score
from sgm_core.evaluate.names import METRICS
from sgm_core.evaluate.score import scored
from sgm_core.evaluate.session import Emit, Session, open_session
from sgm_core.model import ScoreModel

SPLIT = "test"
FLOORS = ("memorised", "coverage", "class_balance", "mode_balance")  # metrics that floors are of
RIVAL = "the fp32 weights"


@dataclass(frozen=True)
class Quality:
    """The fp32 network, and what it and its variants are measured with.

    Attributes:
        session: of the fp32 network; `limits`: what a variant may lose, and the floors.
    """

    session: Session
    limits: SelectionConfig

    @classmethod
    def open(
        cls,
        model_dir: Path,
        whole: ScoreModel,
        dataset: Path,
        reference: Path,
        sampling: dict[str, Any],
        evaluation: Mapping[str, Any],
        emit: Emit,
    ) -> Quality:
        """Open everything; nothing is measured yet.

        Args:
            model_dir: the published model; `whole`: the same, as it is sampled from.
            evaluation: `batch`, `metric`, `seed_of` (what the seeds follow from), `publish`, `floors`.
        """
        publish = evaluation["publish"]
        chosen = {
            **{key: evaluation[key] for key in ("batch", "metric")},
            "samples": publish["samples"],
            "bootstrap": publish["bootstrap"],
            "seed": common_seed(str(evaluation["seed_of"])),
            "device": "cpu",
        }
        if chosen["metric"] != "auto" and METRICS[chosen["metric"]].of == "model":
            chosen["metric"] = "auto"  # a likelihood needs gradients, which a graph has not
        session = open_session(model_dir, dataset, reference, sampling, chosen, emit)
        limits = SelectionConfig(**evaluation["floors"])
        allowed = limits.model_copy(update={"min_effect": -float(publish["max_loss"])})
        return cls(session.of(whole), allowed)

    @cached_property
    def whole(self) -> Score:
        """The fp32 network as measured."""
        return _score(self.session)

    @property
    def metric(self) -> str:
        """The metric that variants are compared in."""
        return self.session.main

    def about(self) -> dict[str, Any]:
        """What the comparison was made with, for the manifest; measures the fp32 network if need be."""
        return {
            "metric": self.metric,
            "better": METRICS[self.metric].better,
            "split": SPLIT,
            "samples": self.session.drawer.n,
            "seed": self.session.drawer.seed,
            "nfe": self.whole.info["nfe"],
            "fp32": _finite(self.whole.value(self.metric)),
            "max_loss": -self.limits.min_effect,
        }

    def judge(self, variant: ScoreModel) -> Verdict:
        """Compare a variant with the fp32 network."""
        whole, better = self.whole, METRICS[self.metric].better
        score = _score(self.session.of(variant))
        return decide(score, whole, self.limits, better=better, rival=RIVAL)


def numbers(verdict: Verdict) -> dict[str, float | None]:
    """Return a variant's main metric and its paired gain over fp32 (relative; negative: worse)."""
    gain = verdict.gain
    if gain is None:
        return {}
    values = {"quality": gain.new, "gain": gain.value, "gain_low": gain.low, "gain_high": gain.high}
    return {name: _finite(value) for name, value in values.items()}


def _score(session: Session) -> Score:
    names = [name for name in session.names if name == session.main or name in FLOORS]
    return scored(session, SPLIT, names)


def _finite(value: float) -> float | None:
    return value if value - value == 0 else None
