"""Which cell of a leaderboard is chosen, and why the others are not."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from sgm_core.config.selection import SelectionConfig
from sgm_core.evaluate.decision import floors
from sgm_core.evaluate.evidence import score_of
from sgm_core.report.results import Result, lower_is_better, number
from sgm_core.report.same import alike
from sgm_core.report.words import measured

FAILED, LEFT_OUT = "failed", "left out"


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


def choose(frame: pd.DataFrame) -> Choice:
    """Choose the pair of process and network with the best mean over its seeds of the ranking
    metric on the validation split, and of its cells the best one.

    A pair of which a seed cannot be chosen comes after every pair without; equal ones are told apart
    by fewer parameters, then by name, so that the choice is one of the numbers and not of the order
    of arrival.

    Args:
        frame: a leaderboard.
    """
    metric = str(frame.attrs["metric"])
    out = frame[~frame["status"].isin(["ok", LEFT_OUT])]
    excluded = {
        str(row["cell"]): f"{row['status']}: {row['error']}" for row in out.to_dict("records")
    }
    able = frame[frame["status"] == "ok"]
    if able.empty:
        return Choice(None, f"none of the {len(frame)} cells can be chosen", excluded)
    best = able.iloc[0]
    reason = _reason(best, able, metric)
    if best["error"]:
        reason += f" It is below the floors, as every cell is: {best['error']}."
    return Choice(str(best["cell"]), reason, excluded)


def _reason(best: pd.Series, able: pd.DataFrame, metric: str) -> str:
    """Say in one sentence, honest about the runner-up, why a cell was chosen."""
    word = "lowest" if lower_is_better(metric) else "highest"
    own, rest = _same_pair(able, best), able[~_same_pair(able, best)]
    seeds, pairs = int(own.sum()), able.groupby(["process", "net"]).ngroups
    if seeds == 1:
        reason = (
            f"{best['cell']} has the {word} {metric} on the validation split, "
            f"{measured(best[f'{metric}_validation'])}, of {len(able)} "
            f"{'cell' if len(able) == 1 else 'cells'} that can be chosen"
        )
    else:
        mean = f"{measured(best['pair_validation'])} ± {measured(best['pair_spread'])}"
        reason = (
            f"{best['process']} with {best['net']} has the {word} mean {metric} on the validation "
            f"split over {seeds} training seeds, {mean}, of {pairs} "
            f"{'pair' if pairs == 1 else 'pairs'}; {best['cell']} is the best of its seeds with "
            f"{measured(best[f'{metric}_validation'])}"
        )
    if not rest.empty:
        second = rest.iloc[0]
        if seeds == 1:
            reason += f"; next is {second['cell']} with {measured(second[f'{metric}_validation'])}"
        else:
            next_mean = measured(second["pair_validation"])
            reason += f"; next is {second['process']} with {second['net']}, {next_mean}"
        if _overlap(best, second, metric):
            reason += ", and their 95 % intervals on the test split overlap"
    return reason + "."


def best_pairs(frame: pd.DataFrame, count: int) -> list[tuple[str, str]]:
    """Return the labels (process, network) of the best pairs of a leaderboard, at most `count`.

    A pair that is the same as a better one, by construction (see `twins`) or by what it gave (see
    `same`), comes after all others: trained in full it would give the same again.
    """
    able = frame[frame["status"] == "ok"].drop_duplicates(["process", "net"])
    taken: list[pd.Series] = []
    again: list[pd.Series] = []
    for _, row in able.iterrows():
        known = any(_same(row, other, frame) for other in taken)
        (again if known else taken).append(row)
    return [(str(row["process"]), str(row["net"])) for row in (*taken, *again)][:count]


def _same(row: pd.Series, other: pd.Series, frame: pd.DataFrame) -> bool:
    processes = sorted((str(row["process"]), str(other["process"])))
    twin = row["net"] == other["net"] and processes in frame.attrs["twins"]
    return twin or alike(row, other, frame.attrs["metrics"])


def standing(
    result: Result, metric: str, selection: SelectionConfig, cheap: bool = False
) -> tuple[str, str]:
    """Return a cell's status and a remark: ("ok", "") if nothing speaks against it.

    A cell whose samples are not finite, copy training items, or were not measured cannot be chosen.
    One that is below another floor of a decision can (status "ok"), but comes after those that are
    not; cells of a cheap rung are not held against those at all. All of it is told from the
    validation split: nothing here looks at the test split.
    """
    score = score_of(result.document, "validation")
    held = {floor.name: floor.text for floor in floors(score, selection) if not floor.holds}
    if "finite" in held:
        return "not finite", held["finite"]
    if not math.isfinite(score.value(metric)):
        why = score.rows.get(metric, {}).get("details", {}).get("reason", "")
        text = f"no {metric} on the validation split"
        return "not measured", f"{text}: {why}" if why else text
    if "memorised" in held:
        return "memorised", held["memorised"]
    return "ok", "" if cheap else "; ".join(held.values())


def _same_pair(frame: pd.DataFrame, row: pd.Series) -> pd.Series:
    return (frame["process"] == row["process"]) & (frame["net"] == row["net"])


def _overlap(a: pd.Series, b: pd.Series, metric: str) -> bool:
    low = max(number(a[f"{metric}_low"]), number(b[f"{metric}_low"]))
    high = min(number(a[f"{metric}_high"]), number(b[f"{metric}_high"]))
    return low <= high
