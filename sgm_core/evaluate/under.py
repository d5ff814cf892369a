"""One checkpoint under every process: what the path of sampling alone does to the samples.

E[x_0 | u_t] depends on the state through y = x_0 + sigma_eff eps only, so one network can be sampled
under any process. Samples are drawn from several disjoint blocks of seeds, the same for every
process; the deviation over blocks tells how much of a difference between processes is chance.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from sgm_core.errors import SgmError
from sgm_core.evaluate.compare import Yardstick
from sgm_core.evaluate.measure import reason
from sgm_core.evaluate.plan import BLOCKS, Drawer

# Of the metrics of the data those that are looked at, if it has them, besides the ranking one.
METRICS = ("sliced_w2", "off", "local", "fd", "agreement")
# A process of sampling may be chosen by these numbers, so they are not those of the test split.
SPLIT = "validation"


def measured_under(
    drawer: Drawer,
    yardstick: Yardstick,
    names: Sequence[str],
    processes: Sequence[str],
    n: int,
    blocks: int = BLOCKS,
) -> Iterator[dict[str, Any]]:
    """Sample under each process and measure; yield a row per process as soon as it is there.

    Args:
        drawer: draws with its model's settings (sampler, steps, grid, ...).
        names: metrics.
        processes: names, or module:Class; that of the process trained under keeps the parameters it
            was trained with, the others have their defaults.
        n: samples per block; block b uses the seeds seed + b n, ..., seed + (b + 1) n - 1.

    Yields:
        {process, trained, sampler, steps, nfe, samples, seeds (first ones), split, reason, metrics}
        with metrics {name: {value, std, values, floor, better, n_reference, details}}: mean and
        standard deviation over the blocks (std None for one block); `reason` says why there are
        none, else "".
    """
    for process in processes:
        row: dict[str, Any] = {
            "process": process,
            "trained": process == drawer.trained_under,
            "sampler": drawer.sampler,
            "steps": int(drawer.settings["steps"]),
            "nfe": None,
            "samples": n,
            "seeds": [drawer.seed + b * n for b in range(blocks)],
            "split": SPLIT,
            "reason": "",
            "metrics": {},
        }
        found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
        try:
            for first in row["seeds"]:
                drawn = drawer.under(process, first, n)
                row["nfe"] = drawn.nfe
                for entry in yardstick.rows(drawn, list(names), None, (SPLIT,)):
                    found[entry["metric"]].append(entry)
        except SgmError as error:  # the sampler is not for this process, or did not end
            row["reason"] = reason(error)
        else:
            row["metrics"] = {name: _over_blocks(entries) for name, entries in found.items()}
        yield row


def metrics_under(names: Sequence[str], main: str) -> list[str]:
    """Return which of the metrics `names` of samples are measured: the ranking one first."""
    first = [main] if main in names else []  # a likelihood is of the model: no path changes it
    return first + [name for name in names if name in METRICS and name != main]


def _over_blocks(entries: list[dict[str, Any]]) -> dict[str, Any]:
    values = [entry["value"] for entry in entries]
    known = [float(v) for v in values if v is not None]
    mean = std = None
    if known and len(known) == len(values):  # a block that diverged must not be left out
        mean = sum(known) / len(known)
        if len(known) > 1:
            std = math.sqrt(sum((v - mean) ** 2 for v in known) / (len(known) - 1))
    first = entries[0]
    floor, better = first["floor"], first["better"]
    made = {"n_reference": first["n_reference"], "details": first["details"]}
    return {"value": mean, "std": std, "values": values, "floor": floor, "better": better, **made}
