"""Evidence for decisions: fresh samples on one split, pairing, samplers, closest pairs, Inception."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from sgm_core.config.data import DigitsParams, SwissRollParams, TableParams
from sgm_core.config.experiment import LEAST_EXTRAPOLATED
from sgm_core.data.dataset import load_dataset
from sgm_core.data.prepare import prepare
from sgm_core.errors import SgmError, UsageError
from sgm_core.evaluate import features, images, inception, reference_images
from sgm_core.evaluate.evidence import load_score
from sgm_core.evaluate.extractor import open_extractor
from sgm_core.evaluate.frechet import (
    extrapolated,
    frechet,
    frechet_replicates,
    least_for_extrapolation,
    moments,
)
from sgm_core.evaluate.images import Images
from sgm_core.evaluate.manifold import closeness
from sgm_core.evaluate.measure import TooFew
from sgm_core.evaluate.nearness import memorised
from sgm_core.evaluate.points import Points
from sgm_core.evaluate.reference import make_reference, open_reference
from sgm_core.evaluate.run import evaluate
from sgm_core.evaluate.samplers import compare_samplers
from sgm_core.evaluate.score import score
from sgm_core.evaluate.uncertainty import Bootstrap
from sgm_core.model import ScoreModel
from sgm_core.store.files import read_json

SAMPLING = {"sampler": "ddim", "steps": 4, "grid": "log", "sigma_min": 0.01, "guidance": 1.0}
EVALUATION = {
    "samples": 300, "seed": 2**40, "bootstrap": 60, "batch": 150, "splits": ["test"], "device": "cpu",
}  # fmt: skip


def quiet(_: object) -> None:
    pass


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small swiss roll and digits with untrained models of three seeds."""
    root = tmp_path_factory.mktemp("score")
    prepare("roll", SwissRollParams(n=2000), root, root / "roll", quiet)
    prepare("digits", DigitsParams(), root, root / "digits", quiet)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "train_network", hasty)
        for name in ("roll", "digits"):
            make_reference(root / name, root / f"{name}-reference", quiet)
    for name, net in (
        ("roll", {"kind": "mlp", "width": 8, "depth": 1}),
        ("digits", {"kind": "unet", "channels": 4, "multipliers": [1], "heads": 1}),
    ):
        meta = load_dataset(root / name).meta
        fields = {key: meta[key] for key in ("center", "scale", "sigma_data", "labels")}
        for seed in (0, 1):
            model = ScoreModel(
                shape=meta["shape"], net=net, data_range=meta["range"], process="edm", seed=seed,
                **fields,
            )  # fmt: skip
            model.save(root / f"{name}-model-{seed}")
    return root


def hasty(*arguments: Any, **named: Any) -> Any:
    return train_network(*arguments, **{**named, "steps": 20})


train_network = features.train_network


def run(task: Any, places: Path, name: str, out: Path, seed: int = 0, **changes: Any) -> Any:
    return task(
        places / f"{name}-model-{seed}", places / name, places / f"{name}-reference",
        SAMPLING, EVALUATION | changes, out, quiet,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["roll", "digits"])
def test_a_score_is_of_one_split_and_keeps_the_replicates(
    places: Path, tmp_path: Path, name: str
) -> None:
    run(score, places, name, tmp_path)
    found = load_score(tmp_path)
    assert {row["split"] for row in found.rows.values()} == {"test"}
    main = "fd" if name == "digits" else "sliced_w2"
    assert found.metric == main
    assert {"memorised", "coverage"} <= set(found.rows)
    assert found.replicates[main].shape == (60,)
    row = found.rows[main]
    low, high = np.quantile(found.replicates[main] - found.replicates[main].mean(), [0.025, 0.975])
    assert row["low"] == pytest.approx(max(row["value"] + low, 0.0))
    assert row["high"] == pytest.approx(row["value"] + high)
    details = row["details"]
    assert details["seeds"] == [2**40, 2**40 + 299]
    assert details["reference"]["split"] == "test"
    assert {"sampler", "options", "grid", "steps", "nfe", "device"} <= set(details)
    if name == "digits":
        assert set(details["extractor"]) == {"name", "sha256", "dim", "resize"}


