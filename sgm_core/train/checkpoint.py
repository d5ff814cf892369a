"""Checkpoints of a running cell: atomic, hashed, the last two kept.

A checkpoint is one safetensors file (weights, average, moments, generator state) and one JSON file
that names it with its SHA-256, step and loss history, and holds a hash of itself. The JSON is written
last; a file that does not match its hash is passed over for the one before, since a tensor file with a
flipped bit loads without complaint, and so does a number with another digit.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from sgm_core.store.files import (
    canonical_json,
    json_bytes,
    sha256_bytes,
    sha256_file,
    write_atomic,
    write_json,
)
from sgm_core.train.loop import TrainState

KEEP = 2
MOMENTS = ("first", "second", "count")


def save_checkpoint(folder: Path, state: TrainState, history: list[dict[str, Any]]) -> None:
    """Write the state; the previous checkpoint stays valid until this one is complete.

    Raises:
        SgmError: the disk is full or the folder cannot be written (the last checkpoint is intact).
    """
    name = f"checkpoint-{state.step:09d}"
    file = folder / f"{name}.safetensors"
    write_atomic(file, save(_tensors(state)))
    record = {"file": file.name, "sha256": sha256_file(file), "step": state.step}
    record["history"] = history
    write_json(folder / f"{name}.json", {**record, "self": _self_hash(record)})
    for old in _records(folder)[KEEP:]:
        old.unlink(missing_ok=True)
        old.with_suffix(".safetensors").unlink(missing_ok=True)


def load_checkpoint(
    folder: Path, state: TrainState, log: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Restore the newest intact checkpoint into `state`; return its history ([] if none)."""
    for record_file in _records(folder):
        tensors_file = record_file.with_suffix(".safetensors")
        try:
            written = record_file.read_bytes()
            record = json.loads(written)
            if json_bytes(record) != written or record.pop("self") != _self_hash(record):
                raise ValueError("its record was altered")
            if sha256_file(tensors_file) != record["sha256"]:
                raise ValueError("its hash differs")
            history: list[dict[str, Any]] = record["history"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log(f"checkpoint {tensors_file.name} is damaged ({error}); trying the one before")
            continue
        _restore(state, load(tensors_file.read_bytes()), int(record["step"]))
        return history
    return []


def clear_checkpoints(folder: Path) -> None:
    """Remove all checkpoints of a finished cell."""
    for file in folder.glob("checkpoint-*"):
        file.unlink()


def _self_hash(record: dict[str, Any]) -> str:
    return sha256_bytes(canonical_json(record))


def _records(folder: Path) -> list[Path]:
    return sorted(folder.glob("checkpoint-*.json"), reverse=True)


def _tensors(state: TrainState) -> dict[str, Tensor]:
    tensors = {f"net.{k}": v for k, v in state.net.state_dict().items()}
    tensors |= {f"ema.{k}": v for k, v in state.ema_net.state_dict().items()}
    tensors |= {f"adamw.{k}": getattr(state, k) for k in MOMENTS}
    tensors["generator"] = state.generator.get_state()
    tensors["torch_rng"] = torch.get_rng_state()
    if state.device.type == "cuda":  # dropout draws there
        tensors["cuda_rng"] = torch.cuda.get_rng_state(state.device)
    # safetensors refuses memory that is shared or strided, and wants it on the CPU to be hashed.
    return {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}


def _restore(state: TrainState, tensors: dict[str, Tensor], step: int) -> None:
    def part(prefix: str) -> dict[str, Tensor]:
        n = len(prefix)
        return {k[n:]: v for k, v in tensors.items() if k.startswith(prefix)}

    state.net.load_state_dict(part("net."))
    state.ema_net.load_state_dict(part("ema."))
    for name, value in part("adamw.").items():
        getattr(state, name).copy_(value)
    state.generator.set_state(tensors["generator"].to(torch.uint8))
    torch.set_rng_state(tensors["torch_rng"].to(torch.uint8))
    if state.device.type == "cuda" and "cuda_rng" in tensors:
        torch.cuda.set_rng_state(tensors["cuda_rng"].to(torch.uint8), state.device)
    state.step = step
