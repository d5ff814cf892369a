"""The five swiss rolls, trained for a number of CPU seconds, and `off` and `local` of samples."""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import torch

from sgm_core.config.data import SwissRollParams
from sgm_core.config.training import SamplingConfig, TrainingConfig
from sgm_core.data import prepare
from sgm_core.data.dataset import Dataset, load_dataset
from sgm_core.denoise import Denoiser
from sgm_core.evaluate.rolls import Rolls, local, off
from sgm_core.generate import generate
from sgm_core.objective import Objective
from sgm_core.parts import build_parts
from sgm_core.space import DataSpace
from sgm_core.train.items import affine_of, items_of
from sgm_core.train.loop import LoopSettings, TrainState, train

NET = {"kind": "mlp", "width": 128, "depth": 3, "fourier": 64, "fourier_scale": 3.0}
TRAINING = {
    "batch": 512, "lr": 3e-3, "ema": 0.995, "p_mean": -2.0, "p_std": 1.8, "tails": 0.02, "device": "cpu"
}  # fmt: skip
SAMPLES = 10_000


@cache
def data() -> Dataset:
    """The dataset of params.yaml."""
    root = Path(mkdtemp(prefix="sgm-rolls-"))
    params = SwissRollParams(n=100_000, validation=0.1, test=0.1)
    prepare("swiss_roll", params, root, root / "rolls", lambda _: None)
    return load_dataset(root / "rolls")


def trained(process: str, seed: int, steps: int) -> tuple[Denoiser, float]:
    """Train a cell; return its denoiser and the CPU seconds that training took."""
    fields = TrainingConfig(steps=steps, **TRAINING).model_dump()
    kind = {"kind": process} | ({"sigma_min": 0.002} if process == "ve" else {})
    parts = build_parts(kind, NET, data().meta, "edm", seed)
    objective = Objective.of(parts.preconditioning, fields, 8192)
    device = torch.device("cpu")
    items, _ = items_of(data().split("train").x, None, device)
    start = time.process_time()
    state = TrainState(parts.net, objective, LoopSettings.of(fields), seed)
    for _ in train(state, items, None, affine_of(data().meta, device)):
        pass
    spent = time.process_time() - start
    return Denoiser(state.ema_net, parts.preconditioning), spent


def quality(denoiser: Denoiser, sampler: str, steps: int, **fields: Any) -> dict[str, float]:
    """Draw samples; return off, local, NFE and CPU seconds."""
    settings = SamplingConfig(sampler=sampler, steps=steps, **{"sigma_min": 0.002, **fields})
    result = generate(
        denoiser, DataSpace(data().meta), settings, SAMPLES, seeds=np.arange(SAMPLES),
        batch=SAMPLES, labels=None, device=torch.device("cpu"),
    )  # fmt: skip
    measured = distances(result.x)
    return {**measured, "nfe": result.nfe, "cpu_seconds": result.cpu_seconds}


def distances(x: np.ndarray) -> dict[str, float]:
    """Return off and local of points against the test split."""
    samples, real = Rolls(x), Rolls(data().split("test").x)
    return {"off": off(samples, real).value, "local": local(samples, real).value}
