"""What `GET /api/models` and `GET /api/health` tell."""

from __future__ import annotations

import functools
import math

from sgm_core.config.custom import ALL_PROCESSES
from sgm_core.sample.names import OPTIONS, SAMPLERS, sampler_fits
from studio.catalogue import Entry, Shelf
from studio.limits import Limits
from studio.schemas import Caps, Model, Models, SamplerOption, Served, Trouble, Variant


def models(shelf: Shelf, limits: Limits) -> Models:
    """Return everything that can be drawn from."""
    caps = Caps(
        n=limits.n,
        steps=limits.steps,
        numbers=limits.numbers,
        frame_numbers=limits.frame_numbers,
        seconds=limits.seconds,
    )
    return Models(models=[_model(entry, limits) for entry in shelf.entries], limits=caps)


def served(shelf: Shelf) -> list[Served]:
    """Return the version of each model that a request gets by default."""
    best = [shelf.find(name).version for name in shelf.names()]
    return [Served(name=version.name, version=version.number) for version in best]


def troubles(shelf: Shelf) -> list[Trouble]:
    """Return what is wrong."""
    return [
        Trouble(model=problem.model, version=problem.version, detail=problem.detail)
        for problem in shelf.problems
    ]


def _model(entry: Entry, limits: Limits) -> Model:
    version, opened = entry.version, entry.opened
    config, processes = opened.config, opened.listed_processes()
    return Model(
        name=version.name,
        version=version.number,
        aliases=list(version.aliases),
        kind="points" if len(opened.model.shape) == 1 else "image",
        shape=list(opened.model.shape),
        labels=opened.model.labels,
        process=config["process"],
        net=config["net"],
        data=config["data"],
        defaults=config["sampling"],
        samplers=samplers(),
        processes=processes,
        fits={kind: _fitting(kind) for kind in processes},
        variants={
            name: Variant(**{key: entry.get(key) for key in Variant.model_fields if key in entry})
            for name, entry in opened.manifest["variants"].items()
        },
        variant=opened.default_variant(),
        fills=opened.differentiable(),
        most=limits.most(opened.size),
        browser=not opened.browser(),
        reason=opened.browser() or None,
        files=opened.files(),
    )


@functools.cache
def samplers() -> dict[str, dict[str, SamplerOption]]:
    """Return the options of every sampler."""
    return {
        sampler: {
            name: SamplerOption(
                default=_finite(option.default),
                low=_finite(option.low),
                high=_finite(option.high),
                text=option.text,
            )
            for name, option in OPTIONS[sampler].items()
        }
        for sampler in SAMPLERS
    }


def _fitting(process: str) -> list[str]:
    langevin = ALL_PROCESSES[process].langevin
    return [name for name in SAMPLERS if sampler_fits(name, langevin)]


def _finite(value: float) -> float | None:
    """JSON has no infinity."""
    return value if math.isfinite(value) else None
