"""The registry as the studio's source: the alias moves, bundles appear, files get damaged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from studio_server import points, write

from flows.bundling import TAG as BUNDLE
from flows.project import Project
from flows.registry import CHAMPION, WEIGHTS
from flows.studio_source import RegistrySource
from flows.verify import FILES, digest_of, listed
from sgm_core.errors import SgmError, UsageError
from sgm_core.store.files import read_json, sha256_file
from studio.catalogue import Catalogue, Entry
from studio.source import FolderSource, Listing
from studio.version import Networks, Opened

NAME = "sgm-toy"


class Toy:
    """A registry of small models in a temporary database."""

    def __init__(self, project: Project, client: Any) -> None:
        self.project, self.client = project, client
        client.create_registered_model(NAME)
        self.run = client.create_run(client.create_experiment("toy")).info.run_id

    def publish(self, seed: int) -> int:
        """Register a model without a bundle."""
        folder = self.project.state / "versions" / str(seed)
        points(seed).save(folder / "artifacts" / "model")
        config = read_json(folder / "artifacts" / "model" / "config.json")
        tags = {FILES: digest_of(listed(folder)), WEIGHTS: config["weights"]["sha256"]}
        return int(self.client.create_model_version(NAME, folder.as_uri(), tags=tags).version)

    def bundle(self, seed: int, number: int) -> Path:
        """Log the bundle of a version, as publishing does; return where its files are."""
        folder = write(points(seed), self.project.state / f"bundle-{seed}", NAME, number)
        path = f"bundle/version-{number}"
        self.client.log_artifacts(self.run, str(folder), path)
        tag = {"uri": f"runs:/{self.run}/{path}", "sha256": sha256_file(folder / "bundle.json")}
        self.client.set_model_version_tag(NAME, str(number), BUNDLE, json.dumps(tag))
        place = self.client.get_run(self.run).info.artifact_uri.removeprefix("file://")
        return Path(place) / path

    def crown(self, number: int) -> None:
        self.client.set_registered_model_alias(NAME, CHAMPION, str(number))

    def spoil(self, seed: int) -> None:
        """Flip a bit of a registered model's weights."""
        flip(self.project.state / "versions" / str(seed) / "artifacts/model/model.safetensors")


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