def test_the_same_model_against_itself_gains_nothing_at_all(places: Path, tmp_path: Path) -> None:
    for out in ("a", "b"):
        run(score, places, "roll", tmp_path / out)
    a, b = load_score(tmp_path / "a"), load_score(tmp_path / "b")
    for metric, replicates in a.replicates.items():
        assert np.array_equal(replicates, b.replicates[metric])


def test_likelihood_as_the_main_metric_is_scored_on_the_split_alone(
    places: Path, tmp_path: Path
) -> None:
    run(score, places, "roll", tmp_path, metric="nll", likelihood_items=20)
    found = load_score(tmp_path)
    assert found.metric == "nll" and found.rows["nll"]["split"] == "test"
    assert found.replicates["nll"].shape == (60,)
    run(score, places, "roll", tmp_path / "without")
    assert "nll" not in load_score(tmp_path / "without").rows


def test_samplers_are_compared_on_the_validation_split_with_common_seeds(
    places: Path, tmp_path: Path
) -> None:
    names = ["ddim", "multistep", "heun", "ode"]
    run(compare_samplers, places, "roll", tmp_path, samplers=names, nfe_curve=[3, 6],
        curve_samples=100)  # fmt: skip
    document = json.loads((tmp_path / "samplers.json").read_text())
    assert document["split"] == "validation"
    steps = {(row["sampler"], row["steps"]): row for row in document["rows"]}
    assert set(steps) == {*((n, k) for n in names[:3] for k in (3, 6)), ("ode", 6)}
    assert steps["heun", 6]["nfe"] == 11
    for row in document["rows"]:
        assert row["n"] == 100
        assert row["low"] <= row["value"] <= row["high"]
        assert row["cpu_seconds_per_sample"] > 0


