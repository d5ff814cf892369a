"""Samples against the held-out splits: every metric of the data, as rows of metrics.json."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgm_core.at_once import in_order
from sgm_core.data.dataset import Dataset
from sgm_core.evaluate import images
from sgm_core.evaluate.classes import Judge
from sgm_core.evaluate.draw import Drawn
from sgm_core.evaluate.floors import nearest_floor
from sgm_core.evaluate.images import Images
from sgm_core.evaluate.manifold import CLOSENESS_LIMIT, closeness
from sgm_core.evaluate.measure import Scored, TooFew, empty_row, row
from sgm_core.evaluate.pixels import thumbnails
from sgm_core.evaluate.reference import Reference, cloud_of, point_measures
from sgm_core.evaluate.uncertainty import Bootstrap

Array = NDArray[Any]
EXTRACTED = ("fd", "fd_inf", "kid", "precision", "recall", "density", "coverage")


class Yardstick:
    """What samples are compared with: held-out clouds, floors, and the training data."""

    def __init__(self, data: Dataset, held: Reference) -> None:
        self.data, self.held = data, held
        self.judge: Judge | None = None
        self.measures: dict[str, Any]
        split = data.split("train")
        if data.kind == "points":
            self.train, self.measures = split.x, dict(point_measures(data)[0])
            return
        low, high = data.meta["range"]
        self.train = thumbnails(split.x, (float(low), float(high)))
        self.measures = dict(images.MEASURES)
        if split.labels is not None and data.labels:
            self.judge = Judge(self.train, np.asarray(split.labels))

    def rows(
        self,
        drawn: Drawn,
        names: list[str],
        boot: Bootstrap | None,
        splits: Iterable[str] = ("validation", "test"),
    ) -> list[dict[str, Any]]:
        """Measure the metrics `names` of the samples against the splits."""
        return [scored.row for scored in self.scored(drawn, names, boot, splits)]

    def scored(
        self,
        drawn: Drawn,
        names: list[str],
        boot: Bootstrap | None,
        splits: Iterable[str],
    ) -> Iterator[Scored]:
        """Yield the rows with the bootstrap replicates behind their intervals."""
        finite = float(drawn.finite.mean())
        cloud = self._cloud(drawn, names) if finite == 1.0 else None

        def one(of: tuple[str, str]) -> Scored:
            split, name = of
            real = self.held.splits[split]
            size = len(drawn), len(real)
            if cloud is None:
                details = {"finite": finite, "reason": "samples are not finite"}
                return Scored(empty_row(name, split, *size, details))
            try:
                measure = self.measures[name](cloud, real, boot)
            except TooFew as error:
                return Scored(empty_row(name, split, *size, {"reason": str(error)}))
            floor = nearest_floor(self.held.info["floors"], name, split, measure.n)
            entry = row(name, split, measure, floor)
            entry["details"] |= self._facts(name, split, drawn)
            return Scored(entry, measure.replicates)

        yield from in_order(one, [(split, name) for split in splits for name in names])

    def closest(self, drawn: Drawn) -> tuple[Array, Array]:
        """Return the closeness of the first 2,000 samples, and their nearest training items."""
        x = drawn.x if drawn.thumbs is None else drawn.thumbs
        return closeness(x[:CLOSENESS_LIMIT], self.train)

    def _cloud(self, drawn: Drawn, names: list[str]) -> Any:
        near = None
        if "memorised" in names and len(self.train) > 1:
            near = self.closest(drawn)[0]
        if self.data.kind == "points":
            return cloud_of(self.data, drawn.x, near)
        assert drawn.features is not None and drawn.thumbs is not None
        predicted = None
        if self.judge is not None and ("agreement" in names or "class_balance" in names):
            predicted = self.judge.predict(drawn.thumbs)
        return Images(drawn.features, drawn.labels, predicted, near)

    def _facts(self, name: str, split: str, drawn: Drawn) -> dict[str, Any]:
        """What a figure needs to be made again."""
        reference = {
            "split": split,
            "dataset_digest": self.data.digest,
            "reference_digest": self.held.digest,
        }
        extra: dict[str, Any] = {}
        extractor = self.held.info["extractor"]
        if name in EXTRACTED and extractor is not None:
            extra["extractor"] = {k: extractor[k] for k in ("name", "sha256", "dim", "resize")}
            extra["rounded"] = True
        return {**drawn.facts, "reference": reference, **extra}
