"""What was measured of one model on one split, as a decision reads it. No torch is imported here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from sgm_core.store.files import read_json

Array = NDArray[Any]
# Of score.json, for the record of a decision.
MADE_FROM = (
    "key", "split", "seeds", "sampler", "options", "grid", "steps", "nfe", "device",
    "dataset_digest", "reference_digest",
)  # fmt: skip
RESULT, REPLICATES = "score.json", "replicates.safetensors"


@dataclass(frozen=True)
class Score:
    """What was measured of one model on one split.

    Attributes:
        info: score.json without its rows: sampler, NFE, seconds, seeds, digests, ...
        rows: metric -> row (value, interval, floor, details).
        replicates: metric -> (B,) values on bootstrap resamples; those with an interval only.
    """

    info: Mapping[str, Any]
    rows: Mapping[str, Mapping[str, Any]]
    replicates: Mapping[str, Array]

    @property
    def metric(self) -> str:
        """The main metric."""
        return str(self.info["main_metric"])

    def provenance(self) -> dict[str, Any]:
        """What the main figure was made from, so that it can be made again."""
        row = self.rows.get(self.metric, {})
        made = {key: self.info[key] for key in MADE_FROM if self.info.get(key) is not None}
        made |= {"n": row.get("n"), "n_reference": row.get("n_reference")}
        extractor = row.get("details", {}).get("extractor")
        return made | ({"extractor": extractor} if extractor else {})

    def value(self, metric: str) -> float:
        """The value of a metric; NaN where there is none."""
        value = self.rows.get(metric, {}).get("value")
        return math.nan if value is None else float(value)


def score_of(document: Mapping[str, Any], split: str) -> Score:
    """Return the part of an evaluation's metrics.json that is about one split."""
    info = {key: value for key, value in document.items() if key != "rows"}
    rows = {row["metric"]: row for row in document["rows"] if row["split"] == split}
    return Score(info, rows, {})


def load_score(folder: Path) -> Score:
    """Read what `score` wrote."""
    from safetensors.numpy import load_file

    document = read_json(folder / RESULT)
    score = score_of(document, document["split"])
    info = {**score.info, "key": folder.name}
    return Score(info, score.rows, load_file(str(folder / REPLICATES)))
