"""Samples against the held-out splits: every metric of the data, as rows of metrics.json."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgm_core.data.dataset import Dataset
from sgm_core.evaluate import images
from sgm_core.evaluate.classes import Judge
from sgm_core.evaluate.draw import Drawn
from sgm_core.evaluate.floors import nearest_floor
from sgm_core.evaluate.images import Images
from sgm_core.evaluate.manifold import CLOSENESS_LIMIT, closeness
from sgm_core.evaluate.measure import TooFew, empty_row, row
from sgm_core.evaluate.pixels import thumbnails
from sgm_core.evaluate.reference import Reference, cloud_of, point_measures
from sgm_core.evaluate.uncertainty import Bootstrap

Array = NDArray[Any]
EXTRACTED = ("fd", "kid", "precision", "recall", "density", "coverage")


class Yardstick:
    """What samples are compared with: held-out clouds, floors, and for images train pictures."""

    def __init__(self, data: Dataset, held: Reference) -> None:
        self.data, self.held = data, held
        self.train: Array | None = None
        self.judge: Judge | None = None
        if data.kind == "images":
            low, high = data.meta["range"]
            split = data.split("train")
            self.train = thumbnails(split.x, (float(low), float(high)))
            if split.labels is not None and data.labels:
                self.judge = Judge(self.train, np.asarray(split.labels))

    def rows(
        self,
        drawn: Drawn,
        names: list[str],
        boot: Bootstrap | None,
        facts: dict[str, Any],
        splits: Iterable[str] = ("validation", "test"),
    ) -> list[dict[str, Any]]:
        """Measure the metrics `names` of the samples against the splits."""
        finite = float(drawn.finite.mean())
        cloud = self._cloud(drawn, names) if finite == 1.0 else None
        measures: dict[str, Any] = (
            dict(images.MEASURES) if self.train is not None else dict(point_measures(self.data)[0])
        )
        rows = []
        for split in splits:
            real = self.held.splits[split]
            for name in names:
                if cloud is None:
                    details = {"finite": finite, "reason": "samples are not finite"}
                    rows.append(empty_row(name, split, len(drawn), len(real), details))
                    continue
                try:
                    measure = measures[name](cloud, real, boot)
                except TooFew as error:
                    rows.append(
                        empty_row(name, split, len(drawn), len(real), {"reason": str(error)})
                    )
                    continue
                floor = nearest_floor(self.held.info["floors"], name, split, measure.n)
                entry = row(name, split, measure, floor)
                entry["details"] |= self._facts(name, split, facts)
                rows.append(entry)
        return rows

    def _cloud(self, drawn: Drawn, names: list[str]) -> Any:
        if self.train is None:
            return cloud_of(self.data, drawn.x)
        assert drawn.features is not None and drawn.thumbs is not None
        near = None
        if "memorised" in names and len(self.train) > 1:
            near = closeness(drawn.thumbs[:CLOSENESS_LIMIT], self.train)[0]
        predicted = None
        if self.judge is not None and ("agreement" in names or "class_balance" in names):
            predicted = self.judge.predict(drawn.thumbs)
        return Images(drawn.features, drawn.labels, predicted, near)

    def _facts(self, name: str, split: str, facts: dict[str, Any]) -> dict[str, Any]:
        """What a figure needs to be made again."""
        reference = {
            "split": split,
            "dataset_digest": self.data.digest,
            "reference_digest": self.held.digest,
        }
        extra: dict[str, Any] = {}
        if name in EXTRACTED:
            extractor = self.held.info["extractor"]
            extra["extractor"] = {k: extractor[k] for k in ("name", "sha256", "dim", "resize")}
            extra["rounded"] = True
        return {**facts, "reference": reference, **extra}
