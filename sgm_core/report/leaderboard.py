"""The leaderboard: cells ranked on the validation split, reported on the test split.

Choosing the best of many noisy numbers flatters the winner. The rank therefore uses numbers of the
validation split only, and the numbers shown, with their 95 % bootstrap intervals, come from the
test split, which took no part in the choice. A cell whose samples are not all finite, or which
copies too much of its training data (as the validation split tells), or which failed, has no rank
and cannot be chosen.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from sgm_core.config.experiment import ExperimentConfig
from sgm_core.config.training import SelectionConfig
from sgm_core.errors import unknown
from sgm_core.evaluate.names import MAIN, METRICS
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
from sgm_core.report.words import measured

FIELDS = ("", "_low", "_high", "_validation", "_floor")


@dataclass(frozen=True)
class Choice:
    """The chosen cell (None if no cell may be chosen), why, and why not the others.

    Attributes:
        cell: the cell's name.
        reason: one sentence.
        excluded: cells that could not be chosen, each with the reason.
    """

    cell: str | None
    reason: str
    excluded: dict[str, str]


def leaderboard(
    outcomes: Iterable[Outcome], failures: Failures, experiment: ExperimentConfig
) -> pd.DataFrame:
    """Return one row per cell, best first, then the excluded, then the failed ones.

    Columns: rank, cell, process, net, seed; per metric (the ranking one first) its value on the
    test split, `_low` and `_high` (95 % interval), `_validation` and `_floor` (real against real);
    nfe, seconds_per_sample, train_seconds, parameters, status, error, cell_key, evaluation_key,
    weights_sha256. `rank` is missing for a cell that cannot be chosen. `frame.attrs` names the
    experiment, its dataset and kind, the ranking metric, and holds a note on processes that gave
    the same ("" if none did); Parquet keeps it.
    """
    results = read(outcomes, experiment)
    main = ranking_metric(experiment)
    metrics = _metrics(results, main)
    rows: list[dict[str, Any]] = [_finished(result, metrics) for result in results]
    for spec, message in failures:
        process, net = label_of(spec, experiment)
        rows.append(
            {"cell": spec.name, "process": process, "net": net, "seed": spec.seed}
            | {"status": "failed", "error": " ".join(message.split())}
        )
    frame = _typed(pd.DataFrame(rows, columns=_columns(metrics)))
    excluded = exclusions(frame, experiment.selection, main)
    for name, reason in excluded.items():
        row = frame["cell"] == name
        frame.loc[row & (frame["status"] != "failed"), "error"] = reason
        frame.loc[row & (frame["status"] == "ok"), "status"] = reason.split(":")[0]
    frame = _ordered(frame, main)
    frame.attrs = {
        "experiment": experiment.name,
        "dataset": experiment.dataset,
        "kind": kind_of(experiment),
        "metric": main,
        "metrics": metrics,
        "note": same_results(frame, metrics, experiment.training.parametrisation),
    }
    return frame


def choose(frame: pd.DataFrame, selection: SelectionConfig, kind: str) -> Choice:
    """Choose the best finite, unmemorised cell by the selection metric on the validation split.

    Equal cells are told apart by fewer parameters, then by name, so that the choice is one of the
    numbers and not of the order of arrival.

    Args:
        frame: a leaderboard.
        selection: metric ("auto": the usual one of `kind`) and the largest memorised share.
        kind: "points" or "images".

    Raises:
        UsageError: the leaderboard has no such metric.
    """
    metric = MAIN[kind] if selection.metric == "auto" else selection.metric
    if f"{metric}_validation" not in frame:
        names = [
            c.removesuffix("_validation") for c in map(str, frame) if c.endswith("_validation")
        ]
        raise unknown("selection.metric", metric, names)
    excluded = exclusions(frame, selection, metric)
    able = frame[~frame["cell"].isin(list(excluded))]
    if able.empty:
        count = len(frame)
        return Choice(None, f"none of the {count} cells can be chosen", excluded)
    able = _sorted(able, metric)
    best = able.iloc[0]
    best_word = "lowest" if lower_is_better(metric) else "highest"
    reason = (
        f"{best['cell']} has the {best_word} {metric} on the validation split, "
        f"{measured(best[f'{metric}_validation'])}, of {len(able)} "
        f"{'cell' if len(able) == 1 else 'cells'} that can be chosen"
    )
    if len(able) > 1:
        second = able.iloc[1]
        reason += f"; next is {second['cell']} with {measured(second[f'{metric}_validation'])}"
        if _overlap(best, second, metric):
            reason += ", and their 95 % intervals on the test split overlap"
    return Choice(str(best["cell"]), reason + ".", excluded)


def exclusions(frame: pd.DataFrame, selection: SelectionConfig, metric: str) -> dict[str, str]:
    """Tell which cells cannot be chosen and why: "status: explanation".

    Nothing here looks at the test split: whether samples are finite does not depend on a split, and
    the share of copies and the missing numbers are those of the validation split.
    """
    reasons = {}
    for row in frame.to_dict("records"):
        copied = number(row.get("memorised_validation"))
        if row["status"] == "failed":
            reasons[str(row["cell"])] = f"failed: {row['error']}"
        elif row["status"] == "not finite":
            reasons[str(row["cell"])] = "not finite: some of its samples are not finite numbers"
        elif not math.isfinite(number(row[f"{metric}_validation"])):
            reasons[str(row["cell"])] = f"not measured: no {metric} on the validation split"
        elif copied > selection.max_memorised:
            reasons[str(row["cell"])] = (
                f"memorised: {copied:.1%} of its samples copy training data, "
                f"more than selection.max_memorised = {selection.max_memorised:g}"
            )
    return reasons


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
        *("nfe", "seconds_per_sample", "train_seconds", "parameters", "status", "error"),
        *("cell_key", "evaluation_key", "weights_sha256"),
    ]


def _finished(result: Result, metrics: list[str]) -> dict[str, Any]:
    summary, document = result.summary, result.document
    row: dict[str, Any] = {
        "cell": result.name,
        "process": result.process,
        "net": result.net,
        "seed": result.seed,
        "nfe": document.get("nfe"),
        "seconds_per_sample": number(document.get("seconds_per_sample")),
        "train_seconds": number(summary.get("train_seconds")),
        "parameters": summary.get("parameters"),
        "status": "ok" if result.finite else "not finite",
        "error": "",
        "cell_key": result.outcome.cell.key,
        "evaluation_key": result.outcome.evaluation.key,
        "weights_sha256": summary.get("weights_sha256", ""),
    }
    for metric in metrics:
        for name in ("low", "high", "floor"):
            row[f"{metric}_{name}"] = result.value(metric, name)
        row[metric] = result.value(metric)
        row[f"{metric}_validation"] = result.value(metric, split="validation")
    return row


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    """Fixed types, so that a report without failures reads like one with them."""
    whole = {"rank", "seed", "nfe", "parameters"}
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


def _ordered(frame: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Best first; then what cannot be chosen, by the same number; failed ones last."""
    able = _sorted(frame[frame["status"] == "ok"], metric)
    failed = frame["status"] == "failed"
    unable = _sorted(frame[(frame["status"] != "ok") & ~failed], metric)
    last = frame[failed].sort_values("cell")
    ordered = pd.concat([able, unable, last], ignore_index=True)
    ranks = [i + 1 if i < len(able) else pd.NA for i in range(len(ordered))]
    ordered["rank"] = pd.array(ranks, dtype="Int64")
    return ordered


def _sorted(frame: pd.DataFrame, metric: str) -> pd.DataFrame:
    return frame.sort_values(
        [f"{metric}_validation", "parameters", "cell"],
        ascending=[lower_is_better(metric), True, True],
        na_position="last",
        kind="stable",
    )


def _overlap(a: pd.Series, b: pd.Series, metric: str) -> bool:
    low = max(number(a[f"{metric}_low"]), number(b[f"{metric}_low"]))
    high = min(number(a[f"{metric}_high"]), number(b[f"{metric}_high"]))
    return low <= high
