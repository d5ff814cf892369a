"""The leaderboard: cells ranked on the validation split, reported on the test split.

Choosing the best of many noisy numbers flatters the winner. The rank therefore uses numbers of the
validation split only, and the numbers shown, with their 95 % bootstrap intervals, come from the
test split, which took no part in the choice. What is chosen is a pair of process and network, by
the mean over its training seeds, and of it the best cell. A cell that does not meet the floors of
`sgm_core.evaluate.decision` on the validation split, or which failed, has no rank and cannot be
chosen.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from sgm_core.config.experiment import ExperimentConfig
from sgm_core.evaluate.names import METRICS
from sgm_core.report.choice import FAILED, LEFT_OUT, standing
from sgm_core.report.results import (
    Failures,
    Outcome,
    Result,
    kind_of,
    label_of,
    lower_is_better,
    number,
    ranking_metric,
    read,
)
from sgm_core.report.same import same_results
from sgm_core.report.twins import twins

FIELDS = ("", "_low", "_high", "_validation", "_floor")


def leaderboard(
    outcomes: Iterable[Outcome],
    failures: Failures,
    experiment: ExperimentConfig,
    left_out: Iterable[Outcome] = (),
    trial: bool = False,
) -> pd.DataFrame:
    """Return one row per cell, best first; then the excluded, those that a cheap rung left out, and
    the failed ones.

    Columns: rank, cell, process, net, seed, steps; per metric (the ranking one first) its value on
    the test split, `_low` and `_high` (95 % interval), `_validation` and `_floor` (real against
    real); pair_validation and pair_spread (mean and standard deviation of the ranking metric over
    the seeds of a pair of process and network); nfe, seconds_per_sample, train_seconds, parameters,
    status, error, cell_key, evaluation_key, weights_sha256. `rank` is missing for a cell that cannot
    be chosen. `frame.attrs` names the experiment, its dataset and kind, the ranking metric, and holds
    a note on processes that gave the same ("" if none did), and the pairs of processes that are the same by
    construction (see sgm_core.report.twins); Parquet keeps it.

    Args:
        outcomes: finished cells that may be chosen.
        failures: (spec, message) of cells that failed.
        left_out: finished cells of cheap rungs whose pair was not trained in full.
        trial: whether these are cells of a cheap rung, which need not meet every floor.
    """
    main, selection = ranking_metric(experiment), experiment.selection
    results, cheap = read(outcomes, experiment), read(left_out, experiment)
    metrics = _metrics([*results, *cheap], main)
    rows = [_finished(r, metrics, *standing(r, main, selection, trial)) for r in results]
    for result in cheap:
        status, why = standing(result, main, selection, cheap=True)
        if status == "ok":
            status, why = LEFT_OUT, f"not among the best pairs after {result.steps:,} steps"
        rows.append(_finished(result, metrics, status, why))
    for spec, message in failures:
        process, net = label_of(spec, experiment)
        rows.append(
            {"cell": spec.name, "process": process, "net": net, "seed": spec.seed}
            | {"status": FAILED, "error": " ".join(message.split())}
        )
    frame = _typed(pd.DataFrame(rows, columns=_columns(metrics)))
    frame = _ordered(_with_pairs(frame, main), main)
    frame.attrs = {
        "experiment": experiment.name,
        "dataset": experiment.dataset,
        "kind": kind_of(experiment),
        "metric": main,
        "metrics": metrics,
        "note": same_results(frame, metrics, experiment.training.parametrisation),
        "twins": twins(experiment),
    }
    return frame


def floor_of(frame: pd.DataFrame, metric: str) -> float:
    """Return a metric's noise floor (the largest: cells may have drawn different numbers), of the
    cells that have a rank if there are any; NaN where it was not measured."""
    ranked = frame[frame["rank"].notna()]
    return number((frame if ranked.empty else ranked)[f"{metric}_floor"].max())


def _metrics(results: list[Result], main: str) -> list[str]:
    """All measured metrics: the ranking one, then in the order of METRICS, then new ones."""
    seen = {row["metric"] for result in results for row in result.rows}
    known = [name for name in METRICS if name in seen]
    rest = sorted(seen - set(known))
    return [main, *(name for name in (*known, *rest) if name != main)]


def _columns(metrics: list[str]) -> list[str]:
    return [
        *("rank", "cell", "process", "net", "seed"),
        *(f"{metric}{field}" for metric in metrics for field in FIELDS),
        *(
            "pair_validation",
            "pair_spread",
            "steps",
            "nfe",
            "seconds_per_sample",
            "train_seconds",
            "parameters",
            "status",
            "error",
        ),
        *("cell_key", "evaluation_key", "weights_sha256"),
    ]


def _finished(result: Result, metrics: list[str], status: str, error: str) -> dict[str, Any]:
    summary, document = result.summary, result.document
    row: dict[str, Any] = {
        "cell": result.name,
        "process": result.process,
        "net": result.net,
        "seed": result.seed,
        "steps": result.steps,
        "nfe": document.get("nfe"),
        "seconds_per_sample": number(document.get("seconds_per_sample")),
        "train_seconds": number(summary.get("train_seconds")),
        "parameters": summary.get("parameters"),
        "status": status,
        "error": error,
        "cell_key": result.outcome.cell.key,
        "evaluation_key": result.outcome.evaluation.key,
        "weights_sha256": summary.get("weights_sha256", ""),
    }
    for metric in metrics:
        for name in ("low", "high", "floor"):
            row[f"{metric}_{name}"] = result.value(metric, name)
        if math.isnan(row[f"{metric}_floor"]):
            row[f"{metric}_floor"] = result.value(metric, "floor", "validation")
        row[metric] = result.value(metric)
        row[f"{metric}_validation"] = result.value(metric, split="validation")
    return row


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    """Fixed types, so that a report without failures reads like one with them."""
    whole = {"rank", "seed", "steps", "nfe", "parameters"}
    words = {"cell", "process", "net", "status", "error"}
    words |= {"cell_key", "evaluation_key", "weights_sha256"}
    for column in frame.columns:
        if column in whole:
            frame[column] = pd.to_numeric(frame[column]).round().astype("Int64")
        elif column in words:
            frame[column] = frame[column].astype("object").fillna("").astype("str")
        else:
            frame[column] = pd.to_numeric(frame[column]).astype("float64")
    return frame


def _with_pairs(frame: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Fill in mean and spread over the seeds of each pair, of those that can be chosen."""
    able = frame[frame["status"] == "ok"]
    groups = able.groupby(["process", "net"])[f"{metric}_validation"]
    frame.loc[able.index, "pair_validation"] = groups.transform("mean")
    frame.loc[able.index, "pair_spread"] = groups.transform("std")
    return frame


