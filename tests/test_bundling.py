"""The bundle of a registered version, with the real registry: made once, verified, tagged, whole."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from decision_fakes import judged
from flows_checkout import PARAMS

from flows import bundling, stages
from flows.bundling import TAG, bundle, bundle_command, bundle_of_champion
from flows.project import Project
from flows.publish import publish_best
from flows.searching import jobs_in
from flows.setup import initialise
from flows.versions import Registry, version_of
from sgm_core.cell import ensure_cell
from sgm_core.config.publish import PublishConfig
from sgm_core.errors import SgmError, UsageError
from sgm_core.export.bundle import FORMS, MANIFEST, read_bundle_manifest
from sgm_core.export.make import entry_of
from sgm_core.export.variant import open_variant
from sgm_core.export.verify import verify_bundle
from sgm_core.store.files import sha256_file

URI = "models:/sgm-again@champion"
# The experiment `again` alone, which has one cell.
TEXT = (PARAMS[: PARAMS.index("  rolls:")] + PARAMS[PARAMS.index("  again:") :]).replace(
    "active: [rolls]", "active: [again]"
)
LOOSE = "{tune_steps: 60, calibration: 128, max_loss: 50, max_rmse: 0.5}"


def params(publish: str) -> str:
    return TEXT.replace("STEPS", "300").replace("{bundle: false}", publish)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, migrated: Callable[[Path], None]) -> Any:
    """A project with a trained champion."""
    root = tmp_path_factory.mktemp("bundling")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SGM_HOME", raising=False)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        (root / "params.yaml").write_text(params(LOOSE))
        project = Project.at(root)
        migrated(root)
        initialise(project, prefect=False)
        stages.prepare(project, "again")
        stages.reference(project, "again")
        (job,) = jobs_in(project, "again").values()
        ensure_cell(job, lambda event: None)
        assert publish_best(project, "again", False, print).action == "promoted"
        yield project


def quiet(_: object) -> None:
    return None


def tag_of(project: Project) -> dict[str, str]:
    return dict(json.loads(version_of(Registry(project), URI).tags.get(TAG, "{}")))


def run_of(project: Project) -> Any:
    version = version_of(Registry(project), URI)
    return Registry(project).client.get_run(version.run_id)


@pytest.fixture(scope="module")
def bundled(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `sgm bundle --out` writes; what came before it is checked on the way."""
    out = tmp_path_factory.mktemp("out") / "again"
    with pytest.MonkeyPatch.context() as patch:
        # Killed after the upload and before anything was tried: there is no tag.
        def dies(folder: Path) -> None:
            raise KeyboardInterrupt

        patch.setattr("sgm_core.export.verify.verify_bundle", dies)
        with pytest.raises(KeyboardInterrupt):
            bundle_command(project, URI, None, quiet, quiet)
        assert tag_of(project) == {}
    with pytest.MonkeyPatch.context() as patch:
        # The next call goes on: the variants are in the store.
        patch.setattr("sgm_core.export.make.make_bundle", None)
        text = bundle_command(project, URI, out, quiet, quiet)
    assert text.startswith("bundle of sgm-again version 1: 7 of 7 variants published; runs:/")
    assert text.endswith(f"; written to {out}")
    return out


def test_a_bundle_holds_every_variant_with_its_costs_and_losses(
    project: Project, bundled: Path
) -> None:
    manifest = read_bundle_manifest(bundled)
    version = version_of(Registry(project), URI)
    assert (manifest["name"], manifest["version"]) == ("sgm-again", 1)
    assert manifest["cell_key"] == version.tags["sgm.cell_key"]
    assert set(manifest["variants"]) == set(FORMS)
    files = {path.relative_to(bundled).as_posix() for path in bundled.rglob("*") if path.is_file()}
    assert files == {*manifest["files"], MANIFEST}
    assert sha256_file(bundled / "model.safetensors") == version.tags["sgm.weights_sha256"]
    metrics = {name: entry["metrics"] for name, entry in manifest["variants"].items()}
    for name, found in metrics.items():
        assert found["bytes"] == (bundled / FORMS[name].file).stat().st_size
        assert 0 < found["cpu_ms_1"] < 1000 and 0 < found["cpu_ms_16"] < 1000
    assert metrics["onnx"]["error_max"] < 1e-4
    assert 0 < metrics["onnx_fp16"]["rmse"] < 2e-3 < metrics["onnx_int8"]["rmse"] < 0.1
    assert metrics["onnx_int8"]["rmse"] < metrics["pruned_onnx"]["rmse"] < 0.5
    for name in ("fp16", "onnx_fp16", "onnx_int8", "pruned", "pruned_onnx"):
        found = metrics[name]
        assert found["gain_low"] <= found["gain"] <= found["gain_high"]
        whole = manifest["quality"]["fp32"]
        assert (found["gain"] > 0) == (found["quality"] < whole), "lower is better"
    # The same seeds: a change of the weights in the fourth digit moves the samples as little.
    assert abs(metrics["fp16"]["gain"]) < 0.02
    half, small = (m["gain_high"] - m["gain_low"] for m in (metrics["fp16"], metrics["pruned"]))
    assert 0 < 3 * half < small, "the interval is that of what the change does, not of sampling"
    assert manifest["quality"]["metric"] == "sliced_w2"
    config = json.loads((bundled / "pruned" / "config.json").read_text())
    assert config["net"]["inner"] == [8]
    assert manifest["notes"] == []


