"""Why two processes of a grid can give the same numbers.

Every process is reduced to y = x_t / mean(t) = x_0 + sigma_eff(t) eps. With `parametrisation: edm`
the network is trained on y at noise levels from a law of its own, so of a process only the range of
sigma_eff enters the training; and a sampler whose grid lies in sigma_eff walks the same steps too.
A reader of equal rows would look for a fault where there is none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

Row = Mapping[Any, Any] | pd.Series  # of a leaderboard
CLOSE = 1e-3  # relative; the order of float32 operations differs between processes


def same_results(frame: pd.DataFrame, metrics: list[str], parametrisation: str) -> str:
    """Return one sentence on processes with equal weights or equal results, or "".

    Results are equal if every metric is, on both splits, to 0.1 % (or 1 % of its floor).

    Args:
        frame: the rows of a leaderboard.
        metrics: its metrics.
        parametrisation: of the experiment's training; only "edm" has an explanation.
    """
    if parametrisation != "edm":
        return ""
    pairs, groups = set(), defaultdict(list)
    for row in frame.to_dict("records"):  # rows of a frame are slow to take
        if row["status"] != "failed":
            groups[row["net"], row["seed"]].append(row)
    for cells in groups.values():
        for a, b in combinations(cells, 2):
            if a["process"] != b["process"] and alike(a, b, metrics):
                pairs.add(" and ".join(sorted((a["process"], b["process"]))))
    if not pairs:
        return ""
    return (
        f"{', '.join(sorted(pairs))} agree: with parametrisation: edm the network is trained on "
        "y = x_0 + sigma_eff eps, so processes with the same range of sigma_eff train the same "
        "network and differ only in their path of sampling."
    )


def alike(a: Row, b: Row, metrics: list[str]) -> bool:
    """Tell whether two rows of a leaderboard have equal weights, or equal results on both splits."""
    if a["weights_sha256"] and a["weights_sha256"] == b["weights_sha256"]:
        return True
    columns = [f"{m}{end}" for m in metrics for end in ("", "_validation")]
    x, y = (np.array([row[c] for c in columns], dtype=np.float64) for row in (a, b))
    floor = np.array([a[f"{m}_floor"] for m in metrics for _ in range(2)], dtype=np.float64)
    near = 0.01 * np.nan_to_num(np.abs(floor))
    known = np.isfinite(x).any() and np.array_equal(np.isnan(x), np.isnan(y))
    return bool(known and np.all(np.isnan(x) | (np.abs(x - y) <= CLOSE * np.abs(x) + near)))
