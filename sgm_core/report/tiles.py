"""A small picture of each cell's samples, drawn alike so that cells can be compared at a glance.

Item i of every cell was generated from the seed evaluation.seed + i: the same noise, another model.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from sgm_core.errors import SgmError
from sgm_core.report import images, points
from sgm_core.report.canvas import DARK, WARM, encoded, rgb
from sgm_core.report.density import close_up, finite, glow, overview
from sgm_core.report.results import Result

POINTS = 10_000
SIDE = 312  # pixels of a panel of points


def tiles(results: Sequence[Result]) -> list[bytes]:
    """Return one PNG per result: points as an overview and a close-up, images as a mosaic.

    Raises:
        SgmError: an evaluation has no readable samples.safetensors.
    """
    clouds = [samples_of(result) for result in results]
    if not results:
        return []
    if results[0].config["data"]["kind"] == "images":
        return [
            encoded(images.tile(x, result.config["data"]))
            for result, x in zip(results, clouds, strict=True)
        ]
    return _clouds([finite(x[:POINTS]) for x in clouds])


def samples_of(result: Result) -> NDArray[np.float64]:
    """Return the kept samples of a cell, item i from the seed evaluation.seed + i.

    Raises:
        SgmError: its samples.safetensors cannot be read.
    """
    file = result.outcome.evaluation.path / "samples.safetensors"
    try:
        return np.asarray(load_file(file)["x"], dtype=np.float64)
    except (OSError, KeyError, SafetensorError) as error:
        raise SgmError(
            f"{file} cannot be read ({type(error).__name__}); delete its folder and run again"
        ) from None


def _clouds(clouds: Sequence[NDArray[np.float64]]) -> list[bytes]:
    """Points of all cells in the same windows, those of the best cell (the first that has any)."""
    known = next((x for x in clouds if len(x) > 1), None)
    if known is None:
        empty = np.broadcast_to(rgb(DARK.panel), (SIDE, SIDE, 3))
        return [encoded(empty) for _ in clouds]
    plane = points.plane_of(known)
    whole = overview(plane(known))
    near = close_up(plane(known), whole)
    windows = [whole, near] if near else [whole]
    return [
        encoded(np.hstack([glow(plane(x), w, WARM, pixels=SIDE, blur=1.1 / SIDE) for w in windows]))
        for x in clouds
    ]
