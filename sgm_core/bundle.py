"""A model on disk: `model.safetensors` and `config.json`, which holds the weights' SHA-256.

No pickle is written or read, and weights that do not match their hash are refused: a tensor file
with a flipped bit would otherwise load without complaint.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from sgm_core.errors import SgmError, UsageError
from sgm_core.store.files import write_atomic, write_json

FORMAT = 1
WEIGHTS, CONFIG = "model.safetensors", "config.json"


def write_bundle(
    folder: Path, weights: Mapping[str, Tensor], config: Mapping[str, Any]
) -> dict[str, Any]:
    """Write a model; returns the configuration as written, with the weights' hash."""
    folder.mkdir(parents=True, exist_ok=True)
    data = save({k: v.detach().cpu().contiguous().clone() for k, v in weights.items()})
    write_atomic(folder / WEIGHTS, data)
    entry = {"file": WEIGHTS, "sha256": hashlib.sha256(data).hexdigest()}
    written = {"format": FORMAT, **config, "weights": entry}
    write_json(folder / CONFIG, written)
    return written


def read_bundle(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read and verify a model.

    Raises:
        UsageError: the folder holds no model.
        SgmError: a file is damaged or was altered.
    """
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        data = (folder / WEIGHTS).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(
            f"{folder} holds no model; give a folder with {CONFIG} and {WEIGHTS}"
        ) from None
    except OSError as error:
        raise SgmError(f"{error.filename} cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise SgmError(f"{folder / CONFIG} is damaged: {error}; publish the model again") from None
    if config.get("format") != FORMAT:
        raise SgmError(
            f"{folder / CONFIG} has format {config.get('format')!r} and this version reads {FORMAT}"
        )
    if hashlib.sha256(data).hexdigest() != config.get("weights", {}).get("sha256"):
        raise SgmError(
            f"{folder / WEIGHTS} was altered (its SHA-256 is not the one in {CONFIG}); "
            "restore it or publish the model again"
        )
    return config, load(data)
