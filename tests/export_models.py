"""Small models with networks that do something: no layer is left at zero."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sgm_core.model import ScoreModel

UNET: dict[str, Any] = {
    "net": {"kind": "unet", "channels": 8, "multipliers": [1, 2], "attention": [1], "heads": 2},
    "labels": ["a", "b", "c"],
}
# Every kind of network, with and without classes, fed with one channel or two.
MODELS: dict[str, dict[str, Any]] = {
    "mlp": {"shape": (2,), "net": {"kind": "mlp", "width": 16, "depth": 2, "fourier": 8}},
    "mlp of classes, both channels, no Fourier features": {
        "shape": (3,),
        "net": {"kind": "mlp", "width": 16, "depth": 1, "fourier": 0},
        "labels": ["a", "b"],
        "process": "cld",
        "training": {"parametrisation": "native"},
    },
    "unet": {"img_size": 8, "num_channels": 1, "net": {"kind": "unet", "channels": 6}},
    "unet of classes, both channels, odd sizes, attention": {
        **UNET,
        "shape": (3, 7, 5),
        "process": "cld",
        "training": {"parametrisation": "native"},
    },
}


def model_of(**arguments: Any) -> ScoreModel:
    """A model whose zero-initialised layers are random instead."""
    model = ScoreModel(**arguments)
    generator = torch.Generator().manual_seed(0)
    for weight in model.net.parameters():
        if not weight.any():
            weight.data = 0.2 * torch.randn(weight.shape, generator=generator)
    return model


def inputs_of(model: ScoreModel, n: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor | None]:
    """Arguments of its network: levels from 0.002 to 80, every class and none."""
    generator = torch.Generator().manual_seed(seed)
    shape = (n, model.preconditioning.in_channels, *model.shape)
    sigma = torch.logspace(-2.7, 1.9, n)
    labels = torch.arange(n) % (len(model.labels) + 1) - 1 if model.labels else None
    return torch.randn(shape, generator=generator), sigma, labels
