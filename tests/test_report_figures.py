"""Pictures have content, the right size, the same bytes each time, and survive odd samples."""

from __future__ import annotations

import io
import json
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import imread
from PIL import Image
from report_fakes import Dataset, Mixture, experiment, images_data, outcome, points_data

from sgm_core.report import images, points
from sgm_core.report.canvas import COOL, DARK, LIGHT, figure, place, png, rgb
from sgm_core.report.curves import free_place, loss_figure, training_time_figure
from sgm_core.report.density import (
    Spot,
    Window,
    _counts,
    brightness,
    close_up,
    glow,
    outline,
    overview,
)
from sgm_core.report.field import draw_field, field_figure, wedges
from sgm_core.report.figures import cell_pictures, hero
from sgm_core.report.images import enlargement, mosaic, pixels
from sgm_core.report.results import read
from sgm_core.report.trace import Moment, normalised, pick, record


def draw(data: Dataset, out: Path) -> dict[str, bytes]:
    out.mkdir()
    model = Mixture(data)
    written = cell_pictures(model, data, model.sample(300), out)
    return {path.name: path.read_bytes() for path in written}


@pytest.mark.parametrize(("data", "names"), [
    (points_data(), {"samples.png", "trajectory.png", "field.png"}),
    (images_data(), {"samples.png", "trajectory.png"}),
])  # fmt: skip
def test_pictures_have_content_and_are_deterministic(
    data: Dataset, names: set[str], tmp_path: Path
) -> None:
    first, second = draw(data, tmp_path / "a"), draw(data, tmp_path / "b")
    assert set(first) == names
    assert first == second
    for name in names:
        picture = imread(tmp_path / "a" / name)
        assert picture.shape[0] > 150
        assert picture.shape[1] > 500
        assert picture[..., :3].std() > 0.03
        assert b"Software" not in first[name]


def test_every_panel_is_filled(tmp_path: Path) -> None:
    draw(points_data(), tmp_path / "a")
    for name, rows, columns in (("samples", 1, 4), ("trajectory", 2, 8), ("field", 1, 4)):
        picture = imread(tmp_path / "a" / f"{name}.png")[60:, :, :3]
        for row in np.array_split(picture, rows, axis=0):
            for panel in np.array_split(row, columns, axis=1):
                lit = panel.max(axis=2) > 0.4
                assert lit.mean() > 0.0005
                # Light stands near the middle of its panel and not in a corner of the figure.
                assert 0.1 < np.argwhere(lit).mean(axis=0)[0] / lit.shape[0] < 0.9


@pytest.mark.parametrize("d", [1, 3, 5])
def test_points_of_other_dimensions(d: int, tmp_path: Path) -> None:
    assert set(draw(points_data(d=d), tmp_path / "a")) == {"samples.png", "trajectory.png"}


@pytest.mark.parametrize("data", [points_data(), images_data()])
def test_samples_that_are_not_finite_are_left_out(data: Dataset) -> None:
    model = Mixture(data)
    samples = model.sample(50)
    real = data.x.astype(float)
    for finite in (3, 0):
        samples.x[finite:] = np.nan
        if data.kind == "points":
            drawn = points.samples_figure(real, samples.x)
        else:
            drawn = images.samples_figure(real, data.labels, samples.x, samples.labels, data.meta)
        assert len(png(drawn)) > 1000


def test_unlabelled_colour_images_that_are_not_square(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 255, (30, 3, 12, 20)).astype(np.uint8)
    meta = {**images_data().meta, "shape": [3, 12, 20], "range": [0, 255], "labels": []}
    data = Dataset(meta, x)
    model = SimpleNamespace(sample=Mixture(data).sample)
    written = cell_pictures(model, data, x.astype(np.float32), tmp_path)
    assert [path.name for path in written] == ["samples.png", "trajectory.png"]
    hero(model, data, tmp_path / "hero.png")


def test_hero_is_wide(tmp_path: Path) -> None:
    for name, data in (("a.png", points_data()), ("b.png", images_data())):
        hero(Mixture(data), data, tmp_path / name)
        height, width = imread(tmp_path / name).shape[:2]
        assert width > 2.2 * height


def test_threads_draw_the_same_pictures(tmp_path: Path) -> None:
    data = images_data()
    made: dict[int, dict[str, bytes]] = {}

    def work(index: int) -> None:
        made[index] = draw(data, tmp_path / str(index))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made[0] == made[1] == made[2]


