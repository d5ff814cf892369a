"""nll and bits_per_dim as rows of metrics.json, against the closed form of the linear denoiser."""

from __future__ import annotations

import json
import math
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sgm_core.config import parse_config
from sgm_core.data import prepare
from sgm_core.data.dataset import load_dataset
from sgm_core.ending import Terminated
from sgm_core.errors import UsageError
from sgm_core.evaluate.likelihood import dequantise, likelihood_scores
from sgm_core.evaluate.reference import make_reference
from sgm_core.evaluate.run import evaluate
from sgm_core.evaluate.uncertainty import Bootstrap
from sgm_core.model import ScoreModel

DATASETS = {"roll": {"kind": "swiss_roll", "n": 600}, "digits": {}}
NETS = {
    "roll": {"kind": "mlp", "width": 8, "depth": 1},
    "digits": {"kind": "unet", "channels": 4, "multipliers": [1], "blocks": 1},
}
SETTINGS = {"sigma_min": 0.02}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared data, and models that are untrained: the linear denoiser, N(0, sigma_d^2) data."""
    root = tmp_path_factory.mktemp("likelihood")
    values: dict[str, Any] = {"datasets": DATASETS, "experiments": {}}
    values["experiments"]["e"] = {
        "dataset": "roll", "processes": {"vp": {}}, "nets": {"mlp": NETS["roll"]},
    }  # fmt: skip
    config = parse_config(values)
    for name in DATASETS:
        prepare(name, config.dataset(name), root, root / name, lambda _: None)
        meta = load_dataset(root / name).meta
        fields = {key: meta[key] for key in ("center", "scale", "sigma_data", "labels")}
        model = ScoreModel(
            shape=meta["shape"], net=NETS[name], data_range=meta["range"], process="edm", **fields
        )
        model.save(root / f"{name}-model")
    return root


def rows_of(places: Path, name: str, model: Any = None, items: int = 40) -> dict[str, Any]:
    data = load_dataset(places / name)
    model = model or ScoreModel.load(places / f"{name}-model")
    scores = likelihood_scores(model, data, items, SETTINGS, 30, Bootstrap(50, 7), "cpu")
    rows = [scored.row for scored in scores]
    assert [row["split"] for row in rows] == ["validation", "test"]
    json.dumps(rows, allow_nan=False)
    return {row["split"]: row for row in rows}


@pytest.mark.parametrize("name", ["roll", "digits"])
def test_the_linear_denoiser_has_the_likelihood_of_a_gaussian(places: Path, name: str) -> None:
    data = load_dataset(places / name)
    images, d = data.kind == "images", int(np.prod(data.shape))
    scale = np.asarray(data.meta["scale"])
    variance = float(data.meta["sigma_data"]) ** 2 + SETTINGS["sigma_min"] ** 2
    for split, row in rows_of(places, name).items():
        x = np.asarray(data.split(split).x[:40])
        x = dequantise(x, 7) if images else x
        z = (x - np.asarray(data.meta["center"])) / scale
        nats = 0.5 * (z**2).reshape(len(z), -1).sum(1) / variance
        nats += 0.5 * d * math.log(2 * math.pi * variance)
        nats += float(np.broadcast_to(np.log(scale), data.shape).sum())
        expected = nats / (d * math.log(2)) if images else nats
        assert row["value"] == pytest.approx(expected.mean(), abs=3e-3)
        assert row["metric"] == ("bits_per_dim" if images else "nll")
        assert row["low"] < row["value"] < row["high"]
        half = 1.96 * expected.std() / len(x) ** 0.5
        assert (row["high"] - row["low"]) / 2 == pytest.approx(half, rel=0.4)
        assert (row["n"], row["better"], row["floor"]) == (len(x), "lower", None)
        details = row["details"]
        assert details["sigma_eps"] == pytest.approx(0.02)
        assert details["t_eps"] == pytest.approx(0.02)  # EDM's time is the noise level
        assert details["divergence"] == ("hutchinson" if images else "exact")
        assert details["probes"] == (1 if images else 0)
        assert ("U(-1/2, 1/2)" in details["dequantisation"]) == images
        assert details.get("labels") == ("left out" if images else None)
        assert {"nfe", "rtol", "atol", "process", "terminal", "seed"} <= set(details)
        assert "finite" not in details  # that is said of samples


def test_dequantised_values_fill_their_cells_and_go_with_their_items() -> None:
    x = np.random.default_rng(0).integers(0, 17, (2000, 1, 2, 2))
    filled = dequantise(x, 5)
    rest = filled - x
    assert rest.min() > -0.5 and rest.max() < 0.5
    assert rest.mean() == pytest.approx(0, abs=0.02)
    assert rest.var() == pytest.approx(1 / 12, rel=0.05)
    np.testing.assert_array_equal(dequantise(x[3:5], 8), filled[3:5])


def test_a_diverged_model_has_no_likelihood(places: Path) -> None:
    model = ScoreModel.load(places / "roll-model")
    for parameter in model.net.parameters():
        parameter.data.fill_(torch.nan)
    for row in rows_of(places, "roll", model).values():
        assert row["value"] is row["low"] is None
        assert row["details"]["reason"] == "40 of 40 items have no finite likelihood"


def test_what_cannot_be_measured_says_why_and_a_stop_stops(places: Path) -> None:
    def failing(error: Exception) -> Any:
        def log_prob(*_: Any, **__: Any) -> None:
            raise error

        return types.SimpleNamespace(log_prob=log_prob, device="cpu")

    rows = rows_of(places, "roll", failing(UsageError("sigma_min: 9 is not valid")))
    assert rows["test"]["details"]["reason"] == "sigma_min: 9 is not valid"
    with pytest.raises(Terminated):
        rows_of(places, "roll", failing(Terminated("stopped by SIGTERM")))


def test_an_evaluation_measures_it_and_can_rank_by_it(places: Path, tmp_path: Path) -> None:
    make_reference(places / "roll", tmp_path / "reference", lambda _: None)
    sampling = {"sampler": "ddim", "steps": 4, "grid": "log", "sigma_min": 0.02, "guidance": 1.0}
    evaluation = {
        "samples": 50, "seed": 0, "bootstrap": 20, "nfe_curve": (2,), "curve_samples": 20,
        "batch": 50, "likelihood_items": 20, "metric": "nll",
    }  # fmt: skip

    def run(**changes: Any) -> dict[str, Any]:
        return evaluate(
            places / "roll-model", places / "roll", tmp_path / "reference", sampling,
            evaluation | changes, tmp_path / "out", lambda _: None,
        )  # fmt: skip

    summary = run()
    assert summary["main_metric"] == "nll"
    assert math.isfinite(summary["validation"]["nll"])
    result = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert "sliced_w2" in {c["metric"] for c in result["curve"]}
    assert [r["n"] for r in result["rows"] if r["metric"] == "nll"] == [20, 20]
    with pytest.raises(UsageError, match=r"likelihood_items: 0 is not valid: nll needs at least 1"):
        run(likelihood_items=0)
    assert "nll" not in run(likelihood_items=0, metric="auto")["test"]
