"""Is a bundle what it says it is: files whole, every graph runs, and agrees with its weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from sgm_core.errors import SgmError
from sgm_core.export.bundle import read_bundle_manifest
from sgm_core.export.make import TWINS, check_parity
from sgm_core.export.pairs import draw_pairs
from sgm_core.export.variant import open_variant

ITEMS = 32


def verify_bundle(folder: Path) -> dict[str, Any]:
    """Return the manifest of a bundle after everything in it was tried.

    Raises:
        UsageError: the folder holds no bundle.
        SgmError: a file was altered, a variant does not run, or a graph says something else than its
            weights in PyTorch.
    """
    manifest = read_bundle_manifest(folder)
    models = {name: open_variant(folder, manifest, name) for name in manifest["variants"]}
    whole = models["fp32"]
    noise = torch.randn(ITEMS, *whole.shape, generator=torch.Generator().manual_seed(0))
    x0 = whole.to_data(float(whole.config["data"]["sigma_data"]) * noise)
    pairs = draw_pairs(whole, x0, None)
    outputs = {name: pairs.outputs(model.net) for name, model in models.items()}
    for name, output in outputs.items():
        if not output.isfinite().all():
            raise SgmError(f"{folder}: variant {name} gives numbers that are not finite")
        if name in TWINS and TWINS[name] in outputs:
            check_parity(name, output, outputs[TWINS[name]])
    return manifest
