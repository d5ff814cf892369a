"""Which samples of a model are drawn: for the metrics, and fewer at each number of steps and under
each other process."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgm_core.data.dataset import Dataset
from sgm_core.device import device_class
from sgm_core.errors import SgmError
from sgm_core.evaluate.draw import Drawn, Progress, chunk_count, draw, head, shares_of_classes
from sgm_core.evaluate.measure import reason
from sgm_core.evaluate.reference import Reference
from sgm_core.sample.names import DEFAULT_SAMPLER

Array = NDArray[Any]
# Disjoint blocks of seeds that samples under another process are drawn from.
BLOCKS = 3


class Drawer:
    """Draws the samples of the metrics, of the quality-against-NFE curve and under other processes.

    Args:
        model: a `ScoreModel`, and `config`: its config.json.
        data, held: the dataset and its reference.
        sampling, evaluation: fields of `SamplingConfig` and `EvaluationConfig`.
        emit: receives progress and message events.
    """

    def __init__(
        self,
        model: Any,
        config: dict[str, Any],
        data: Dataset,
        held: Reference,
        sampling: dict[str, Any],
        evaluation: dict[str, Any],
        emit: Callable[[dict[str, Any]], None],
    ) -> None:
        self.model, self.data, self.held, self.emit = model, data, held, emit
        self.n, self.seed = int(evaluation["samples"]), int(evaluation["seed"])
        self.batch = int(evaluation["batch"])
        self.device = device_class(str(evaluation.get("device", "auto")))
        keys = ("sampler", "options", "grid", "sigma_min", "guidance", "steps")
        self.settings = {key: sampling[key] for key in keys if key in sampling}
        self.settings.setdefault("sampler", DEFAULT_SAMPLER)
        self.sampler = str(self.settings["sampler"])
        self.points = [int(s) for s in evaluation.get("nfe_curve", ())]
        self.curve_n = min(int(evaluation.get("curve_samples", self.n)), self.n)
        self.trained_under = str(config.get("process", {}).get("kind", ""))
        self.labels = self._labels(config)
        total = chunk_count(self.n, self.batch) * self.settings["steps"]
        for steps in self.points:
            if steps != self.settings["steps"]:
                total += chunk_count(self.curve_n, self.batch) * steps
        blocks = BLOCKS * len(evaluation.get("under", ()))
        total += blocks * chunk_count(self.curve_n, self.batch) * self.settings["steps"]
        self.progress = Progress(emit, total)

    def _labels(self, config: dict[str, Any]) -> Array | None:
        """Classes to ask for, in the proportions of the train split; None: not conditional."""
        known = config.get("data", {}).get("labels") or []
        train = self.data.split("train").labels
        if not known or train is None:
            return None
        return shares_of_classes(np.asarray(train), len(known), self.n, self.seed)

    def of(self, model: Any) -> Drawer:
        """Return one that draws the same main samples, but of another model of this data."""
        other = copy.copy(self)
        total = chunk_count(self.n, self.batch) * self.settings["steps"]
        other.model, other.progress = model, Progress(self.emit, total)
        return other

    def main(self) -> Drawn:
        """Draw the samples of the metrics."""
        return self._draw(self.n, self.settings)

    def curve(self, drawn: Drawn) -> Iterator[Drawn]:
        """Yield the first samples at each number of steps that the sampler can do."""
        seen: set[int] = set()
        for steps in self.points:
            if steps == self.settings["steps"]:
                part = head(drawn, self.curve_n)
            else:
                try:
                    part = self._draw(self.curve_n, self.settings | {"steps": steps})
                except SgmError as error:
                    text = f"quality against NFE: {steps} steps left out: {reason(error)}"
                    self.emit({"event": "message", "text": text})
                    continue
            # An adaptive sampler spends the same evaluations whatever the steps.
            if part.nfe not in seen:
                seen.add(part.nfe)
                yield part

    def by(self, sampler: str, steps: int) -> Drawn:
        """Draw the first `curve_samples` samples with another sampler and number of steps.

        Raises:
            SgmError: the sampler cannot do so few steps, or did not come to an end.
        """
        settings = self.settings | {"sampler": sampler, "steps": steps}
        if sampler != self.sampler:
            settings.pop("options", None)
        return self._draw(self.curve_n, settings)

    def under(self, process: str, seed: int, n: int) -> Drawn:
        """Draw n samples from `seed` on under another process, as `ScoreModel.denoiser` takes it.

        Raises:
            SgmError: the sampler is not for this process, or did not come to an end.
        """
        other = {} if process == self.trained_under else {"process": process}
        return self._draw(n, self.settings | other, seed)

    def _draw(self, n: int, settings: dict[str, Any], seed: int | None = None) -> Drawn:
        span = None
        if self.data.kind == "images":
            low, high = self.data.meta["range"]
            span = (float(low), float(high))
        return draw(
            self.model,
            n,
            seed=self.seed if seed is None else seed,
            batch=self.batch,
            settings=settings,
            labels=None if self.labels is None else self.labels[:n],
            span=span,
            embed=self.held.embed,
            device=self.device,
            progress=self.progress,
        )