def test_a_sampler_that_does_not_fit_is_left_out_with_a_word(places: Path, tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []
    evaluation = EVALUATION | {"samplers": ["sscs", "ddim"], "nfe_curve": [3], "curve_samples": 50}
    folders = places / "roll-model-0", places / "roll", places / "roll-reference"
    compare_samplers(*folders, SAMPLING, evaluation, tmp_path, told.append)
    rows = json.loads((tmp_path / "samplers.json").read_text())["rows"]
    assert {row["sampler"] for row in rows} == {"ddim"}
    assert any("sscs, 3 steps left out" in str(event.get("text")) for event in told)


def test_a_cheap_evaluation_is_of_the_validation_split_without_pictures(
    places: Path, tmp_path: Path
) -> None:
    summary = run(
        evaluate, places, "digits", tmp_path, splits=["validation"], pictures=False, nfe_curve=[],
        curve_samples=100,
    )  # fmt: skip
    assert "test" not in summary
    rows = json.loads((tmp_path / "metrics.json").read_text())["rows"]
    assert {row["split"] for row in rows} == {"validation"}
    assert list(tmp_path.glob("*.png")) == []


def test_the_closest_pairs_are_pictured(places: Path, tmp_path: Path) -> None:
    run(evaluate, places, "digits", tmp_path, splits=["test"], nfe_curve=[], curve_samples=100)
    picture = imread(tmp_path / "nearest.png")
    assert picture.shape[1] > 3 * picture.shape[0]
    assert picture[..., :3].std() > 0.05


# --- the extrapolated Frechet distance


def gaussian(n: int, seed: int, scale: Any, d: int = 20) -> Any:
    return np.random.default_rng(seed).standard_normal((n, d)) * scale


def test_the_extrapolated_distance_is_that_of_infinitely_many_samples() -> None:
    scale = np.linspace(0.5, 2, 20)
    real = np.full(20, 0.1), np.diag((1.2 * scale) ** 2)
    truth = frechet((np.zeros(20), np.diag(scale**2)), real)
    plain, better = [], []
    for seed in range(60):
        x = gaussian(200, seed, scale)
        plain.append(frechet(moments(x), real))
        better.append(extrapolated(x, real))
    error = np.std(better) / np.sqrt(60)
    assert np.mean(plain) > 1.5 * truth
    assert np.mean(better) == pytest.approx(truth, abs=4 * error)


def test_the_extrapolated_distance_says_how_many_samples_it_needs() -> None:
    few = Images(gaussian(least_for_extrapolation(20) - 1, 0, 1.0))
    real = Images(gaussian(50, 1, 1.0))
    with pytest.raises(TooFew, match="needs at least 84 samples, has 83"):
        images.fd_inf(few, real)
    assert least_for_extrapolation(features.DIM) == LEAST_EXTRAPOLATED
    found = images.fd_inf(Images(gaussian(400, 0, 1.0)), real, Bootstrap(40))
    assert found.replicates is not None and found.replicates.std() > 0


def test_the_expansion_for_many_features_agrees_with_resampling(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scale = np.linspace(0.5, 2, 20)
    x, y = gaussian(800, 0, scale), 0.1 + gaussian(700, 1, 1.2 * scale)
    direct = frechet_replicates(x, y, Bootstrap(150))
    monkeypatch.setattr("sgm_core.evaluate.frechet.DIRECT_LIMIT", 1)
    expanded = frechet_replicates(x, y, Bootstrap(150))
    assert np.corrcoef(direct, expanded)[0, 1] > 0.85
    assert expanded.std() == pytest.approx(direct.std(), rel=0.15)


@pytest.mark.parametrize(("n", "m"), [(60, 50), (60, 700), (900, 700)])
def test_the_distance_for_many_features_equals_torch_fidelity(n: int, m: int) -> None:
    fid = pytest.importorskip("torch_fidelity.metric_fid")
    mix = gaussian(300, 9, 1.0, d=300) / 17
    x, y = gaussian(n, 0, 1.0, d=300) @ mix, 0.1 + gaussian(m, 1, 1.2, d=300) @ mix
    stats = [fid.fid_features_to_statistics(torch.from_numpy(f)) for f in (x, y)]
    theirs = fid.fid_statistics_to_metric(*stats, verbose=False)["frechet_inception_distance"]
    assert images.fd(Images(x), Images(y)).value == pytest.approx(theirs, abs=1e-4)
    assert images.fd(Images(x), Images(y)).value == pytest.approx(frechet(moments(x), moments(y)))


# --- memorisation of points


def test_points_that_copy_are_memorised_and_new_ones_are_not() -> None:
    rng = np.random.default_rng(0)
    train, held, new = (rng.standard_normal((n, 2)) for n in (3000, 800, 800))
    real = Points(held, closeness(held, train)[0])

    def measured(x: Any) -> Any:
        return memorised(Points(x, closeness(x, train)[0]), real)

    assert measured(new).value < 0.04
    assert measured(new).details["nn_ratio"] == pytest.approx(1.0, abs=0.15)
    copies = measured(train[:800] + 1e-4 * rng.standard_normal((800, 2)))
    assert copies.value > 0.9
    assert copies.details["nn_ratio"] < 0.05


def test_the_tree_and_the_table_of_distances_give_the_same_closeness(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    train, x = rng.standard_normal((400, 3)), rng.standard_normal((60, 3))
    by_tree = closeness(x, train)
    monkeypatch.setattr("sgm_core.evaluate.manifold.TREE_LIMIT", 0)
    by_table = closeness(x, train)
    assert by_tree[0] == pytest.approx(by_table[0], rel=1e-6)
    assert np.array_equal(by_tree[1], by_table[1])


# --- Inception-v3, with weights of nobody: the plumbing, not the features


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights in the file format that torch-fidelity distributes."""
    module = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    file = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        network = module.FeatureExtractorInceptionV3
        patch.setattr(network, "load_state_dict", lambda self, state: None)
        patch.setattr(module.torch, "load", lambda *_, **__: {})
        torch.save(network("x", ["2048"], "none").state_dict(), file)
    return file


def test_inception_takes_one_channel_and_pictures_that_are_not_square(
    weights: Path, tmp_path: Path
) -> None:
    x = np.random.default_rng(0).integers(0, 256, (30, 1, 9, 14)).astype(np.uint8)
    np.save(tmp_path / "raw.npy", x)
    prepare("tiny", TableParams(path="raw.npy"), tmp_path, tmp_path / "tiny", quiet)
    info = make_reference(tmp_path / "tiny", tmp_path / "reference", quiet, weights=weights)
    extractor = info["extractor"]
    assert (extractor["name"], extractor["dim"]) == (inception.NAME, 2048)
    assert "299 x 299" in extractor["resize"]
    held = open_reference(tmp_path / "reference", load_dataset(tmp_path / "tiny"))
    assert held.splits["test"].features.shape[1] == 2048
    embed = open_extractor(tmp_path / "reference", extractor)
    assert embed(x[:2], (0.0, 255.0)).shape == (2, 2048)


def test_wrong_weights_of_inception_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("torch_fidelity")
    with pytest.raises(UsageError, match=r"reference\.weights: .* does not exist"):
        inception.take_weights(tmp_path / "none.pth", tmp_path / "out")
    torch.save({"conv": torch.zeros(2)}, tmp_path / "wrong.pth")
    with pytest.raises(UsageError, match="does not hold the weights of Inception-v3"):
        inception.take_weights(tmp_path / "wrong.pth", tmp_path / "out")
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(UsageError, match="does not hold the weights of Inception-v3"):
        inception.take_weights(tmp_path / "text.pth", tmp_path / "out")


def test_weights_that_run_code_are_not_run(tmp_path: Path) -> None:
    pytest.importorskip("torch_fidelity")

    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "owned",))

    torch.save({"x": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(UsageError, match="does not hold the weights"):
        inception.take_weights(tmp_path / "evil.pth", tmp_path / "out")
    assert not (tmp_path / "owned").exists()


def test_without_the_package_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save({"x": torch.zeros(1)}, tmp_path / "w.pth")
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    with pytest.raises(SgmError, match=r"pip install -c constraints\.txt -e '\.\[fidelity\]'"):
        inception.take_weights(tmp_path / "w.pth", tmp_path / "out")


# --- memory


def many_features(x: Any, span: tuple[float, float]) -> Any:
    """The first 2,048 pixels."""
    return x.reshape(len(x), -1)[:, :2048].astype(np.float32) / 255


MEASURE = """
import sys, types
import numpy as np
from pathlib import Path
import sgm_core.model
from sgm_core.evaluate.run import evaluate
root, out = Path(sys.argv[1]), Path(sys.argv[2])
def embed_2048(x, span):
    rows = x.reshape(len(x), -1)[:, :2048].astype(np.float32)
    return rows / 255
if sys.argv[3] == "2048":
    import sgm_core.evaluate.reference as reference
    reference.open_extractor = lambda folder, info: embed_2048
class Noise:
    def sample(self, n, *, seed, label=None, **rest):
        x = np.random.default_rng(seed).random((n, 3, 64, 64), dtype=np.float32) * 255
        return types.SimpleNamespace(x=x, labels=label, nfe=1, seconds=1.0, cpu_seconds=1.0)
sgm_core.model.ScoreModel.load = staticmethod(lambda folder, device: Noise())
evaluation = {"samples": 50_000, "seed": 0, "bootstrap": 100, "batch": 500, "device": "cpu",
              "pictures": False, "nfe_curve": []}
sampling = {"sampler": "ddim", "steps": 1}
evaluate(root / "model", root / "data", root / "reference", sampling, evaluation, out, lambda e: None)
# ru_maxrss would begin with what the process that started this one held at most.
held = Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()
print(int(held[0]) / 2**20)
"""


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("dim", [64, 2048])
def test_fifty_thousand_pictures_of_64_x_64_x_3_fit_into_two_gigabytes(
    tmp_path: Path, dim: int
) -> None:
    """With the features of our own network, and with as many as Inception-v3 has."""
    x = np.random.default_rng(0).integers(0, 256, (4000, 64, 64, 3)).astype(np.uint8)
    np.save(tmp_path / "raw.npy", x)
    prepare("big", TableParams(path="raw.npy"), tmp_path, tmp_path / "data", quiet)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "train_network", hasty)
        if dim != features.DIM:
            patch.setattr(reference_images, "open_extractor", lambda *_: many_features)
        make_reference(tmp_path / "data", tmp_path / "reference", quiet)
    (tmp_path / "model").mkdir()
    config = {"data": {"labels": [], "shape": [3, 64, 64]}}
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(tmp_path), str(tmp_path / "out"), str(dim)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = read_json(tmp_path / "out" / "metrics.json")["rows"]
    assert all(row["value"] is not None for row in rows if row["metric"] in ("fd", "kid", "recall"))
    gigabytes = float(done.stdout.strip().splitlines()[-1])
    print(f"peak memory {gigabytes:.2f} GB")
    assert gigabytes < 2.0
