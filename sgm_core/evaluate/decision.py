"""May a model replace the champion? A gain that is measured, and floors that hold.

Both models are scored on the same test items, with fresh samples from the same seeds and the same
bootstrap resamples (`score`). With M the ranking metric, lower better, and M_b its b-th resample,

    gain      =  (M(champion) - M(new)) / unit                   (sign turned where higher is better)
    gain_b    =  the same of the b-th resamples, over the same unit
    unit      =  max(|M(champion)|, |M of real against real|)    (a metric may be 0 or change its sign)
    interval  =  gain + quantiles(gain_b - mean of gain_b; 2.5 %, 97.5 %)
    promote  <=>  lower end > min_effect, and every floor holds

Resample b draws the same seeds and the same real items for both, so noise that they share cancels
in gain_b. The best of many noisy numbers is chosen on another split and other seeds: what is left
here is one comparison, and a model that is no better passes it about once in thirty (docs/evaluation.md).

Floors: samples are finite; few are copies of training items; coverage is at least a share of what
real items reach; no class or mode is missing; NFE and seconds per sample are within their limits.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from sgm_core.config.selection import SelectionConfig
from sgm_core.evaluate.evidence import Score
from sgm_core.evaluate.uncertainty import interval

# Metrics that know of classes or modes: `details.least_share` is that of the rarest.
OF_CLASSES = ("class_balance", "mode_balance")
EXPECTED = 30  # samples expected of a class, below which it may be missing by chance
# Seeds of decisions lie beyond those that a person writes into params.yaml.
FIRST_SEED = 2**40


@dataclass(frozen=True)
class Floor:
    """One condition that a model must meet whatever its gain."""

    name: str
    holds: bool
    text: str


@dataclass(frozen=True)
class Gain:
    """The paired gain in a metric over the champion, relative, with its 95 % interval."""

    metric: str
    new: float
    champion: float
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Verdict:
    """What the numbers say.

    Attributes:
        promote: whether the model may replace the champion.
        reason: why, in one sentence.
        gain: in the ranking metric; None without a champion that can be measured.
        gains: the same of every other metric, for the record.
        floors: all of them, also those that hold.
        evidence: what the scores were made from: {"new": {...}, "champion": {...}}.
    """

    promote: bool
    reason: str
    gain: Gain | None
    gains: tuple[Gain, ...]
    floors: tuple[Floor, ...]
    evidence: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values; a number that is not finite is None."""
        return {key: _plain(value) for key, value in asdict(self).items()}


def common_seed(*models: str) -> int:
    """Return the first seed of a decision between models.

    It depends on their identities alone: fresh for every pair, and the same however often the same
    two are compared, so that a decision cannot be repeated until it pleases.
    """
    digest = hashlib.sha256("\n".join(sorted(models)).encode()).digest()
    return FIRST_SEED + int.from_bytes(digest[:5], "big")


def decide(
    new: Score,
    champion: Score | None,
    limits: SelectionConfig,
    *,
    better: str,
    rival: str = "the champion",
) -> Verdict:
    """Decide whether `new` may replace `champion`.

    Args:
        new, champion: scores on the same split with the same seeds; None: there is no champion.
        limits: `min_effect` and the floors' limits.
        better: "lower" or "higher", of the ranking metric.
        rival: how the champion is called in the reason.
    """
    found = _decide(new, champion, limits, better, rival)
    known = {"new": new, "champion": champion}
    evidence = {who: score.provenance() for who, score in known.items() if score is not None}
    return replace(found, evidence=evidence)


