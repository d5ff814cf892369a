"""The bundle of a published version: one model in every form, and `bundle.json`, which lists them.

    bundle.json     {"format", "name", "version", "cell_key", "files": {path: {"sha256", "bytes"}},
                     "variants": {name: {"file", "format", "status", "reason"?, "metrics"}},
                     "quality": {"metric", "samples", ...} or null, "notes": [sentences]}
    config.json     the model's configuration (sgm_core.bundle)
    ...             a file per variant, see FORMS

A variant whose status is `rejected` is outside its quality floor, and `reason` says why; its file is
there for whoever wants it all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from sgm_core.errors import SgmError, UsageError
from sgm_core.store.files import os_errors, read_json, sha256_file, write_json

FORMAT = 1
MANIFEST = "bundle.json"
PUBLISHED, REJECTED = "published", "rejected"
SAFETENSORS, ONNX = "safetensors", "onnx"


@dataclass(frozen=True)
class Form:
    """Where a variant lies, and the folder of the configuration that goes with it."""

    file: str
    format: str
    config: str = "."


FORMS: dict[str, Form] = {
    "fp32": Form("model.safetensors", SAFETENSORS),
    "fp16": Form("model.fp16.safetensors", SAFETENSORS),
    "onnx": Form("model.onnx", ONNX),
    "onnx_fp16": Form("model.fp16.onnx", ONNX),
    "onnx_int8": Form("model.int8.onnx", ONNX),
    "pruned": Form("pruned/model.safetensors", SAFETENSORS, "pruned"),
    "pruned_onnx": Form("pruned/model.onnx", ONNX, "pruned"),
}


def write_bundle_manifest(
    folder: Path,
    name: str,
    version: int,
    cell_key: str,
    variants: Mapping[str, Any],
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """Write bundle.json over the files that lie in `folder`; return it.

    Args:
        name, version: of the registered model.
        variants: name -> {"status", "reason"?, "metrics"} of those that were made.
        about: "quality" (what variants were compared with, or None) and "notes" (sentences).
    """
    with os_errors(folder):
        found = sorted(file for file in folder.rglob("*") if file.is_file())
        files = {
            file.relative_to(folder).as_posix(): {
                "sha256": sha256_file(file),
                "bytes": file.stat().st_size,
            }
            for file in found
            if file != folder / MANIFEST
        }
    entries = {
        variant: {"file": FORMS[variant].file, "format": FORMS[variant].format, **entry}
        for variant, entry in variants.items()
    }
    identity = {"format": FORMAT, "name": name, "version": version, "cell_key": cell_key}
    manifest = {**identity, "files": files, "variants": entries, **about}
    write_json(folder / MANIFEST, manifest)
    return manifest


def read_bundle_manifest(folder: Path) -> dict[str, Any]:
    """Read bundle.json and compare every file that it lists with its SHA-256.

    Raises:
        UsageError: the folder holds no bundle.
        SgmError: a file is missing or was altered (named), or the manifest is of another format.
    """
    file = folder / MANIFEST
    if not file.is_file():
        raise UsageError(f"{folder} holds no bundle ({MANIFEST} is missing); make one: sgm bundle")
    manifest = read_json(file)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else manifest
        raise SgmError(f"{file} has format {found!r} and this version reads {FORMAT}")
    try:
        for path, entry in manifest["files"].items():
            _check(folder, str(path), int(entry["bytes"]), str(entry["sha256"]))
        listed = {str(entry["file"]) for entry in manifest["variants"].values()}
        texts = (manifest["name"], manifest["cell_key"])
    except (KeyError, TypeError, AttributeError, ValueError):
        raise SgmError(f"{file} is damaged; {_again(folder)}") from None
    if missing := sorted({*listed, "config.json"} - set(manifest["files"])):
        raise SgmError(f"{file} does not list {missing[0]}; {_again(folder)}")
    if not all(isinstance(text, str) for text in texts):
        raise SgmError(f"{file} is damaged; {_again(folder)}")
    return dict(manifest)


def _check(folder: Path, path: str, size: int, sha256: str) -> None:
    """Refuse a listed file that is not the one that was written, or lies outside of the folder."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or "\\" in path:
        raise SgmError(f"{folder / MANIFEST} names {path!r}, which is outside of the bundle")
    file = folder / path
    if not file.is_file():
        raise SgmError(f"{file} is missing; {_again(folder)}")
    with os_errors(file):
        if file.stat().st_size != size or sha256_file(file) != sha256:
            raise SgmError(
                f"{file} was altered (its SHA-256 is not the one in {MANIFEST}); {_again(folder)}"
            )


def _again(folder: Path) -> str:
    return f"restore it, or make the bundle again: sgm bundle MODEL --out {folder}"
