"""Finished cells and models for the report's tests, without training anything.

`Mixture` is an exact denoiser: for data at the points c_i, D(y; s) is the mean of the c_i weighted
by exp(-|y - c_i|^2 / 2 s^2), and DDIM walks from noise to data with it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from sgm_core.config import ExperimentConfig, parse_config
from sgm_core.report.canvas import DARK, figure, save
from sgm_core.store.files import sha256_bytes

POINTS_META: dict[str, Any] = {
    "name": "toy", "kind": "points", "shape": [2], "range": [-1, 1], "labels": [],
    "center": [0.0, 0.0], "scale": [1.0, 1.0], "sigma_data": 1.0,
}  # fmt: skip
IMAGES_META: dict[str, Any] = {
    "name": "toy", "kind": "images", "shape": [1, 8, 8], "range": [0, 16],
    "labels": ["zero", "one"], "center": [8.0], "scale": [8.0], "sigma_data": 0.7,
}  # fmt: skip


@dataclass
class Dataset:
    meta: dict[str, Any]
    x: np.ndarray
    labels: np.ndarray | None = None

    @property
    def kind(self) -> str:
        return str(self.meta["kind"])

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.meta["shape"])

    def split(self, name: str) -> Any:
        return SimpleNamespace(x=self.x, labels=self.labels)


@dataclass
class Mixture:
    """An exact model of the items of a dataset."""

    data: Dataset
    steps: int = 12
    calls: list[dict[str, Any]] = field(default_factory=list)

    def sigma(self, t: float) -> float:
        return float(0.01 * (20 / 0.01) ** t)

    def predict(self, y: np.ndarray, sigma: float) -> np.ndarray:
        items = self.data.x[:60].reshape(-1, int(np.prod(self.data.shape))).astype(float)
        distance = (y**2).sum(1)[:, None] + (items**2).sum(1) - 2 * y @ items.T
        weight = np.exp(-(distance - distance.min(1, keepdims=True)) / (2 * sigma**2))
        return np.asarray((weight / weight.sum(1, keepdims=True)) @ items)

    def score(self, x: np.ndarray, t: float) -> np.ndarray:
        s = self.sigma(t)
        return (self.predict(x, s) - x) / s**2

    def sample(self, n: int, *, seed: int = 0, batch: int = 1000, callback: Any = None) -> Any:
        self.calls.append({"n": n, "seed": seed, "batch": batch})
        shape, ts = self.data.shape, np.linspace(1, 0, self.steps)
        y = self.sigma(1) * np.random.default_rng(seed).standard_normal((n, int(np.prod(shape))))
        for index, t in enumerate(ts):
            s = self.sigma(t)
            x0 = self.predict(y, s)
            if callback:
                callback(index, self.steps, t, s, y.reshape(n, *shape), x0.reshape(n, *shape))
            after = self.sigma(ts[index + 1]) if index + 1 < self.steps else 0.0
            y = x0 + after / s * (y - x0)
        labels = np.arange(n) % 2 if self.data.meta["labels"] else None
        return SimpleNamespace(x=y.reshape(n, *shape), labels=labels, nfe=self.steps)


def points_data(n: int = 600, d: int = 2) -> Dataset:
    """Three tight clusters: crowded enough for a close-up."""
    rng = np.random.default_rng(0)
    centres = np.array([[0.0, 0.0], [0.9, 0.9], [-0.9, 0.9]])
    x = centres[rng.integers(0, 3, n)] + 0.02 * rng.standard_normal((n, 2))
    x = np.concatenate([x, 0.1 * rng.standard_normal((n, 4))], axis=1)[:, :d]
    ones = [1.0] * d
    meta = {**POINTS_META, "shape": [d], "center": [0.0] * d, "scale": ones}
    return Dataset(meta, x)


def images_data(n: int = 60) -> Dataset:
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 2
    x = rng.integers(0, 4, (n, 1, 8, 8)) + 12 * (np.arange(8) % 2 == labels[:, None])[:, None, None]
    return Dataset(IMAGES_META, x.astype(np.uint8), labels)


def experiment(**fields: Any) -> ExperimentConfig:
    """vp and cld with two networks; `images=True` for a U-Net."""
    net = "unet" if fields.pop("images", False) else "mlp"
    values = {
        "dataset": "toy",
        "processes": {"vp": {}, "cld": {}},
        "nets": {"small": {"kind": net}, "large": {"kind": net}},
        **fields,
    }
    config = {
        "datasets": {"toy": {"kind": "table", "path": "toy.csv"}},
        "experiments": {"toy": values},
    }
    return parse_config(config).experiment("toy")


def spec(name: str, seed: int = 0) -> Any:
    process = name.split("-")[0]
    return SimpleNamespace(
        name=name, process={"kind": process, "beta_max": 20.0}, net={"kind": "mlp", "width": 64},
        training={"steps": 20}, seed=seed, data_digest="ab" * 32,
    )  # fmt: skip


def outcome(
    root: Path,
    name: str,
    validation: float | None,
    test: float | None = None,
    *,
    metric: str = "sliced_w2",
    seed: int = 0,
    parameters: int = 1000,
    extra: dict[str, float] | None = None,
    details: dict[str, Any] | None = None,
    meta: dict[str, Any] | None = None,
) -> Any:
    """A finished cell on disk, with entries as the store returns them."""
    meta = meta or POINTS_META
    folder = root / str(abs(hash(name)) % 10**8)
    cell, evaluation = folder / "cell", folder / "evaluation"
    cell.mkdir(parents=True)
    evaluation.mkdir()
    test = validation if test is None else test
    values = {metric: (validation, test), **{m: (v, v) for m, v in (extra or {}).items()}}
    rows = [
        {
            "metric": m, "split": split, "value": v, "n": 100, "n_reference": 90,
            "low": None if v is None else v * 0.9, "high": None if v is None else v * 1.1,
            "floor": 0.01, "floor_low": 0.008, "floor_high": 0.012, "better": "lower",
            "details": details or {},
        }
        for m, pair in values.items()
        for split, v in zip(("validation", "test"), pair, strict=True)
    ]  # fmt: skip
    curve = [{"nfe": k, "metric": metric, "value": (test or 1) * 20 / k} for k in (5, 10, 20)]
    write(
        evaluation / "metrics.json",
        {
            "rows": rows, "curve": curve, "nfe": 20, "seed": 7, "sampler": "ddim", "grid": "log",
            "finite": (details or {}).get("finite", 1.0), "seconds_per_sample": 0.001,
            "main_metric": metric, "steps": 20,
        },
    )  # fmt: skip
    write(cell / "config.json", {"data": meta, "sampling": {"steps": 20}})
    write(cell / "history.json", [{"step": i, "loss": 1 / (i + 1)} for i in range(20)])
    rng = np.random.default_rng(1)
    shape = (80, *meta["shape"])
    save_file({"x": rng.random(shape, dtype=np.float32)}, str(evaluation / "samples.safetensors"))
    for picture in ("samples.png", "trajectory.png"):
        save(figure(1, 1, DARK), evaluation / picture)
    summary = {
        "parameters": parameters, "steps": 20, "train_seconds": 1.5,
        "weights_sha256": sha256_bytes(name.encode()),
    }  # fmt: skip
    return SimpleNamespace(
        spec=spec(name, seed),
        cell=SimpleNamespace(key="c" * 64, path=cell, manifest={"summary": summary}),
        evaluation=SimpleNamespace(key="e" * 64, path=evaluation, manifest={"summary": {}}),
        cached=False,
    )


def write(path: Path, values: Any) -> None:
    path.write_text(json.dumps(values), encoding="utf-8")