def _decide(
    new: Score, champion: Score | None, limits: SelectionConfig, better: str, rival: str
) -> Verdict:
    held = tuple(floors(new, limits))
    broken = [floor.text for floor in held if not floor.holds]
    gains = () if champion is None else tuple(_gains(new, champion))
    gain = next((g for g in gains if g.metric == new.metric), None)
    value = new.value(new.metric)
    if not math.isfinite(value):
        why = new.rows.get(new.metric, {}).get("details", {}).get("reason", "it is not finite")
        return Verdict(False, f"its {new.metric} could not be measured: {why}", gain, gains, held)
    if broken:
        return Verdict(
            False, f"it does not meet the floors: {'; '.join(broken)}", gain, gains, held
        )
    if champion is None:
        text = f"there was no champion; {new.metric} is {value:.4g} on the test split"
        return Verdict(True, text, None, gains, held)
    if not math.isfinite(champion.value(new.metric)):
        text = f"{rival} has no finite {new.metric} on the test split, it has {value:.4g}"
        return Verdict(True, text, None, gains, held)
    if gain is None or not (math.isfinite(gain.low) and math.isfinite(gain.high)):
        text = (
            f"its gain over {rival} in {new.metric} has no interval, so it may be chance; rank by "
            "another metric (selection.metric)"
        )
        return Verdict(False, text, gain, gains, held)
    text = (
        f"{gain.metric} {gain.new:.4g} against {gain.champion:.4g} of {rival}: a gain of "
        f"{gain.value:.1%}, 95 % interval {gain.low:.1%} to {gain.high:.1%}"
    )
    promote = gain.low > limits.min_effect
    if not promote:
        text += f", whose lower end is not above {limits.min_effect:.1%}"
    return Verdict(promote, text, gain, gains, held)


def floors(score: Score, limits: SelectionConfig) -> list[Floor]:
    """Return every floor that can be checked on this data, held or not."""
    found = [_finite(score)]
    found += _at_most(score, "memorised", limits.max_memorised)
    found += _coverage(score, limits.min_coverage)
    found += _classes(score, limits.min_class_share)
    found += _cost("nfe", "network evaluations per sample", score.info.get("nfe"), limits.max_nfe)
    seconds = score.info.get("seconds_per_sample")
    found += _cost("seconds", "seconds per sample", seconds, limits.max_seconds_per_sample)
    return found


def class_of(row: Mapping[str, Any]) -> tuple[str, float] | None:
    """Return the rarest class of a row of `class_balance` or `mode_balance`, and its share.

    The share is relative to real items; None where too few samples were drawn to tell.
    """
    details = row.get("details", {})
    if "least_share" not in details:
        return None
    return str(details.get("least_class")), float(details["least_share"])


def _gains(new: Score, champion: Score) -> list[Gain]:
    """The paired gain of every metric that both have with replicates."""
    found = []
    for metric, row in new.rows.items():
        own, theirs = new.value(metric), champion.value(metric)
        known = metric in new.replicates and metric in champion.replicates
        if not (known and math.isfinite(own) and math.isfinite(theirs)):
            continue
        size = max(abs(theirs), abs(row.get("floor") or 0.0)) or 1.0
        unit = (1.0 if row["better"] == "lower" else -1.0) / size
        value = unit * (theirs - own)
        replicates = unit * (champion.replicates[metric] - new.replicates[metric])
        found.append(Gain(metric, own, theirs, value, *interval(value, replicates)))
    return found


def _finite(score: Score) -> Floor:
    share = float(score.info.get("finite", 0.0))
    holds = share >= 1.0
    text = "all samples are finite" if holds else f"only {share:.1%} of its samples are finite"
    return Floor("finite", holds, text)


def _at_most(score: Score, metric: str, most: float) -> list[Floor]:
    value = score.value(metric)
    if not math.isfinite(value):
        return []
    text = f"{value:.1%} of its samples copy training items (at most {most:.1%})"
    return [Floor(metric, value <= most, text)]


def _coverage(score: Score, least: float) -> list[Floor]:
    """Coverage as a share of what real items of the train split reach."""
    value, row = score.value("coverage"), score.rows.get("coverage", {})
    real = row.get("floor")
    if not math.isfinite(value) or not real:
        return []
    text = f"coverage {value:.3g} is {value / real:.1%} of real items' (at least {least:.1%})"
    return [Floor("coverage", value >= least * real, text)]


def _classes(score: Score, least: float) -> list[Floor]:
    for metric in OF_CLASSES:
        found = class_of(score.rows.get(metric, {}))
        if found is None and math.isfinite(score.value(metric)):
            return [Floor("classes", True, f"too few samples to tell; {EXPECTED} of a class do")]
        if found is not None:
            name, share = found
            kind = "class" if metric == "class_balance" else "mode"
            text = f"its rarest {kind}, {name}, has {share:.1%} of its share (at least {least:.1%})"
            return [Floor("classes", share >= least, text)]
    return []


def _cost(name: str, words: str, value: Any, most: float | None) -> list[Floor]:
    if most is None or value is None:
        return []
    return [Floor(name, float(value) <= most, f"{float(value):.3g} {words} (at most {most:g})")]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
