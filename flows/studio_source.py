"""The registry as the studio reads it: versions of the models sgm-*, their verified files."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from flows.project import Project
from flows.registry import CHAMPION, WEIGHTS
from flows.verify import FILES, verified
from flows.versions import Registry, version_of
from sgm_core.errors import UsageError
from sgm_core.export.bundle import MANIFEST
from studio.source import Listing, Version

RECENT = 10  # versions of a model that are served beside those with an alias
PREFIX = "sgm-"


class RegistrySource:
    """Versions of MLflow's registry.

    Args:
        project: whose registry it is.
        addresses: models:/NAME@alias (followed when the alias moves) or models:/NAME/3; none: the
            models sgm-*, each with the versions that have an alias and the newest others.

    Raises:
        UsageError: an address is of another form, or there is no such model.
        SgmError: MLflow cannot be reached.
    """

    def __init__(self, project: Project, addresses: Sequence[str] = ()) -> None:
        self.registry, self.addresses = Registry(project), list(addresses)
        project.config()  # custom processes are looked for in the project
        for address in self.addresses:
            version_of(self.registry, address)

    def listing(self) -> Listing:
        if self.addresses:
            found = [version_of(self.registry, address) for address in self.addresses]
        else:
            found = [v for name in self._names() for v in self._some(name)]
        if not found:
            raise UsageError(
                "there is no registered model sgm-*; run: dvc repro (or name bundles with --folder)"
            )
        aliases = {name: self._aliases(name) for name in {str(v.name) for v in found}}
        versions = [_version(v, aliases[str(v.name)]) for v in found]
        unique = {(v.name, v.number): v for v in versions}.values()
        return Listing(sorted(unique, key=lambda v: (CHAMPION not in v.aliases, v.name, -v.number)))

    def fetch(self, version: Version, into: Path) -> None:
        with self.registry.errors():
            found = self.registry.client.get_model_version(version.name, str(version.number))
        folder = verified(self.registry, found)
        shutil.copytree(_model(folder), into, dirs_exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)

    def _names(self) -> list[str]:
        with self.registry.errors():
            models = self.registry.client.search_registered_models(f"name LIKE '{PREFIX}%'")
        return [str(model.name) for model in models]

    def _some(self, name: str) -> list[Any]:
        """Return the versions with an alias and the newest others."""
        with self.registry.errors():
            found = self.registry.client.search_model_versions(f"name = '{name}'")
        versions = sorted(found, key=lambda version: -int(version.version))
        named = set(self._aliases(name).values())
        return [v for i, v in enumerate(versions) if i < RECENT or int(v.version) in named]

    def _aliases(self, name: str) -> dict[str, int]:
        with self.registry.errors():
            found = self.registry.client.get_registered_model(name).aliases
        return {str(alias): int(number) for alias, number in found.items()}


def _version(found: Any, aliases: dict[str, int]) -> Version:
    number = int(found.version)
    own = sorted((a for a, n in aliases.items() if n == number), key=lambda a: (a != CHAMPION, a))
    digest = found.tags.get(FILES) or found.tags.get(WEIGHTS) or str(found.source)
    return Version(str(found.name), number, tuple(own), str(digest))


def _model(folder: Path) -> Path:
    """Return the bundle in a version's files, or the folder of its model if it has none."""
    bundles: Iterable[Path] = sorted(folder.rglob(MANIFEST))
    return next((file.parent for file in bundles), folder / "artifacts" / "model")