def _ordered(frame: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Best pair first, in it the best cell; then what cannot be chosen; failed ones last."""
    left, failed = frame["status"] == LEFT_OUT, frame["status"] == FAILED
    ok = frame["status"] == "ok"
    able = _sorted(frame[ok], metric, _troubles(frame))
    unable = _sorted(frame[~(ok | left | failed)], metric)
    rest = _sorted(frame[left], metric)
    last = frame[failed].sort_values("cell")
    ordered = pd.concat([able, unable, rest, last], ignore_index=True)
    ranks = [i + 1 if i < len(able) else pd.NA for i in range(len(ordered))]
    ordered["rank"] = pd.array(ranks, dtype="Int64")
    return ordered


def _troubles(frame: pd.DataFrame) -> dict[Any, int]:
    """How much speaks against a pair: 0 nothing; 1 one of its cells failed, may not be chosen, or is
    below a floor; 2 all of them are."""
    rows = frame[frame["status"] != LEFT_OUT]
    wrong = (rows["status"] != "ok") | (rows["error"] != "")
    groups = wrong.groupby([rows["process"], rows["net"]])
    return {pair: int(some.any()) + int(some.all()) for pair, some in groups}


def _sorted(
    frame: pd.DataFrame, metric: str, troubles: Mapping[Any, int] | None = None
) -> pd.DataFrame:
    pairs = zip(frame["process"], frame["net"], strict=True)
    keys = frame.assign(
        trouble=[(troubles or {}).get(pair, 0) for pair in pairs],
        below=frame["error"] != "",
        pair_validation=frame["pair_validation"].fillna(frame[f"{metric}_validation"]),
    )
    lower = lower_is_better(metric)
    by = ["trouble", "pair_validation", "parameters", "process", "net", "below"]
    by += [f"{metric}_validation", "cell"]
    ascending = [True, lower, True, True, True, True, lower, True]
    keys = keys.sort_values(by, ascending=ascending, na_position="last", kind="stable")
    return frame.loc[keys.index]
