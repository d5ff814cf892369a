"""Where versions come from: the protocol, and a folder of bundles."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from sgm_core.bundle import CONFIG, WEIGHTS
from sgm_core.errors import SgmError, UsageError
from sgm_core.export.bundle import MANIFEST
from sgm_core.store.files import os_errors, read_json, sha256_file

CHAMPION = "champion"


@dataclass(frozen=True)
class Version:
    """A version as its source lists it, before its files were seen.

    Attributes:
        digest: changes with its files; a version whose digest changed is opened again.
    """

    name: str
    number: int
    aliases: tuple[str, ...]
    digest: str


@dataclass(frozen=True)
class Listing:
    """What a source has.

    Attributes:
        versions: the champions first.
        problems: model -> why (some of) its versions cannot be listed; what is served of it stays.
    """

    versions: list[Version]
    problems: Mapping[str, str] = field(default_factory=dict)


class Source(Protocol):
    """Where versions come from; asked again every few seconds, by one thread."""

    def listing(self) -> Listing:
        """Return what there is now.

        Raises:
            SgmError: the source cannot be reached; everything that is served stays.
        """
        ...

    def fetch(self, version: Version, into: Path) -> None:
        """Copy a version's files into an empty folder.

        Raises:
            SgmError: they are gone, or were altered.
        """
        ...


class FolderSource:
    """A bundle, or a folder with bundles in it (or in its sub-folders): `NAME/` or `NAME/VERSION/`.

    A model that `ScoreModel.save` wrote is version 1 of its folder's name. The highest version of a
    name is its champion.

    Args:
        folder: is read anew at every listing.

    Raises:
        UsageError: there is no such folder.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise UsageError(f"--folder: {folder} is not a folder; name one that holds bundles")
        self.folder = folder
        self._places: dict[tuple[str, int], Path] = {}
        self._names: dict[Path, str] = {}  # as they were, should a manifest become unreadable

    def listing(self) -> Listing:
        found: dict[tuple[str, int], tuple[Path, str]] = {}
        problems: dict[str, str] = {}
        for place in self._candidates():
            try:
                name, number = _identity(place)
                digest = _digest(place)
            except SgmError as error:
                problems[self._names.get(place, place.name)] = str(error)
                continue
            self._names[place] = name
            if (name, number) in found:
                other = found[name, number][0]
                problems[name] = f"{place} and {other} are both version {number} of {name}"
                continue
            found[name, number] = place, digest
        self._places = {key: place for key, (place, _) in found.items()}
        best = {name: max(n for other, n in found if other == name) for name, _ in found}
        versions = [
            Version(name, number, (CHAMPION,) if number == best[name] else (), digest)
            for (name, number), (_, digest) in found.items()
        ]
        return Listing(sorted(versions, key=lambda v: (not v.aliases, v.name, -v.number)), problems)

    def fetch(self, version: Version, into: Path) -> None:
        place = self._places[version.name, version.number]
        with os_errors(place):
            shutil.copytree(place, into, dirs_exist_ok=True)

    def _candidates(self) -> Iterator[Path]:
        if _holds_model(self.folder):
            yield self.folder
            return
        for first in _folders(self.folder):
            if _holds_model(first):
                yield first
            else:
                yield from filter(_holds_model, _folders(first))


def _folders(folder: Path) -> list[Path]:
    with os_errors(folder):
        inside = [path for path in folder.iterdir() if path.is_dir()]
    return sorted(path for path in inside if not path.name.startswith("."))


def _holds_model(folder: Path) -> bool:
    return (folder / MANIFEST).is_file() or (folder / CONFIG).is_file()


def _identity(folder: Path) -> tuple[str, int]:
    """Return name and number of the version in a folder."""
    if not (folder / MANIFEST).is_file():
        return folder.resolve().name, 1
    try:
        manifest: dict[str, Any] = read_json(folder / MANIFEST)
        return str(manifest["name"]), int(manifest["version"])
    except (ValueError, KeyError, TypeError, OSError):
        raise SgmError(f"{folder / MANIFEST} is damaged; make the bundle again") from None


def _digest(folder: Path) -> str:
    """Return what changes when one of the files does: the manifest's hash, or the files' own."""
    names = (MANIFEST,) if (folder / MANIFEST).is_file() else (CONFIG, WEIGHTS)
    with os_errors(folder):
        return "-".join(sha256_file(folder / name) for name in names)
