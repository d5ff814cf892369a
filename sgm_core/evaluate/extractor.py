"""Which features images are compared in: the dataset's own network, or Inception-v3.

An extractor turns pictures into numbers, and every distance between features is a distance under
that extractor only. Its name, the SHA-256 of its weights, its size and its rule of resizing stand
beside every figure that was made with it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from sgm_core.evaluate import features, inception

Array = NDArray[Any]
# pictures (n, C, H, W) whole numbers in the span, (lowest, highest pixel) -> features (n, d) float32
Embed = Callable[[Array, tuple[float, float]], Array]
WEIGHTS = "features.safetensors"


def open_extractor(folder: Path, info: dict[str, Any]) -> Embed:
    """Return the extractor of a reference.

    Args:
        folder: the reference's folder, which holds the weights.
        info: `extractor` of its reference.json.

    Raises:
        SgmError: the weights are of another network, or the network's package is not installed.
    """
    if info["name"] == inception.NAME:
        return inception.open_network(folder / WEIGHTS)
    net = features.load_network(folder / WEIGHTS, tuple(info["shape"]), info["classes"])
    return features.embedding(net)
