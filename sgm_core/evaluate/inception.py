"""Inception-v3 as the literature's Frechet distances use it (torch-fidelity's port of its weights).

The weights cannot be shipped or always downloaded, so their file is the user's to name. Its 2,048
pooled features are compared after any picture was resized to 299 x 299 as TensorFlow 1 did
(bilinear, corners not aligned); one channel is repeated three times, and a picture that is not
square is stretched. Source: arXiv 1706.08500; network and weights: torch-fidelity (Apache 2.0).
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sgm_core.errors import SgmError, UsageError
from sgm_core.evaluate.pixels import unit

Array = NDArray[Any]
NAME = "inception-v3-compat"
DIM = 2048
RESIZE = "bilinear to 299 x 299 as TensorFlow 1 (not square: stretched; 1 channel: repeated)"
BATCH = 50


def take_weights(file: Path, out: Path) -> None:
    """Read the user's weights (no code in the file is run) and write them as safetensors.

    Raises:
        UsageError: the file is missing, or does not hold the weights of this network.
        SgmError: torch-fidelity is not installed.
    """
    from safetensors.torch import save_file

    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
        _network(state)
    except SgmError:
        raise
    except FileNotFoundError:
        raise UsageError(f"reference.weights: {file} does not exist") from None
    except Exception as error:  # whatever a reader of other people's files makes of them
        raise UsageError(
            f"reference.weights: {file} does not hold the weights of Inception-v3 "
            f"({type(error).__name__}); take torch-fidelity's "
            "weights-inception-2015-12-05-6726825d.pth"
        ) from None
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, str(out))


def open_network(weights: Path) -> Inception:
    """Return the extractor with weights that `take_weights` wrote.

    Raises:
        SgmError: torch-fidelity is not installed.
    """
    from safetensors.torch import load_file

    return Inception(_network(load_file(str(weights))))


class Inception:
    """Pictures (n, C, H, W) in a span -> features (n, 2048) float32; C is 1 or 3."""

    def __init__(self, network: Any) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = network.to(self.device)

    @torch.no_grad()
    def __call__(self, x: Array, span: tuple[float, float]) -> Array:
        """Return the features."""
        out = np.empty((len(x), DIM), dtype=np.float32)
        for i in range(0, len(x), BATCH):
            bytes_ = (unit(x[i : i + BATCH], span) * 255.0).round().to(torch.uint8)
            if bytes_.shape[1] == 1:
                bytes_ = bytes_.expand(-1, 3, -1, -1)
            if bytes_.shape[1] != 3:
                raise SgmError(
                    f"Inception-v3 takes pictures of 1 or 3 channels, these have {bytes_.shape[1]}; "
                    "write reference: {extractor: own}"
                )
            out[i : i + BATCH] = self.network(bytes_.to(self.device))[0].cpu().numpy()
        return out


def _network(state: dict[str, Any]) -> Any:
    """Build the network with these weights.

    torch-fidelity reads its weights with pickle, so it is given a file of our own writing.
    """
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError:
        raise SgmError(
            "reference.extractor: inception needs torch-fidelity; install it: "
            "pip install -c constraints.txt -e '.[fidelity]'"
        ) from None
    with tempfile.NamedTemporaryFile(suffix=".pth") as file:
        torch.save(dict(state), file.name)
        return FeatureExtractorInceptionV3(NAME, ["2048"], file.name)
