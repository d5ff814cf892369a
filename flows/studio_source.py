"""The registry as the studio reads it: versions of the models sgm-*, their verified files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flows.bundling import TAG as BUNDLE
from flows.project import Project
from flows.registry import CHAMPION, WEIGHTS
from flows.verify import FILES, download, verified
from flows.versions import Registry, version_of
from sgm_core.bundle import CONFIG
from sgm_core.config.custom import use_folder
from sgm_core.errors import SgmError, UsageError
from sgm_core.export.bundle import MANIFEST
from sgm_core.store.files import read_json, sha256_file
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
        use_folder(project.root)  # where processes of one's own are
        named = [version_of(self.registry, address) for address in self.addresses]
        self.names = sorted({str(version.name) for version in named})

    def listing(self) -> Listing:
        # Aliases first, and once: what one of them names is then among the versions, whatever is
        # registered and promoted meanwhile.
        aliases = {name: self._aliases(name) for name in self.names or self._names()}
        if self.addresses:
            found = [version_of(self.registry, address) for address in self.addresses]
        else:
            found = [v for name, own in aliases.items() for v in self._some(name, own)]
        if not found:
            raise UsageError(
                "there is no registered model sgm-*; run: dvc repro (or name bundles with --folder)"
            )
        versions = [_version(v, aliases[str(v.name)]) for v in found]
        unique = {(v.name, v.number): v for v in versions}.values()
        return Listing(sorted(unique, key=lambda v: (CHAMPION not in v.aliases, v.name, -v.number)))

    def fetch(self, version: Version, into: Path) -> None:
        with self.registry.errors():
            found = self.registry.client.get_model_version(version.name, str(version.number))
        logged = _bundle(found)
        if logged:
            folder = model = self._bundled(found, logged)
        else:
            folder = verified(self.registry, found)
            model = folder / "artifacts" / "model"
        shutil.copytree(model, into, dirs_exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)

    def _bundled(self, found: Any, logged: dict[str, str]) -> Path:
        """Return the bundle of a version, which is the one that was made of its weights.

        Raises:
            SgmError: it is another one, or gone. Its files are compared with their hashes later.
        """
        folder = download(self.registry, logged["uri"])
        whole = (folder / MANIFEST).is_file() and (folder / CONFIG).is_file()
        if not whole or sha256_file(folder / MANIFEST) != logged["sha256"]:
            raise SgmError(f"{logged['uri']} is not the bundle that was logged; make it again")
        weights = read_json(folder / CONFIG).get("weights", {}).get("sha256")
        if weights != found.tags.get(WEIGHTS, weights):
            raise SgmError(f"{logged['uri']} holds other weights than the version")
        return folder

    def _names(self) -> list[str]:
        with self.registry.errors():
            models = self.registry.client.search_registered_models(f"name LIKE '{PREFIX}%'")
        return [str(model.name) for model in models]

    def _some(self, name: str, aliases: dict[str, int]) -> list[Any]:
        """Return the versions with an alias and the newest others."""
        with self.registry.errors():
            found = self.registry.client.search_model_versions(f"name = '{name}'")
        versions = sorted(found, key=lambda version: -int(version.version))
        named = set(aliases.values())
        return [v for i, v in enumerate(versions) if i < RECENT or int(v.version) in named]

    def _aliases(self, name: str) -> dict[str, int]:
        with self.registry.errors():
            found = self.registry.client.get_registered_model(name).aliases
        return {str(alias): int(number) for alias, number in found.items()}


def _version(found: Any, aliases: dict[str, int]) -> Version:
    number = int(found.version)
    own = sorted((a for a, n in aliases.items() if n == number), key=lambda a: (a != CHAMPION, a))
    files = found.tags.get(FILES) or found.tags.get(WEIGHTS) or str(found.source)
    # A bundle that is made later makes another version of it for the server.
    digest = f"{files} {_bundle(found).get('sha256', '')}"
    return Version(str(found.name), number, tuple(own), digest)


def _bundle(found: Any) -> dict[str, str]:
    """Return where the bundle of a version lies, and its manifest's hash; {} if it has none."""
    try:
        logged = json.loads(found.tags.get(BUNDLE, "{}"))
        return {key: str(logged[key]) for key in ("uri", "sha256")}
    except (ValueError, KeyError, TypeError):
        return {}