def test_record_asks_for_one_batch_and_normalises_to_the_spread_of_the_data() -> None:
    data = points_data()
    model = Mixture(data)
    trace = record(model, 400, seed=3)
    assert model.calls == [{"n": 400, "seed": 3, "batch": 400}]
    assert len(trace.moments) == model.steps
    noisy = trace.moments[0]
    assert noisy.x.std() > 10
    assert 0.9 < normalised(noisy, data.meta).std() < 1.1
    np.testing.assert_allclose(
        normalised(Moment(0.0, 0.0, noisy.x0, noisy.x0), data.meta), noisy.x0
    )


def test_pick_goes_from_noise_to_data_without_repeats() -> None:
    zeros = np.zeros((1, 2))
    moments = [Moment(0.0, s, zeros, zeros) for s in (100.0, 10.0, 1.0, 0.1, 0.01)]
    assert [m.sigma for m in pick(moments, 3, high=10, low=0.1)] == [10.0, 1.0, 0.1]
    assert [m.sigma for m in pick(moments, 50, high=1e9, low=0)] == [m.sigma for m in moments]
    assert pick([], 3, high=1, low=0) == []


def test_close_up_only_where_points_crowd() -> None:
    clusters = points_data(5000).x
    window = close_up(clusters, overview(clusters))
    assert window is not None
    assert window.holds(clusters).mean() > 0.25
    even = np.random.default_rng(0).uniform(-1, 1, (5000, 2))
    assert close_up(even, overview(even)) is None


def test_points_are_counted_where_they_lie() -> None:
    window = Window(1.0, -2.0, 3.0)
    xy = np.random.default_rng(0).uniform(-6, 6, (4000, 2))
    edges = [[-2.0, -5.0], [4.0, 1.0], [4.0, -5.0], [1e300, 0.0]]  # corners belong to the window
    xy = np.concatenate([xy, edges])
    left, right, bottom, top = window.extent
    expected, _, _ = np.histogram2d(
        xy[:, 0], xy[:, 1], bins=17, range=((left, right), (bottom, top))
    )
    assert _counts(xy, window, 17).tolist() == expected.tolist()
    dark = brightness(np.zeros((0, 2)), window, pixels=5, blur=0.9)
    assert not dark.any()


def pixels_of(drawn: Figure) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png(drawn))))


def test_pixels_are_placed_where_they_belong() -> None:
    sheet = np.random.default_rng(0).integers(0, 255, (30, 50, 3)).astype(np.uint8)
    drawn = figure(2.0, 1.0, DARK)
    place(drawn, sheet, 40, 25)
    found = pixels_of(drawn)
    assert (found[25:55, 40:90] == sheet).all()
    found = found.copy()
    found[25:55, 40:90] = found[0, 0]
    assert (found == found[0, 0]).all()


def test_a_point_shines_where_it_lies() -> None:
    panel = glow(np.array([[-0.5, 0.7]]), Window(0.0, 0.0, 1.0), COOL, pixels=101)
    inside = panel[1:-1, 1:-1].astype(int).sum(axis=2)
    row, column = np.unravel_index(int(inside.argmax()), inside.shape)
    assert (row + 1, column + 1) == (15, 25)  # y = 0.7 is 15 % from the top


def test_points_look_alike_in_panels_of_any_size() -> None:
    xy = np.random.default_rng(0).uniform(-1, 1, (300, 2))
    small, large = (
        (glow(xy, Window(0.0, 0.0, 1.0), COOL, pixels=side, blur=0.01).max(axis=2) > 128).mean()
        for side in (120, 480)
    )
    assert 0.5 < small / large < 2  # a blur in pixels would make it 12


def test_strokes_point_along_the_field_and_stay_in_their_panel() -> None:
    window, spot = Window(0.0, 0.0, 1.0), Spot(30, 40, 180)
    field = np.zeros((44, 44, 2))
    field[..., 0] = 1.0
    drawn = figure(2.0, 3.0, DARK)
    far = np.full((10, 2), 9.0)
    draw_field(drawn, spot, far, 0.01, points_data().meta, window, field, Normalize(-1, 1))
    red = pixels_of(drawn)[..., 0].astype(int)
    lit = red > 150  # no ground, panel or hairline is
    rows, columns = np.nonzero(lit)
    assert rows.min() > 40 and rows.max() < 40 + 179
    assert columns.min() > 30 and columns.max() < 30 + 179
    for part in np.array_split(lit[41:219, 31:209], 4, axis=0):
        for quarter in np.array_split(part, 4, axis=1):
            assert 0.02 < quarter.mean() < 0.5
    # A stroke is 7 times as long as it is thick, along x.
    assert lit.any(axis=1)[41:219].mean() < 0.7 and lit.any(axis=0)[31:209].all()


