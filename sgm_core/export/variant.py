"""A variant of a bundle as a `ScoreModel`: the same samplers, whatever runs the network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from sgm_core.errors import SgmError, unknown
from sgm_core.export.bundle import FORMS, ONNX
from sgm_core.export.onnx_network import OnnxNetwork
from sgm_core.model import ScoreModel


def open_variant(
    folder: Path, manifest: Mapping[str, Any], name: str, threads: int = 1
) -> ScoreModel:
    """Return a variant, ready to sample.

    Args:
        folder: the bundle, whose files `read_bundle_manifest` has verified.
        manifest: what it returned.
        name: of the variant; one that was rejected opens too.
        threads: of one evaluation of an ONNX network.

    Raises:
        UsageError: the bundle has no such variant.
        SgmError: its file cannot be read.
    """
    if name not in manifest["variants"] or name not in FORMS:
        raise unknown("variant", name, manifest["variants"])
    form = FORMS[name]
    model = ScoreModel.load(folder / form.config)
    if form.format == ONNX:
        model.net = OnnxNetwork(folder / form.file, threads)
    elif name != "fp32" and name != "pruned":
        model.net.load_state_dict(_weights(folder / form.file))
    return model


def _weights(file: Path) -> dict[str, Any]:
    """Weights of any precision, as float32."""
    try:
        return {key: value.float() for key, value in load_file(file).items()}
    except Exception as error:  # safetensors raises a class of its own
        raise SgmError(f"{file} cannot be read ({error}); make the bundle again") from None