@pytest.fixture
def toy(tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    from mlflow import MlflowClient

    (tmp_path / "state").mkdir()
    (tmp_path / "params.yaml").write_text("active: []\ndatasets: {}\nexperiments: {}\n")
    (tmp_path / "state" / "mlflow.db").write_bytes(database.read_bytes())
    monkeypatch.setenv("SGM_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr("flows.versions.initialise", lambda *given, **named: False)
    monkeypatch.chdir(tmp_path)  # MLflow's artifacts go to the working folder
    project = Project.at(tmp_path)
    client = MlflowClient(project.tracking_uri, project.tracking_uri)
    return Toy(project, client)


@pytest.fixture
def catalogue(toy: Toy) -> Iterator[Catalogue]:
    toy.crown(toy.publish(0))
    catalogue = Catalogue(RegistrySource(toy.project), Networks(), seconds=3600)
    catalogue.start()
    yield catalogue
    catalogue.stop()


def drawn(entry: Entry) -> np.ndarray:
    """Two samples of what is served."""
    with entry.opened.network(entry.opened.default_variant()) as network:
        return network.model(network.base.net).generate(2, steps=3)


def test_the_champion_is_followed_and_its_files_are_those_published(
    toy: Toy, catalogue: Catalogue
) -> None:
    first = catalogue.shelf.find(NAME)
    assert (first.version.number, first.version.aliases) == (1, (CHAMPION,))
    np.testing.assert_array_equal(drawn(first), points(0).generate(2, steps=3))
    toy.publish(1)
    catalogue.look()
    assert catalogue.shelf.find(NAME).version.number == 1, "a version is no champion yet"
    assert catalogue.shelf.find(NAME, 2).version.number == 2
    toy.crown(2)
    catalogue.look()
    assert catalogue.shelf.find(NAME).version.number == 2
    np.testing.assert_array_equal(drawn(catalogue.shelf.find(NAME)), points(1).generate(2, steps=3))
    assert not catalogue.shelf.problems
    # Who began with the first version ends with it.
    np.testing.assert_array_equal(drawn(first), points(0).generate(2, steps=3))


def test_a_damaged_champion_leaves_the_one_before(toy: Toy, catalogue: Catalogue) -> None:
    toy.publish(1)
    toy.spoil(1)
    toy.crown(2)
    catalogue.look()
    entry = catalogue.shelf.find(NAME)
    assert (entry.version.number, entry.champion) == (1, True)
    (problem,) = catalogue.shelf.problems
    assert (problem.model, problem.version) == (NAME, 2)
    assert "its files were altered" in problem.detail
    toy.spoil(1)  # once more: it is whole again
    catalogue._refused.clear()  # as after a minute
    catalogue.look()
    assert catalogue.shelf.find(NAME).version.number == 2
    assert not catalogue.shelf.problems
    assert catalogue.shelf.find(NAME, 1).version.aliases == ()


def test_a_promotion_while_the_registry_is_read_leaves_a_champion(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy.crown(toy.publish(0))
    source = RegistrySource(toy.project)
    client, search, events = (
        source.registry.client,
        source.registry.client.search_model_versions,
        [],
    )

    def searched(*given: Any, **named: Any) -> Any:
        found = search(*given, **named)
        if not events:
            events.append(toy.publish(1))
            toy.spoil(1)
            toy.crown(2)
        return found

    monkeypatch.setattr(client, "search_model_versions", searched)
    (first,), second = source.listing().versions, source.listing().versions
    assert (first.number, CHAMPION in first.aliases) == (1, True)
    assert [(v.number, CHAMPION in v.aliases) for v in second] == [(2, True), (1, False)]


def test_a_bundle_that_is_made_later_replaces_the_plain_files(
    toy: Toy, catalogue: Catalogue
) -> None:
    assert list(catalogue.shelf.find(NAME).opened.manifest["files"]) == [
        "config.json", "model.safetensors",
    ]  # fmt: skip
    place = toy.bundle(0, 1)
    catalogue.look()
    opened = catalogue.shelf.find(NAME).opened
    assert opened.manifest["cell_key"] == "0" * 64
    # One that is damaged is not served, and the one that was verified before stays.
    flip(place / "model.safetensors")
    tag = json.loads(toy.client.get_model_version(NAME, "1").tags[BUNDLE])
    manifest = read_json(place / "bundle.json") | {"cell_key": "1" * 64}
    (place / "bundle.json").write_text(json.dumps(manifest))
    tag["sha256"] = sha256_file(place / "bundle.json")
    toy.client.set_model_version_tag(NAME, "1", BUNDLE, json.dumps(tag))
    catalogue.look()
    assert catalogue.shelf.find(NAME).opened is opened
    assert "was altered" in catalogue.shelf.problems[0].detail


def test_a_bundle_of_other_weights_is_not_served(toy: Toy) -> None:
    number = toy.publish(0)
    toy.bundle(5, number)
    with pytest.raises(SgmError, match="holds other weights than the version"):
        Catalogue(RegistrySource(toy.project), Networks()).start()


def test_addresses_choose_what_is_served(toy: Toy) -> None:
    for seed in range(3):
        toy.publish(seed)
    toy.crown(2)
    pinned = RegistrySource(toy.project, [f"models:/{NAME}/3"]).listing().versions
    assert [(v.number, v.aliases) for v in pinned] == [(3, ())]
    followed = RegistrySource(toy.project, [f"models:/{NAME}@{CHAMPION}"])
    assert [v.number for v in followed.listing().versions] == [2]
    toy.crown(1)
    assert [v.number for v in followed.listing().versions] == [1]
    every = RegistrySource(toy.project).listing().versions
    assert [v.number for v in every] == [1, 3, 2]
    for address, told in (
        (f"models:/{NAME}/9", "is not in the registry"),
        ("models:/none@champion", "is not in the registry"),
        (NAME, "write models:/NAME@champion"),
    ):
        with pytest.raises(UsageError, match=told):
            RegistrySource(toy.project, [address])


def test_a_registry_without_models_says_what_to_run(toy: Toy) -> None:
    toy.client.delete_registered_model(NAME)
    with pytest.raises(UsageError, match="run: dvc repro"):
        Catalogue(RegistrySource(toy.project), Networks()).start()


def test_a_registry_that_is_away_changes_nothing(toy: Toy, catalogue: Catalogue) -> None:
    served = catalogue.shelf.entries

    def away() -> Listing:
        raise SgmError("MLflow at http://x failed: it cannot be reached")

    catalogue.source.listing = away  # type: ignore[method-assign]
    catalogue.look()
    assert catalogue.shelf.entries == served
    assert catalogue.shelf.problems[0].detail.startswith("MLflow at http://x failed")


# -- a folder -----------------------------------------------------------------------------------


def test_a_folder_holds_models_at_three_depths(tmp_path: Path) -> None:
    write(points(0), tmp_path / "rolls" / "1", "rolls", 1)
    write(points(1), tmp_path / "rolls" / "2", "rolls", 2)
    points(2).save(tmp_path / "plain")
    versions = FolderSource(tmp_path).listing().versions
    assert [(v.name, v.number, v.aliases) for v in versions] == [
        ("plain", 1, (CHAMPION,)), ("rolls", 2, (CHAMPION,)), ("rolls", 1, ()),
    ]  # fmt: skip
    (alone,) = FolderSource(tmp_path / "plain").listing().versions
    assert alone.name == "plain"
    with pytest.raises(UsageError, match="is not a folder"):
        FolderSource(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="there is no model to serve"):
        Catalogue(FolderSource(tmp_path / "empty"), Networks()).start()


def test_damage_in_a_folder_keeps_what_is_served(tmp_path: Path) -> None:
    folder = write(points(0), tmp_path / "a", "rolls", 1)
    catalogue = Catalogue(FolderSource(tmp_path), Networks(), seconds=3600)
    catalogue.start()
    try:
        before = drawn(catalogue.shelf.find("rolls"))
        flip(folder / "model.safetensors")  # the server has a copy of its own
        catalogue.look()
        np.testing.assert_array_equal(drawn(catalogue.shelf.find("rolls")), before)
        assert not catalogue.shelf.problems
        (folder / "bundle.json").write_text("{")
        catalogue.look()
        assert "bundle.json: not valid JSON" in catalogue.shelf.problems[0].detail
        np.testing.assert_array_equal(drawn(catalogue.shelf.find("rolls")), before)
    finally:
        catalogue.stop()


def test_what_the_page_cannot_compute_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(points(0), tmp_path, "rolls", 1)
    opened = Opened(tmp_path, "rolls", 1, Networks())
    assert opened.browser() == ""
    monkeypatch.setattr("studio.version.BROWSER_BYTES", 1000)
    assert "its weights are 0 MB, and the page fetches up to 0 MB" in opened.browser()
    opened.config["process"] = {"kind": "custom.ou:OU"}
    assert "which only the server runs" in opened.browser()


def test_two_folders_with_one_version_are_told(tmp_path: Path) -> None:
    write(points(0), tmp_path / "a", "rolls", 1)
    write(points(1), tmp_path / "b", "rolls", 1)
    listing = FolderSource(tmp_path).listing()
    assert len(listing.versions) == 1
    assert "are both version 1 of rolls" in listing.problems["rolls"]


def test_a_network_that_gives_nan_is_not_served(tmp_path: Path) -> None:
    import torch

    broken = points(0)
    with torch.no_grad():
        broken.net.leave.bias.fill_(torch.nan)  # type: ignore[union-attr, operator]
    broken.save(tmp_path / "broken")
    with pytest.raises(SgmError, match=r"broken version 1: its network \(fp32\) gives NaN"):
        Catalogue(FolderSource(tmp_path), Networks()).start()
