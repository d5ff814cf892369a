"""Distances between clouds of points against closed forms and brute force."""

from __future__ import annotations

import numpy as np
import pytest

from sgm_core.data.swiss_roll import CENTRES, curve
from sgm_core.evaluate import points, rolls
from sgm_core.evaluate.kernels import distance_kernel, gaussian_kernel, mmd2
from sgm_core.evaluate.manifold import closeness
from sgm_core.evaluate.measure import TooFew
from sgm_core.evaluate.points import Points, directions, energy, exact_w2, mmd, sliced_w2
from sgm_core.evaluate.rolls import Rolls, local, mode_balance, off
from sgm_core.evaluate.uncertainty import Bootstrap, interval


def draw_rolls(n, seed, noise=0.002, weights=None):
    rng = np.random.default_rng(seed)
    mode = rng.choice(5, size=n, p=weights)
    dense = curve(20_000)
    x = CENTRES[mode] + dense[rng.integers(0, len(dense), n)]
    return Rolls(x + noise * rng.standard_normal((n, 2)))


def normal(n, d, seed, mean=0.0, std=1.0):
    return Points(mean + std * np.random.default_rng(seed).standard_normal((n, d)))


@pytest.mark.parametrize("d", [1, 2, 3, 7])
def test_a_translation_has_known_distances(d):
    x = normal(300, d, 0)
    shift = np.arange(1, d + 1) / d
    moved = Points(x.x + shift)
    assert exact_w2(moved, x).value == pytest.approx(np.linalg.norm(shift), rel=1e-9)
    # mean over directions of (u.s)^2 is |s|^2/d exactly for a quadrature or whole frames
    frames = directions(d)
    expected = np.sqrt(((frames @ shift) ** 2).mean())
    assert sliced_w2(moved, x).value == pytest.approx(expected, rel=1e-9)
    assert expected == pytest.approx(np.linalg.norm(shift) / np.sqrt(d), rel=0.02)


def test_directions_are_unit_and_balanced():
    for d in (2, 5, 100):
        u = directions(d)
        assert np.allclose((u * u).sum(1), 1)
        assert np.array_equal(u, directions(d))
    assert np.allclose(directions(2).T @ directions(2) / 64, np.eye(2) / 2)


def test_sliced_distance_of_two_gaussians():
    # W2 of N(0, 1) and N(0, 4) along any direction is 1
    value = sliced_w2(normal(40_000, 2, 0), normal(40_000, 2, 1, std=2.0)).value
    assert value == pytest.approx(1.0, abs=0.02)


def test_unequal_sizes_are_exact():
    rng = np.random.default_rng(0)
    x, y = np.sort(rng.standard_normal(12)), np.sort(rng.standard_normal(30))
    brute = ((np.repeat(x, 5) - np.repeat(y, 2)) ** 2).mean()
    assert points.w2_sorted(x, y) == pytest.approx(brute, rel=1e-12)
    assert points.w2_sorted(y, x) == pytest.approx(brute, rel=1e-12)


def test_exact_distance_matches_sorting_in_one_dimension():
    x, y = normal(400, 1, 0), normal(700, 1, 1, mean=1.0)
    by_sorting = points.w2_sorted(np.sort(x.x[:, 0]), np.sort(y.x[:, 0])) ** 0.5
    assert exact_w2(x, y).value == pytest.approx(by_sorting, rel=1e-9)


def test_energy_distance_has_its_closed_form():
    # E|N(m, s^2)| = s sqrt(2/pi) exp(-m^2/2s^2) + m erf(m / (s sqrt 2))
    from math import erf, exp, pi, sqrt

    m = 1.5
    mixed = sqrt(2) * sqrt(2 / pi) * exp(-(m**2) / 4) + m * erf(m / 2)
    expected = 2 * mixed - 2 * (2 / sqrt(pi))
    assert energy(normal(2000, 1, 0, mean=m), normal(2000, 1, 1)).value == pytest.approx(
        expected, rel=0.08
    )
    assert abs(energy(normal(2000, 1, 0), normal(2000, 1, 1)).value) < 0.01


@pytest.mark.parametrize("kernel", [distance_kernel, gaussian_kernel(0.7)])
def test_kernel_statistic_and_its_resamples_match_brute_force(kernel):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((300, 2)), rng.standard_normal((270, 2)) + 0.3
    boot = Bootstrap(3, seed=5)
    value, replicates = mmd2(x, y, kernel, boot)

    def brute(wx, wy):
        def inside(k, w):
            pairs = np.outer(w, w).astype(float)
            np.fill_diagonal(pairs, 0.0)
            return (pairs * k).sum() / pairs.sum()

        cross = (np.outer(wx, wy) * kernel(x, y)).sum() / (len(x) * len(y))
        return inside(kernel(x, x), wx) + inside(kernel(y, y), wy) - 2 * cross

    assert value == pytest.approx(brute(np.ones(300), np.ones(270)), rel=1e-9)
    wx, wy = boot.counts("samples", 300, 3), boot.counts("real", 270, 3)
    assert replicates == pytest.approx([brute(wx[i], wy[i]) for i in range(3)], rel=1e-9)


