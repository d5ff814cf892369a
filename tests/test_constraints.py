"""constraints.txt fits every Python that pyproject.toml promises, not only the one that made it."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

LINES = (Path(__file__).resolve().parents[1] / "constraints.txt").read_text().splitlines()
PINNED = {canonicalize_name(line.partition("==")[0].strip()) for line in LINES if "==" in line}
PYTHONS = ("3.11.2", "3.12.0", "3.13.0")  # the first is that of Debian 12


def installed() -> Iterator[tuple[str, Distribution]]:
    for name in sorted(PINNED):
        try:
            yield name, distribution(name)
        except PackageNotFoundError:  # another Python's, or an extra that is not installed
            continue


@pytest.mark.parametrize("python", PYTHONS)
def test_every_pinned_package_can_be_installed(python: str) -> None:
    """Else pip tries other versions of everything, thousands of times."""
    refused = [
        f"{name} {found.version} wants Python {wanted}"
        for name, found in installed()
        if (wanted := str(found.metadata.json.get("requires_python", "")))
        and not SpecifierSet(wanted).contains(python)
    ]
    assert not refused


@pytest.mark.parametrize("python", PYTHONS)
def test_what_only_some_pythons_need_is_pinned_too(python: str) -> None:
    names = {"python_full_version": python, "python_version": python.rpartition(".")[0]}
    free = {
        f"{required.name} of {name}"
        for name, found in installed()
        for required in map(Requirement, found.requires or [])
        if required.marker and "python" in str(required.marker)
        if required.marker.evaluate({**names, "extra": ""})
        and canonicalize_name(required.name) not in PINNED
    }
    assert not free
