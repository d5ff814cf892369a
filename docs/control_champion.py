"""The champions that docs/control.md shows, each with its data and what measures it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from flows.project import Project
from flows.sampling import find_model, open_model
from sgm_core.data import load_dataset
from sgm_core.errors import UsageError
from sgm_core.evaluate.compare import Yardstick
from sgm_core.evaluate.draw import Drawn
from sgm_core.evaluate.pixels import rounded, thumbnails
from sgm_core.evaluate.reference import open_reference
from sgm_core.report.images import pixels

NAMES = ("digits", "fashion_mnist", "emoji")
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Champion:
    """A registered model with its data."""

    name: str
    project: Project

    @cached_property
    def model(self) -> Any:
        return open_model(f"models:/sgm-{self.name}@champion")

    @cached_property
    def data(self) -> Any:
        return load_dataset(self.project.prepared(self.name))

    @cached_property
    def held(self) -> Any:
        return open_reference(self.project.reference(self.name), self.data)

    @cached_property
    def yardstick(self) -> Yardstick:
        return Yardstick(self.data, self.held)

    @property
    def span(self) -> tuple[float, float]:
        low, high = self.data.meta["range"]
        return float(low), float(high)

    def first_of(self, *classes: int) -> Array:
        """Return test images, the first of each class."""
        test = self.data.split("test")
        return test.x[[int(np.flatnonzero(test.labels == c)[0]) for c in classes]].astype(float)

    def rgb(self, x: Array, rows: int) -> Array:
        """Return images as (rows, columns, H, W, 3) bytes."""
        shown = pixels(x, *self.span)
        return shown.reshape(rows, -1, *shown.shape[1:])

    def seen(self, x: Array) -> Drawn:
        """Return images as the metrics take them."""
        whole, n = rounded(x, self.span), len(x)
        features, thumbs = self.held.embed(whole, self.span), thumbnails(whole, self.span)
        return Drawn(x, np.ones(n, dtype=bool), None, features, thumbs, 0, 0.0, 0.0)

    def judged(self, drawn: Drawn) -> Array:
        """Return the classes that the judge of the metrics sees."""
        assert self.yardstick.judge is not None and drawn.thumbs is not None
        return self.yardstick.judge.predict(drawn.thumbs)

    def metrics(self, drawn: Drawn, *names: str) -> dict[str, Any]:
        rows = self.yardstick.rows(drawn, list(names), None, ("validation",))
        return {row["metric"]: row["value"] for row in rows}


def champions(project: Project) -> dict[str, Champion]:
    """Return the champions that there are; print which are missing."""
    found = {}
    for name in NAMES:
        try:
            find_model(f"models:/sgm-{name}@champion")
            found[name] = Champion(name, project)
        except UsageError:
            print(f"sgm-{name} is missing, its figures stay as they are; run: sgm run {name}")
    return found


def colourful(c: Champion, count: int) -> Array:
    """Return test images with the most colour in them, no two of one kind next to each other."""
    x = c.data.split("test").x.astype(float)
    order = np.argsort(-x.std(1).mean((1, 2)), kind="stable")
    return x[np.sort(order[: 5 * count])[::5]]