def test_gaussian_kernel_is_the_mean_of_five_widths():
    x, y = np.zeros((1, 1)), np.array([[0.3]])
    widths = 0.8 / 2.0 ** np.arange(5)
    expected = np.mean(np.exp(-(0.3**2) / (2 * widths**2)))
    assert gaussian_kernel(0.8)(x, y)[0, 0] == pytest.approx(expected, rel=1e-12)


def test_sliced_replicate_is_a_resample_measured_again():
    x, y = normal(200, 2, 0), normal(150, 2, 1)
    boot = Bootstrap(2, seed=3)
    replicates = sliced_w2(x, y, boot).replicates
    wx, wy = boot.counts("samples", 200, 2)[1], boot.counts("real", 150, 2)[1]
    again = Points(np.repeat(x.x, wx, axis=0)), Points(np.repeat(y.x, wy, axis=0))
    some = [
        points.w2_sorted(a, b)
        for a, b in zip(again[0].quantiles[::4], again[1].quantiles[::4], strict=True)
    ]
    assert replicates[1] == pytest.approx(np.sqrt(np.mean(some)), rel=1e-12)


def test_real_rolls_against_real_rolls_have_the_known_floors():
    a, b = draw_rolls(10_000, 0), draw_rolls(10_000, 1)
    assert off(a, b).value == pytest.approx(0.0020, abs=0.00005)
    assert 0.0008 < local(a, b).value < 0.0023
    assert 0.034 < sliced_w2(a, b).value < 0.086
    assert mode_balance(a, b).value < 0.02


def test_off_is_the_distance_to_the_curve():
    clean = draw_rolls(500, 0, noise=0.0)
    assert off(clean, clean).value < 1e-4
    # straight up from a centre the curve is crossed at known radii: t = 2.5 pi
    x = np.array([[0.8, 0.8 + 0.01 * 2.5 * np.pi + 0.003]])
    assert off(Rolls(x), clean).value == pytest.approx(0.003, rel=0.02)


def test_local_sees_shape_and_not_counts():
    real = draw_rolls(5000, 0)
    lopsided = draw_rolls(5000, 1, weights=[0.6, 0.1, 0.1, 0.1, 0.1])
    blurred = draw_rolls(5000, 2, noise=0.03)
    assert local(lopsided, real).value < 0.004
    assert local(blurred, real).value > 0.009
    assert mode_balance(lopsided, real).value == pytest.approx(0.4, abs=0.03)
    assert mode_balance(blurred, real).value < 0.03
    assert sliced_w2(lopsided, real).value > 3 * sliced_w2(blurred, real).value


def test_a_missing_roll_is_seen_by_every_global_metric():
    real = draw_rolls(2000, 0)
    collapsed = draw_rolls(2000, 1, weights=[0.25, 0.25, 0.25, 0.25, 0.0])
    fine = draw_rolls(2000, 2)
    assert mode_balance(collapsed, real).details["shares"][4] == 0.0
    for measure in (sliced_w2, exact_w2, energy, mmd):
        assert measure(collapsed, real).value > 1.3 * measure(fine, real).value


def test_metrics_grow_with_the_error():
    real = normal(1500, 3, 0)
    for measure in (sliced_w2, exact_w2, energy, mmd):
        values = [measure(normal(1500, 3, 1, mean=m), real).value for m in (0.0, 0.5, 1.0)]
        assert values == sorted(values)


@pytest.mark.parametrize("name", sorted(points.MEASURES | rolls.MEASURES))
def test_same_seed_same_bits_and_value_inside_its_interval(name):
    measure = (points.MEASURES | rolls.MEASURES)[name]

    def cloud(n, seed):
        x = draw_rolls(n, seed).x
        return Rolls(x, closeness(x, draw_rolls(2000, 5).x)[0])

    first, again = (measure(cloud(800, 1), cloud(700, 0), Bootstrap(40, 7)) for _ in range(2))
    assert first.value == again.value
    assert np.array_equal(first.replicates, again.replicates)
    low, high = interval(first.value, first.replicates, first.bounds)
    assert low <= first.value <= high
    assert low < high


def test_interval_of_a_mean_covers_it_95_times_in_100():
    covered = 0
    for k in range(300):
        x = np.random.default_rng(k).exponential(size=80)
        replicates = Bootstrap(200, seed=k).mean("samples", x, 200)
        low, high = interval(x.mean(), replicates)
        covered += low <= 1.0 <= high
    assert 0.88 <= covered / 300 <= 0.98


def test_interval_of_a_distance_covers_its_expectation():
    def measure(seed, boot=None):
        return sliced_w2(normal(200, 2, 2 * seed, mean=1.0), normal(200, 2, 2 * seed + 1), boot)

    expected = np.mean([measure(1000 + k).value for k in range(200)])
    covered = 0
    for k in range(60):
        found = measure(k, Bootstrap(100, k))
        low, high = interval(found.value, found.replicates, found.bounds)
        covered += low <= expected <= high
    assert covered >= 52


def test_too_few_points_say_how_many():
    with pytest.raises(TooFew, match="at least 2 items on each side, has 1 samples and 40 real"):
        energy(normal(1, 2, 0), normal(40, 2, 1))


def test_counts_of_a_resample_sum_to_n():
    counts = Bootstrap(20, seed=1).counts("real", 57, 20)
    assert (counts.sum(1) == 57).all()
    assert not np.array_equal(counts, Bootstrap(20, seed=1).counts("samples", 57, 20))
    assert Bootstrap(10_000).size(1_000_000) == 50
