"""The manifest of a finished entry: the hash of every file, and of itself."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sgm_core.store.files import canonical_json, json_bytes, sha256_bytes, sha256_file

FORMAT = 1
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Entry:
    """A finished entry, verified when it was returned.

    `manifest` holds: format, kind, key, describe (what the key stands for), summary (what the
    builder returned), files {name: {sha256, bytes}}, created (UTC, ISO 8601), seconds
    and cpu_seconds (of building it: of the process, and of those that it waited for).
    """

    kind: str
    key: str
    path: Path
    manifest: dict[str, Any]

    @property
    def summary(self) -> dict[str, Any]:
        """What the builder returned."""
        return dict(self.manifest["summary"])


class Damage(Exception):
    """Why an entry is not what was committed."""


def verified(path: Path, kind: str, key: str) -> Entry:
    """Read an entry and compare every byte with its manifest.

    Raises:
        FileNotFoundError: there is no entry.
        Damage: there is one, and it is not what was committed.
    """
    os.stat(path)
    try:
        data = (path / MANIFEST).read_bytes()
        manifest = json.loads(data)
        if data != json_bytes(manifest) or manifest.pop("self") != _self_hash(manifest):
            raise Damage(f"{MANIFEST} was altered")
        if (manifest["format"], manifest["kind"], manifest["key"]) != (FORMAT, kind, key):
            raise Damage(f"{MANIFEST} belongs to another entry")
        for name, expected in manifest["files"].items():
            if (path / name).stat().st_size != expected["bytes"]:
                raise Damage(f"{name} has another length")
            if sha256_file(path / name) != expected["sha256"]:
                raise Damage(f"{name} was altered")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise Damage(f"{Path(error.filename or path).name} is missing") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Damage(f"{MANIFEST} is not readable") from None
    return Entry(kind, key, path, manifest)


def sealed(manifest: dict[str, Any]) -> dict[str, Any]:
    """A manifest with its own hash, as it is written."""
    return {**manifest, "self": _self_hash(manifest)}


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a folder that was just verified or committed."""
    manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_bytes())
    manifest.pop("self")
    return manifest


def _self_hash(manifest: dict[str, Any]) -> str:
    return sha256_bytes(canonical_json(manifest))


def files_of(folder: Path) -> list[tuple[str, Path]]:
    """The regular files of an entry by relative name, the manifest excepted."""
    files = [(f.relative_to(folder).as_posix(), f) for f in sorted(folder.rglob("*"))]
    return [(name, f) for name, f in files if f.is_file() and name != MANIFEST]
