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
from sgm_core.report.canvas import DARK, DPI, figure, png
from sgm_core.report.density import close_up, finite, overview
from sgm_core.report.results import Result

POINTS = 10_000


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
            _mosaic(x, result.config["data"]) for result, x in zip(results, clouds, strict=True)
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


def _mosaic(x: NDArray[np.float64], data: dict[str, object]) -> bytes:
    sheet = images.tile(x, data)
    drawn = figure(sheet.shape[1] / DPI, sheet.shape[0] / DPI, DARK)
    images.place(drawn, sheet, 0, 0)
    return png(drawn)


def _clouds(clouds: Sequence[NDArray[np.float64]]) -> list[bytes]:
    """Points of all cells in the same windows, those of the best cell (the first that has any)."""
    known = next((x for x in clouds if len(x) > 1), None)
    if known is None:
        return [png(figure(4.0, 2.0, DARK)) for _ in clouds]
    plane = points.plane_of(known)
    whole = overview(plane(known))
    near = close_up(plane(known), whole)
    windows = [whole, near] if near else [whole]
    made = []
    for x in clouds:
        drawn = figure(2.6 * len(windows), 2.6, DARK)
        for index, window in enumerate(windows):
            axes = drawn.add_axes((index / len(windows), 0, 1 / len(windows), 1))
            points.tile(axes, plane(x), window)
        made.append(png(drawn))
    return made
