"""Metrics of images against closed forms, torch-fidelity's arithmetic, and planted faults."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from sgm_core.errors import SgmError, UsageError
from sgm_core.evaluate import images, likelihood, nearness, points, rolls
from sgm_core.evaluate.classes import Judge
from sgm_core.evaluate.draw import shares_of_classes
from sgm_core.evaluate.features import (
    FeatureNetwork,
    embed,
    load_network,
    save_network,
    train_network,
)
from sgm_core.evaluate.frechet import frechet, moments
from sgm_core.evaluate.images import Images
from sgm_core.evaluate.manifold import closeness, neighbourhoods
from sgm_core.evaluate.measure import TooFew, row
from sgm_core.evaluate.names import METRICS, main_metric, names_for
from sgm_core.evaluate.pixels import rounded, thumb_size, thumbnails
from sgm_core.evaluate.uncertainty import Bootstrap, interval


def features(n, d, seed, mean=0.0, std=1.0):
    return mean + std * np.random.default_rng(seed).standard_normal((n, d))


@pytest.fixture(scope="module")
def digits():
    data = load_digits()
    rows = np.random.default_rng(0).permutation(len(data.target))
    return data.images[rows][:, None].astype(np.uint8), data.target[rows]


# --- Frechet distance and KID


def test_frechet_distance_of_known_gaussians():
    first = np.array([0.0, 1.0]), np.diag([1.0, 4.0])
    second = np.array([3.0, 1.0]), np.diag([9.0, 0.25])
    # |shift|^2 + sum (s1 - s2)^2
    assert frechet(first, second) == pytest.approx(9 + (1 - 3) ** 2 + (2 - 0.5) ** 2, rel=1e-12)
    assert frechet(first, first) == pytest.approx(0.0, abs=1e-12)


def test_frechet_distance_of_commuting_rotated_covariances():
    q = np.linalg.qr(features(5, 5, 0))[0]
    a, b = np.array([1.0, 2, 3, 4, 5]), np.array([2.0, 2, 1, 1, 7])
    expected = ((np.sqrt(a) - np.sqrt(b)) ** 2).sum()
    found = frechet((np.zeros(5), q @ np.diag(a) @ q.T), (np.zeros(5), q @ np.diag(b) @ q.T))
    assert found == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(("n", "m"), [(400, 300), (40, 30)])
def test_frechet_distance_equals_torch_fidelity(n, m):
    fid = pytest.importorskip("torch_fidelity.metric_fid")
    x, y = features(n, 64, 0) @ features(64, 64, 9), features(m, 64, 1, mean=0.2, std=1.3)
    stats = [fid.fid_features_to_statistics(torch.from_numpy(f)) for f in (x, y)]
    theirs = fid.fid_statistics_to_metric(*stats, verbose=False)["frechet_inception_distance"]
    # with fewer items than features theirs loses digits to a singular product; ours stays exact
    assert frechet(moments(x), moments(y)) == pytest.approx(theirs, abs=1e-4, rel=1e-7)


def test_kid_equals_torch_fidelity():
    kid = pytest.importorskip("torch_fidelity.metric_kid")
    x, y = features(200, 16, 0), features(200, 16, 1, mean=0.3)
    theirs = kid.kid_features_to_metric(
        torch.from_numpy(x),
        torch.from_numpy(y),
        kid_subsets=1,
        kid_subset_size=200,
        kid_kernel="poly",
        kid_kernel_poly_degree=3,
        kid_kernel_poly_gamma=None,
        kid_kernel_poly_coef0=1.0,
        verbose=False,
        rng_seed=0,
    )["kernel_inception_distance_mean"]
    assert images.kid(Images(x), Images(y)).value == pytest.approx(theirs, abs=1e-8)


def test_precision_and_recall_equal_torch_fidelity():
    prc = pytest.importorskip("torch_fidelity.metric_prc")
    x, y = features(250, 8, 0, mean=0.5), features(200, 8, 1)
    theirs = prc.calculate_precision_recall_full(torch.from_numpy(x), torch.from_numpy(y), 3)
    near = neighbourhoods(x, y)
    assert (near.precise.mean(), near.recalled.mean()) == pytest.approx(theirs, abs=1e-7)


def test_weighted_moments_are_those_of_the_resample():
    x = features(50, 4, 0)
    counts = Bootstrap(1).counts("samples", 50, 1)[0]
    again = np.repeat(x, counts, axis=0)
    mean, covariance = moments(x, counts)
    assert np.allclose(mean, again.mean(0))
    assert np.allclose(covariance, np.cov(again, rowvar=False))


def test_frechet_interval_covers_its_expectation():
    def measure(k, boot=None):
        return images.fd(
            Images(features(150, 4, 2 * k, mean=0.5)), Images(features(150, 4, 2 * k + 1)), boot
        )

    expected = np.mean([measure(1000 + k).value for k in range(200)])
    covered = 0
    for k in range(50):
        found = measure(k, Bootstrap(100, k))
        low, high = interval(found.value, found.replicates, found.bounds)
        covered += low <= expected <= high
    assert covered >= 43


# --- neighbourhoods


def test_density_and_coverage_by_brute_force():
    x, y = features(30, 2, 0), features(25, 2, 1)
    real = np.linalg.norm(y[:, None] - y[None], axis=-1)
    radius = np.sort(real, axis=1)[:, 5]
    d = np.linalg.norm(x[:, None] - y[None], axis=-1)
    near = neighbourhoods(x, y)
    assert near.density.mean() == pytest.approx((d <= radius).sum() / (5 * 30))
    assert near.covered.mean() == pytest.approx((d <= radius).any(0).mean())


def test_mode_collapse_is_seen():
    centres = 12 * features(10, 8, 0)
    mode = np.arange(600) % 10
    real = Images(centres[mode] + features(600, 8, 1), mode)
    good = Images(centres[mode] + features(600, 8, 2), mode, mode)
    few = mode % 3
    collapsed = Images(centres[few] + features(600, 8, 3), few, few)
    assert nearness.recall(good, real).value > 0.8
    assert nearness.recall(collapsed, real).value < 0.4
    assert nearness.coverage(good, real).value > 0.9
    assert nearness.coverage(collapsed, real).value < 0.4
    assert nearness.precision(collapsed, real).value > 0.8
    assert images.class_balance(good, real).value == pytest.approx(0.0, abs=1e-12)
    assert images.class_balance(collapsed, real).value == pytest.approx(0.4 - 0.1, abs=1e-9)
    assert images.fd(collapsed, real).value > 50 * images.fd(good, real).value


def test_too_few_images_say_how_many():
    with pytest.raises(TooFew, match="at least 6 items on each side, has 40 samples and 3 real"):
        nearness.density(Images(features(40, 4, 0)), Images(features(3, 4, 1)))


# --- memorisation


def test_copies_are_memorised_and_new_images_are_not(digits):
    x, _ = digits
    train, held, new = x[:1200], x[1200:1500], x[1500:]
    small = thumbnails(train, (0, 16))

    def measured(pictures):
        s = closeness(thumbnails(rounded(pictures, (0, 16)), (0, 16)), small)[0]
        return Images(features(len(pictures), 4, 0), closeness=s)

    real = measured(held)
    noise = np.random.default_rng(0).standard_normal(train[:200].shape)
    assert nearness.memorised(measured(new), real).value < 0.05
    assert nearness.memorised(measured(train[:200]), real).value == 1.0
    assert nearness.memorised(measured(train[:200] + 0.5 * noise), real).value > 0.95
    half = np.concatenate([train[:150], new[:150]])
    assert nearness.memorised(measured(half), real).value == pytest.approx(0.5, abs=0.03)


def test_copies_of_near_duplicates_are_memorised_too():
    train = features(60, 10, 0)
    train = np.concatenate([train, train + 1e-3])
    s, nearest = closeness(train[:5] + 1e-4, train)
    assert (nearest == np.arange(5)).all()
    assert (s < 0.01).all()
    assert closeness(train[:3], train)[0] == pytest.approx(np.zeros(3), abs=1e-12)


# --- classes


def test_judge_names_held_out_digits(digits):
    x, y = digits
    small = thumbnails(x, (0, 16))
    judge = Judge(small[:1257], y[:1257])
    assert (judge.predict(small[1257:]) == y[1257:]).mean() >= 0.985


def test_agreement_counts_wrong_classes(digits):
    x, y = digits
    small = thumbnails(x, (0, 16))
    judge = Judge(small[:1257], y[:1257])
    asked = y[1257:1557].copy()
    asked[:60] = (asked[:60] + 1) % 10
    samples = Images(features(300, 4, 0), asked, judge.predict(small[1257:1557]))
    found = images.agreement(samples, samples, Bootstrap(100))
    assert found.value == pytest.approx(0.79, abs=0.02)
    low, high = interval(found.value, found.replicates, found.bounds)
    assert 0.03 < high - low < 0.15


def test_judge_of_one_class():
    assert (Judge(features(5, 3, 0), np.full(5, 2)).predict(features(4, 3, 1)) == 2).all()


def test_asked_classes_follow_the_data():
    labels = np.repeat([0, 1, 2], [70, 29, 1])
    asked = shares_of_classes(labels, 4, 50, seed=0)
    assert len(asked) == 50
    assert np.abs(np.bincount(asked, minlength=4) - [35, 14.5, 0.5, 0]).max() <= 1
    assert np.array_equal(asked, shares_of_classes(labels, 4, 50, seed=0))


# --- feature network and pictures


@pytest.mark.parametrize(
    "shape", [(1, 8, 8), (2, 8, 20), (3, 33, 21), (4, 64, 64), (3, 96, 40), (1, 5, 64)]
)
def test_network_takes_any_shape(shape, tmp_path):
    x = np.random.default_rng(0).integers(0, 256, size=(24, *shape)).astype(np.uint8)
    net = train_network(x, None, 0, (0, 255), lambda _: None, steps=2)
    found = embed(net, x, (0, 255))
    assert found.shape == (24, 64)
    assert np.isfinite(found).all()
    save_network(net, tmp_path / "w.safetensors")
    again = load_network(tmp_path / "w.safetensors", shape, 0)
    assert np.array_equal(embed(again, x, (0, 255)), found)
    with pytest.raises(SgmError, match="another|other"):
        load_network(tmp_path / "w.safetensors", shape, 7)


def test_training_is_deterministic_and_leaves_the_global_generator(digits):
    x, y = digits
    before = torch.random.get_rng_state()
    first, again = (
        train_network(x[:300], y[:300], 10, (0, 16), lambda _: None, steps=5) for _ in range(2)
    )
    assert torch.equal(before, torch.random.get_rng_state())
    for a, b in zip(first.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_features_do_not_depend_on_the_company(digits):
    net = FeatureNetwork((1, 8, 8), 0).eval()
    x = digits[0][:300]
    whole = embed(net, x, (0, 16))
    parts = np.concatenate([embed(net, x[i : i + 70], (0, 16)) for i in range(0, 300, 70)])
    assert np.abs(whole - parts).max() < 1e-6


def test_frechet_distance_grows_with_blur_and_noise(digits):
    x, y = digits
    net = train_network(x[:1200], y[:1200], 10, (0, 16), lambda _: None, steps=150)
    real = Images(embed(net, x[1200:], (0, 16)))
    clean = x[600:1200].astype(float)
    rng = np.random.default_rng(0)

    def distance(pictures):
        return images.fd(Images(embed(net, rounded(pictures, (0, 16)), (0, 16))), real).value

    noise = rng.standard_normal(clean.shape)
    values = [distance(clean + s * noise) for s in (0.0, 1.5, 3.0)]
    assert values[0] < values[1] < values[2]
    blurred = (clean + np.roll(clean, 1, 3) + np.roll(clean, 1, 2)) / 3
    assert distance(blurred) > 2 * values[0]
    assert distance(clean[y[600:1200] < 5]) > 2 * values[0]


def test_thumbnails_have_at_most_1024_numbers():
    for shape in ((1, 8, 8), (1, 28, 28), (3, 64, 64), (3, 50, 200), (4, 512, 17)):
        h, w = thumb_size(shape)
        assert shape[0] * h * w <= 1024
    assert thumb_size((1, 28, 28)) == (28, 28)
    x = np.full((2, 3, 64, 64), 51, dtype=np.uint8)
    assert thumbnails(x, (0, 255)) == pytest.approx(np.full((2, 3 * 16 * 16), 0.2))


def test_pictures_are_judged_as_they_would_be_saved():
    x = np.array([[-1.0, 3.4, 3.6, 99.0]])
    assert rounded(x, (0, 16)).tolist() == [[0.0, 3.0, 4.0, 16.0]]


# --- the table of names


def test_every_metric_is_named_and_measured():
    measured = points.MEASURES | rolls.MEASURES | images.MEASURES
    assert set(measured) | set(likelihood.MEASURES) == set(METRICS)
    assert {n for n, m in METRICS.items() if m.of == "model"} == set(likelihood.MEASURES)


def test_main_metric_by_kind_and_by_name():
    assert main_metric("points") == "sliced_w2"
    assert main_metric("images") == "fd"
    assert main_metric("points", "local", "swiss_roll") == "local"
    assert "local" not in names_for("points", "table")
    with pytest.raises(UsageError, match="did you mean 'memorised'"):
        main_metric("images", "memorized")
    with pytest.raises(UsageError, match="'coverage' cannot rank cells, because its interval is"):
        main_metric("images", "coverage")
    with pytest.raises(UsageError, match="'local' cannot be measured on this data"):
        main_metric("points", "local", "table")


def test_a_diverged_value_is_null():
    measure = images.Measure(float("inf"), 5, 5, np.array([1.0, np.inf]))
    entry = row("fd", "test", measure, None)
    assert entry["value"] is None
    assert entry["low"] is None
