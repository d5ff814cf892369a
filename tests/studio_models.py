"""Small score models for the studio's engine, whose samples move little when a rounding changes.

Layers that start at zero are small random ones, so that a wrong weight or axis shows, and Fourier
features are slow, so that a run of 25 steps does not amplify the last bits of float32.
"""

from __future__ import annotations

from typing import Any

import torch

from sgm_core.model import ScoreModel

MODELS: dict[str, dict[str, Any]] = {
    "points": {
        "shape": (2,),
        "center": [0.1, -0.2],
        "scale": [1.5, 0.5],
        "net": {"kind": "mlp", "width": 16, "depth": 2, "fourier": 8, "fourier_scale": 1.0},
    },
    # A network of both channels of a Langevin process, and its noise as the target.
    "points with classes": {
        "shape": (3,),
        "labels": ["a", "b"],
        "process": "cld",
        "net": {"kind": "mlp", "width": 16, "depth": 1, "fourier": 4, "fourier_scale": 1.0},
        "training": {"parametrisation": "mixed"},
    },
    "images": {
        "img_size": 8,
        "num_channels": 1,
        "data_range": (0.0, 1.0),
        "net": {"kind": "unet", "channels": 6},
    },
    "images with classes": {
        "shape": (3, 7, 5),
        "labels": ["a", "b", "c"],
        "process": {"kind": "cld", "objective": "dsm"},
        "net": {
            "kind": "unet",
            "channels": 8,
            "multipliers": [1, 2],
            "attention": [1],
            "heads": 2,
        },
        "training": {"parametrisation": "native"},
    },
}
# What publishing makes of them: fewer channels inside blocks; groups of a given size, also where pruning
# left a number of channels that they do not divide; and patches of pixels, also where they do not divide
# the sides.
SHAPED: dict[str, dict[str, Any]] = {
    "points pruned": {
        **MODELS["points"],
        "net": {**MODELS["points"]["net"], "inner": [5, 9]},
    },
    "images pruned": {
        **MODELS["images with classes"],
        "net": {**MODELS["images with classes"]["net"], "inner": [4, 8, 6, 8, 8, 4, 4]},
    },
    "images in groups": {
        **MODELS["images"],
        "net": {"kind": "unet", "channels": 16, "group": 4, "inner": [8, 16, 12, 9, 16, 4, 8]},
    },
    "images in patches": {
        **MODELS["images with classes"],
        "net": {"kind": "unet", "channels": 8, "multipliers": [1, 1], "group": 4, "patch": 2},
    },
    "images in large patches": {
        **MODELS["images"],
        "net": {"kind": "unet", "channels": 8, "multipliers": [1, 2], "group": 4, "patch": 3},
    },
}


def model_of(name: str) -> ScoreModel:
    model = ScoreModel(**{**MODELS, **SHAPED}[name])
    generator = torch.Generator().manual_seed(0)
    for weight in model.net.parameters():
        if not weight.any():
            weight.data = 0.05 * torch.randn(weight.shape, generator=generator)
    return model
