"""All pictures of a report, in parts that several processes can draw at once.

    draw(scene, part) -> {name: PNG}       for each of PARTS, in any order and anywhere

A report needs matplotlib for nothing else: whoever has its pictures drawn elsewhere does not import it.
"""

from __future__ import annotations

from matplotlib.figure import Figure

from sgm_core.report import curves, heatmap, sampler_chart
from sgm_core.report.canvas import DARK, LIGHT, Ground, png
from sgm_core.report.scene import CELLS, SIDE_BY_SIDE, Scene
from sgm_core.report.side_by_side import side_by_side_figure
from sgm_core.report.tiles import tiles


def draw(scene: Scene, part: str) -> dict[str, bytes]:
    """Return the pictures of a part: the charts on one ground, or what the cells made.

    Raises:
        SgmError: the samples of a cell cannot be read.
    """
    if part == CELLS:
        return _cells(scene)
    return _charts(scene, {ground.name: ground for ground in (LIGHT, DARK)}[part])


def _cells(scene: Scene) -> dict[str, bytes]:
    """The best cells side by side, and a small picture of each that is shown, by name."""
    small = zip((result.name for result in scene.shown), tiles(scene.shown), strict=True)
    return {SIDE_BY_SIDE: png(side_by_side_figure(scene.shown)), **dict(small)}


def _charts(scene: Scene, ground: Ground) -> dict[str, bytes]:
    """The experiment's charts on one ground, by file."""
    metric, results = scene.metric, scene.results
    fields, grid = [*results, *scene.left_out], (scene.processes, scene.nets)
    drawn: dict[str, Figure] = {
        "loss.png": curves.loss_figure(results, ground),
        "nfe.png": curves.nfe_figure(results, metric, ground),
        "samplers.png": sampler_chart.samplers_figure(scene.samplers, metric, ground),
        "heatmap.png": heatmap.heatmap_figure(fields, *grid, metric, scene.best, ground),
        "training_time.png": curves.training_time_figure(results, metric, ground, scene.tried),
    }
    return {name: png(picture) for name, picture in drawn.items()}