def test_close_ups_are_outlined_in_the_pictures() -> None:
    data = points_data(5000)
    real = data.x.astype(float)
    trace = record(Mixture(data), 400)
    side = {"samples": 440, "trajectory": 211}
    for name, drawn in (
        ("samples", points.samples_figure(real, real)),
        ("trajectory", points.trajectory_figure(trace, data.meta, real)),
    ):
        ink = (pixels_of(drawn) == rgb(DARK.ink)).all(axis=2)[57:]
        # The outline is as long as the close-up, 18 % of a panel, less what lies outside.
        runs = [len(run) for row in ink for run in "".join(map(str, row.astype(int))).split("0")]
        assert 0.14 * side[name] < max(runs) < 0.19 * side[name]


def test_a_row_of_few_panels_has_small_ones() -> None:
    data = points_data()
    trace = record(Mixture(data), 400)
    few = replace(trace, moments=trace.moments[-1:])
    for drawn in (
        points.trajectory_figure(few, data.meta, data.x.astype(float)),
        field_figure(Mixture(data), few, data.meta, data.x.astype(float)),
    ):
        assert drawn is not None and drawn.get_size_inches().max() < 9


def test_a_close_up_is_outlined_where_it_lies() -> None:
    whole, near = Window(0.0, 0.0, 1.0), Window(0.5, -0.5, 0.2)
    panel = glow(np.zeros((0, 2)), whole, COOL, pixels=100)
    before = panel.copy()
    outline(panel, whole, near)
    rows, columns = np.nonzero((panel != before).any(axis=2))
    # x from 0.3 to 0.7, y from -0.7 to -0.3, the first row on top.
    assert (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1) == (65, 85, 65, 85)
    assert (panel[70:80, 70:80] == before[70:80, 70:80]).all()


def test_a_stroke_grows_from_nothing_to_its_end() -> None:
    path = np.stack([np.linspace(0, 10, 6), np.zeros(6)], axis=1)[None]
    (shape,) = wedges(path, 2.0)
    widths = shape[:6, 1] - shape[:-7:-1, 1]
    np.testing.assert_allclose(widths, np.linspace(0, 2, 6), atol=1e-9)
    np.testing.assert_allclose(shape[6], [11.0, 0.0])  # the tip


def test_pixels_stay_pixels() -> None:
    image = np.array([[[[0.0, 16.0], [8.0, np.nan]]]])
    rgb = pixels(image, 0, 16)
    assert rgb[0, ..., 0].tolist() == [[0, 255], [128, 128]]
    sheet = mosaic(rgb, 1, 3)
    assert sheet.shape == (6, 6, 3)
    assert (sheet[:3, 3:] == 255).all()
    assert enlargement((1, 8, 8), 56) == 7
    assert enlargement((3, 500, 900), 56) == 1


@pytest.mark.parametrize("kind", ["log", "linear"])
def test_an_interval_that_nearly_reaches_zero_does_not_decide_the_scale(
    kind: str, tmp_path: Path
) -> None:
    last = 0.5 if kind == "linear" else 5.0
    outcomes = [outcome(tmp_path, "vp-small-s0", 0.6), outcome(tmp_path, "cld-small-s0", last)]
    file = outcomes[0].evaluation.path / "metrics.json"
    document = json.loads(file.read_text())
    for row in document["rows"]:
        row["low"] = 1e-5
    file.write_text(json.dumps(document))
    (axes,) = training_time_figure(read(outcomes, experiment()), "sliced_w2", LIGHT).axes
    low, high = axes.get_ylim()
    assert axes.get_yscale() == kind
    assert low == 0 if kind == "linear" else 0.05 <= low < 0.07
    assert high > last


@pytest.mark.parametrize("left", [True, False])
def test_the_label_of_the_band_keeps_clear_of_the_curves(left: bool) -> None:
    axes = Figure().add_subplot()
    axes.set_ylim(0, 1)
    axes.plot([0, 1], [0.47, 0.47 + 0.5] if left else [0.97, 0.47])
    x, _ = free_place(axes, 0.5)
    assert x > 0.4 if left else x >= 0.01
    axes.plot([0.8, 1], [0.48, 0.48])
    assert free_place(axes, 0.5)[0] < 0.8


def test_a_process_that_coincides_with_an_earlier_one_is_seen(tmp_path: Path) -> None:
    outcomes = [outcome(tmp_path, f"{p}-small-s0", 0.6) for p in ("vp", "cld")]
    (axes,) = loss_figure(read(outcomes, experiment()), LIGHT).axes
    first, second = axes.lines
    assert first.get_linewidth() > second.get_linewidth()
