"""What every measurement of a model begins with: data, reference, model, and what draws from it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sgm_core.data.dataset import Dataset, load_dataset
from sgm_core.device import device_class
from sgm_core.errors import SgmError, UsageError
from sgm_core.evaluate.compare import Yardstick
from sgm_core.evaluate.draw import Drawn
from sgm_core.evaluate.likelihood import likelihood_scores
from sgm_core.evaluate.measure import Scored
from sgm_core.evaluate.names import METRICS, main_metric, names_for
from sgm_core.evaluate.plan import Drawer
from sgm_core.evaluate.reference import Reference, open_reference
from sgm_core.evaluate.uncertainty import Bootstrap

Emit = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Session:
    """One model beside the data that it is held against.

    Attributes:
        main: the metric that ranks models of this data; `names`: those that are of samples.
        items: of each split the first items whose likelihood is measured; 0: none.
    """

    data: Dataset
    held: Reference
    model: Any
    drawer: Drawer
    yardstick: Yardstick
    boot: Bootstrap
    main: str
    names: list[str]
    items: int

    def of(self, model: Any) -> Session:
        """Return the same beside another model of this data."""
        return replace(self, model=model, drawer=self.drawer.of(model))

    def provenance(self) -> dict[str, Any]:
        """What the whole measurement was made from, for the record."""
        settings = self.drawer.settings
        return {
            "main_metric": self.main,
            "sigma_min": settings.get("sigma_min"),
            "guidance": settings.get("guidance"),
            "seed": self.drawer.seed,
            "dataset_digest": self.data.digest,
            "reference_digest": self.held.digest,
        }

    def likelihood(self, splits: Iterable[str]) -> list[Scored]:
        """Measure the likelihood of the first items of the splits; empty if none are asked for."""
        if not self.items:
            return []
        settings, batch, device = self.drawer.settings, self.drawer.batch, self.drawer.device
        found = likelihood_scores(
            self.model, self.data, self.items, settings, batch, self.boot, device, splits
        )
        return list(found)


def open_session(
    model_dir: Path,
    dataset: Path,
    reference: Path,
    sampling: dict[str, Any],
    evaluation: dict[str, Any],
    emit: Emit,
) -> Session:
    """Open and check everything; see `sgm_core.evaluate.run.evaluate` for the arguments.

    Raises:
        SgmError: the reference is of other data, or the model of another shape.
        UsageError: the main metric does not exist for this data, or is not asked to be measured.
    """
    # Only a measurement needs the network's code; the tables beside it are imported without.
    from sgm_core.model import ScoreModel

    data = load_dataset(dataset)
    held = open_reference(reference, data)
    source, labelled = str(data.meta.get("source", "")), bool(data.labels)
    main = main_metric(data.kind, evaluation.get("metric", "auto"), source, labelled)
    known = names_for(data.kind, source, labelled)
    names = [name for name in known if METRICS[name].of == "samples"]
    items = int(evaluation.get("likelihood_items", 0))
    if main not in names and items == 0:
        raise UsageError(f"evaluation.likelihood_items: 0 is not valid: {main} needs at least 1")
    device = device_class(str(evaluation.get("device", "auto")))
    model = ScoreModel.load(model_dir, device=device)
    config = _model_config(model_dir, data)
    drawer = Drawer(model, config, data, held, sampling, evaluation, emit)
    boot = Bootstrap(int(evaluation["bootstrap"]), drawer.seed)
    yardstick = Yardstick(data, held)
    return Session(data, held, model, drawer, yardstick, boot, main, names, items)


def costs(drawn: Drawn) -> dict[str, Any]:
    """What drawing cost, and whether it came to an end."""
    return {
        "samples": len(drawn),
        "finite": float(drawn.finite.mean()),
        "seconds_per_sample": drawn.seconds / len(drawn),
        "cpu_seconds_per_sample": drawn.cpu_seconds / len(drawn),
    }


def _model_config(model_dir: Path, data: Dataset) -> dict[str, Any]:
    """Return the model's config.json, after checking that it was trained on such items."""
    try:
        config = json.loads((model_dir / "config.json").read_text(encoding="utf-8"))
        shape = tuple(config["data"]["shape"])
    except (OSError, ValueError, KeyError, TypeError):
        raise SgmError(f"{model_dir}/config.json cannot be read; train the cell again") from None
    if shape != data.shape:
        raise SgmError(
            f"{model_dir} was trained on items of shape {shape} and {data.folder} has "
            f"{data.shape}; evaluate it on the data it was trained on"
        )
    return dict(config)