def test_the_tag_names_what_was_verified_and_the_run_has_the_numbers(
    project: Project, bundled: Path
) -> None:
    tag, manifest = tag_of(project), read_bundle_manifest(bundled)
    run = run_of(project)
    assert tag["uri"].startswith(f"runs:/{run.info.run_id}/bundle/version-1-")
    assert tag["sha256"] == sha256_file(bundled / MANIFEST)
    logged = {k: v for k, v in run.data.metrics.items() if k.startswith("variant.")}
    assert logged["variant.onnx_int8.rmse"] == manifest["variants"]["onnx_int8"]["metrics"]["rmse"]
    card = version_of(Registry(project), URI).description
    assert card.count("## Variants") == 1 and card.endswith(
        (bundled / "README.md").read_text().partition("\n\n")[2]
    )
    assert "| onnx_int8 | published |" in card
    assert len(logged) == sum(len(entry["metrics"]) for entry in manifest["variants"].values())


def test_the_second_time_nothing_is_made_or_logged(
    project: Project, bundled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sgm_core.export.make.make_bundle", None)
    monkeypatch.setattr(bundling, "_log", None)
    registry = Registry(project)
    found = bundle(registry, version_of(registry, URI), quiet, quiet)
    assert not found.made and found.manifest == read_bundle_manifest(bundled)
    assert "7 of 7" in bundle_of_champion(registry, "again", quiet, quiet)


def test_a_logged_bundle_that_was_damaged_is_logged_again(project: Project, bundled: Path) -> None:
    place = next(project.artifacts.rglob(f"version-1-*/{MANIFEST}")).parent
    whole = (place / "model.onnx").read_bytes()
    (place / "model.onnx").write_bytes(whole[:-1] + b"!")
    messages: list[str] = []
    bundle_command(project, URI, None, messages.append, quiet)
    assert "model.onnx was altered" in "".join(messages)
    assert (place / "model.onnx").read_bytes() == whole


def test_a_bundle_that_does_not_agree_with_its_weights_gets_no_tag(
    bundled: Path, tmp_path: Path
) -> None:
    assert verify_bundle(bundled)["version"] == 1
    shutil.copytree(bundled, tmp_path / "b")
    shutil.copy(bundled / "pruned" / "model.onnx", tmp_path / "b" / "model.onnx")
    manifest = json.loads((bundled / MANIFEST).read_text())
    manifest["files"]["model.onnx"] = manifest["files"]["pruned/model.onnx"]
    (tmp_path / "b" / MANIFEST).write_text(json.dumps(manifest))
    read_bundle_manifest(tmp_path / "b")
    with pytest.raises(SgmError, match="variant onnx: onnxruntime and PyTorch differ by"):
        verify_bundle(tmp_path / "b")


def test_variants_draw_the_same_samples_from_the_same_seeds(bundled: Path) -> None:
    manifest = read_bundle_manifest(bundled)
    drawn = {n: open_variant(bundled, manifest, n).generate(64, seed=5) for n in FORMS}
    spread = drawn["fp32"].std()
    for name, most in (("onnx", 1e-4), ("onnx_fp16", 0.02), ("onnx_int8", 0.2)):
        apart = abs(drawn[name] - drawn["fp32"]).mean() / spread
        assert apart < most, name
    assert abs(drawn["pruned"] - drawn["pruned_onnx"]).max() < 1e-3 * spread


def test_wrong_folders_are_refused_before_anything_is_done(
    project: Project, bundled: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="is not an empty folder; name a new one"):
        bundle_command(project, URI, bundled, quiet, quiet)
    with pytest.raises(UsageError, match="write models:/NAME@champion"):
        bundle_command(project, "sgm-again", tmp_path / "new", quiet, quiet)
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_without_the_data_it_says_what_is_left_out_and_why_a_variant_is_rejected(
    project: Project,
) -> None:
    """Other parameters are another bundle; what is rejected is there all the same."""
    if not tag_of(project):
        bundle_command(project, URI, None, quiet, quiet)
    strict = LOOSE.replace("max_rmse: 0.5", "max_rmse: 0.0001")
    (project.root / "params.yaml").write_text(params(strict))
    data, before = project.prepared("again"), tag_of(project)
    aside = data.rename(data.with_name("aside"))
    try:
        text = bundle_command(project, URI, None, quiet, quiet)
        registry = Registry(project)
        found = bundle(registry, version_of(registry, URI), quiet, quiet)
    finally:
        aside.rename(data)
        (project.root / "params.yaml").write_text(params(LOOSE))
    why = r"\(its output differs by 0\.0[0-9]+ RMSE from fp32 \(at most 0\.0001\)\)"
    assert re.search(f"2 of 5 variants published, rejected: fp16, onnx_fp16, onnx_int8 {why}", text)
    assert "the prepared data of this model is not here" in text
    assert "there is no pruned variant, and quality is not measured" in text
    assert found.manifest["quality"] is None and not found.made
    for entry in found.manifest["variants"].values():
        assert (found.folder / entry["file"]).is_file()
    after = tag_of(project)
    assert after["key"] != before["key"] and after["uri"] != before["uri"]


def test_a_variant_outside_its_quality_floor_is_rejected_with_the_reason() -> None:
    metrics = {"rmse": 0.01, "bytes": 10.0}
    good, lost, unsure = (
        entry_of(metrics, judged(1.0 + loss, 1.0, -0.1, noise), 0.25)
        for loss, noise in ((0.01, 0.01), (0.3, 0.0), (0.0, 0.3))
    )
    assert good["status"] == "published" and "reason" not in good
    assert good["metrics"]["gain_low"] < good["metrics"]["gain"] < 0
    for entry in (lost, unsure):
        assert entry["status"] == "rejected"
        assert entry["reason"].endswith("whose lower end is not above -10.0%")
    broken = entry_of(metrics | {"rmse": float("nan")}, None, 0.25)
    assert broken["status"] == "rejected" and broken["metrics"]["rmse"] is None


def test_a_bundle_can_be_left_out() -> None:
    assert PublishConfig().bundle and not PublishConfig(bundle=False).bundle
