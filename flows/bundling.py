"""The bundle of a registered version: made once, verified where it lies, and told of by a tag.

    store   bundles/KEY            the variants of (weights, sampling, parameters, data, code)
    run     bundle/version-N-HASH  the same with bundle.json, which names the version
    tag     sgm.bundle             {"uri", "sha256" of bundle.json, "key"}: only of a verified bundle
    card    the version's text     ends with a table of the variants, which is the bundle's README.md, too

The folder's name has the manifest's hash, so that a bundle which is made anew replaces no file that
somebody is reading. Killed anywhere in between, the next call goes on: what is in the store is not
made again, and a bundle without its tag is uploaded once more.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.registry import CHAMPION, WEIGHTS, by_alias, model_name
from flows.verify import download, verified
from flows.versions import Registry, version_of
from sgm_core.cell import Emit, check_code
from sgm_core.config.evaluation import EvaluationConfig
from sgm_core.config.publish import PublishConfig
from sgm_core.config.selection import SelectionConfig
from sgm_core.errors import SgmError, UsageError
from sgm_core.job import BUNDLE as TASK
from sgm_core.sample.names import SAMPLERS
from sgm_core.spec import EvaluationSpec, identity_key
from sgm_core.store import Entry
from sgm_core.store.files import os_errors, read_json, sha256_file
from sgm_core.store.shared import store_at

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

    from flows.project import Project

TAG, KIND, FOLDER, README = "sgm.bundle", "bundles", "bundle", "README.md"
FLOORS = ("max_memorised", "min_coverage", "min_class_share")  # that a variant must hold too
TOOLS = ("torch", "onnx", "onnxscript", "onnxruntime")  # another release makes other graphs

Log = Callable[[str], None]


@dataclass(frozen=True)
class Bundled:
    """The verified bundle of a version.

    Attributes:
        folder: a copy of this process's own, verified; it goes when the process ends.
        uri: where it lies; `manifest`: its bundle.json.
        made: whether anything had to be done.
    """

    folder: Path
    uri: str
    manifest: dict[str, Any]
    made: bool

    def sentence(self) -> str:
        """Return what is in it, as one line."""
        variants = self.manifest["variants"]
        rejected = [name for name, entry in variants.items() if entry["status"] == "rejected"]
        about = f"{len(variants) - len(rejected)} of {len(variants)} variants published"
        if rejected:
            about += f", rejected: {', '.join(rejected)} ({variants[rejected[0]]['reason']})"
        notes = "".join(f"; {note}" for note in self.manifest["notes"])
        name, number = self.manifest["name"], self.manifest["version"]
        return f"bundle of {name} version {number}: {about}{notes}; {self.uri}"


def bundle_command(project: Project, uri: str, out: Path | None, log: Log, emit: Emit) -> str:
    """Make the bundle of a version, if there is none, and write it into a folder.

    Args:
        uri: models:/NAME@alias or models:/NAME/3.
        out: the folder; None: it is logged with the version only.

    Raises:
        UsageError: there is no such version, or the folder holds something else.
        SgmError: the version's files were altered, the bundle cannot be made, or MLflow failed.
    """
    if out is not None and out.exists() and not _replaceable(out):
        raise UsageError(f"--out: {out} is not an empty folder; name a new one")
    registry = Registry(project)
    found = bundle(registry, version_of(registry, uri), log, emit)
    if out is not None:
        _write(found.folder, out)
    return found.sentence() + (f"; written to {out}" if out is not None else "")


def bundle_of_champion(registry: Registry, experiment: str, log: Log, emit: Emit) -> str:
    """Make the bundle of the champion if it has none; return a sentence about it, or ""."""
    with registry.errors():
        champion = by_alias(registry.client, model_name(experiment), CHAMPION)
    return "" if champion is None else bundle(registry, champion, log, emit).sentence()


def bundle(registry: Registry, version: ModelVersion, log: Log, emit: Emit) -> Bundled:
    """Return the verified bundle of a version, making, logging and tagging what is missing.

    Raises:
        SgmError: the version's files were altered, the bundle cannot be made, or MLflow failed.
    """
    project, name, number = registry.project, str(version.name), int(version.version)
    model = verified(registry, version) / "artifacts" / "model"
    with project.lock(f"bundle-{name}-{number}", waiting=f"{name}: waiting for its bundle ..."):
        entry = _made(project, version, model, log, emit)
        known = _tagged(registry, name, number)
        if known.get("key") == entry.key:
            try:
                return _read(registry, known["uri"], known["sha256"], made=False)
            except SgmError as error:
                log(f"the bundle of {name} version {number} is logged again: {error}")
        return _log(registry, version, entry)


def _made(project: Project, version: ModelVersion, model: Path, log: Log, emit: Emit) -> Entry:
    """Return the entry of the store with the variants, making it if there is none."""
    dataset, reference, spec = _plan(project, version, model)
    identity = spec.identity()

    def build(work: Path) -> dict[str, Any]:
        from sgm_core.export.make import make_bundle
        from sgm_core.threads import every_core

        check_code(spec.modules, identity["code"])
        given = spec.sampling, spec.evaluation
        with every_core(int(spec.evaluation["training"].get("threads", 1))):
            return make_bundle(model, dataset, reference, *given, work, emit)

    describe = {"name": f"bundle of {version.tags.get('sgm.cell', version.name)}", **identity}
    key = identity_key(identity)
    return store_at(project.store).ensure(KIND, key, build, describe, log)


def _plan(
    project: Project, version: ModelVersion, model: Path
) -> tuple[Path | None, Path | None, EvaluationSpec]:
    """Return the folders of data and reference, if they are what it was trained on, and the question."""
    config, lineage = read_json(model / "config.json"), model / "lineage.json"
    trained = dict(read_json(lineage).get("spec", {})) if lineage.is_file() else {}
    name = str(version.tags.get("sgm.experiment", ""))
    experiment = project.config().experiments.get(name)
    publish = experiment.publish if experiment else PublishConfig()
    selection = experiment.selection if experiment else SelectionConfig()
    evaluation = experiment.evaluation if experiment else EvaluationConfig()
    files = project.prepared(name) / "dataset.json", project.reference(name) / "reference.json"
    digests = [read_json(file).get("digest") if file.is_file() else None for file in files]
    there = bool(trained) and digests[0] == trained["data_digest"] and digests[1] is not None
    fields = publish.model_dump(mode="json", exclude={"bundle"})
    if publish.samples is None:
        fields["samples"] = evaluation.samples
    weights = str(version.tags.get(WEIGHTS, config["weights"]["sha256"]))
    spec = EvaluationSpec(
        task=TASK,
        cell_key=weights,
        sampler=SAMPLERS[config["sampling"]["sampler"]],
        sampling=config["sampling"],
        evaluation={
            "publish": fields,
            "training": trained.get("training", {}),
            "floors": selection.model_dump(mode="json", include=set(FLOORS)),
            "metric": selection.metric,
            "batch": evaluation.batch,
            "seed_of": weights,
            "made_with": {tool: installed(tool) for tool in TOOLS},
        },
        reference_digest=str(digests[1]) if there else "",
        data_digest=str(digests[0]) if there else "",
    )
    if not there:
        return None, None, spec
    return files[0].parent, files[1].parent, spec


def _log(registry: Registry, version: ModelVersion, entry: Entry) -> Bundled:
    """Log the bundle to the version's run, verify what was logged, and only then set the tag."""
    from sgm_core.export.bundle import MANIFEST, write_bundle_manifest
    from sgm_core.export.verify import verify_bundle
    from sgm_core.report.variants import variants_section, with_variants

    name, number, run_id = str(version.name), int(version.version), str(version.run_id)
    with tempfile.TemporaryDirectory(prefix="sgm-bundle-") as place:
        folder = Path(place)
        for file in entry.manifest["files"]:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(entry.path / file, folder / file)
        variants, more = entry.summary["variants"], {"quality", "notes"}
        about = {key: value for key, value in entry.summary.items() if key in more}
        section = variants_section(variants, about.get("quality"))
        (folder / README).write_text(f"# {name}, version {number}\n\n{section}", encoding="utf-8")
        cell_key = str(version.tags.get("sgm.cell_key", ""))
        write_bundle_manifest(folder, name, number, cell_key, variants, about)
        sha256 = sha256_file(folder / MANIFEST)
        path = f"{FOLDER}/version-{number}-{sha256[:12]}"
        with registry.errors():
            registry.client.log_artifacts(run_id, str(folder), path)
    found = _read(registry, f"runs:/{run_id}/{path}", sha256, made=True)
    verify_bundle(found.folder)
    tag = json.dumps({"uri": found.uri, "sha256": sha256, "key": entry.key}, sort_keys=True)
    with registry.errors():
        registry.client.log_batch(run_id, metrics=metrics_of(found.manifest, entry))
        registry.client.set_model_version_tag(name, str(number), TAG, tag)
        card = str(registry.client.get_model_version(name, str(number)).description or "")
        text = with_variants(card, section)
        registry.client.update_model_version(name, str(number), text)
    return found


def metrics_of(manifest: dict[str, Any], entry: Entry) -> list[Any]:
    """Return MLflow's metrics of all variants, `variant.onnx_int8.rmse`; the step is the version."""
    from mlflow.entities import Metric

    # The time of the entry: logging them again after an interruption doubles nothing.
    now = round(datetime.fromisoformat(entry.manifest["created"]).timestamp() * 1000)
    step = int(manifest["version"])
    return [
        Metric(f"variant.{variant}.{metric}", float(value), now, step)
        for variant, about in manifest["variants"].items()
        for metric, value in about["metrics"].items()
        if value is not None
    ]


def _read(registry: Registry, uri: str, sha256: str, made: bool) -> Bundled:
    """Return a logged bundle after every file of it was compared with its hash."""
    from sgm_core.export.bundle import MANIFEST, read_bundle_manifest

    folder = download(registry, uri)
    manifest = read_bundle_manifest(folder)
    if sha256_file(folder / MANIFEST) != sha256:
        raise SgmError(f"{uri}/{MANIFEST} is not the one that was logged")
    return Bundled(folder, uri, manifest, made)


def _tagged(registry: Registry, name: str, number: int) -> dict[str, str]:
    """Return what the tag of a version says of its bundle; {} without one."""
    with registry.errors():
        tags = registry.client.get_model_version(name, str(number)).tags
    try:
        return dict(json.loads(tags.get(TAG, "{}")))
    except ValueError:
        return {}


def _replaceable(out: Path) -> bool:
    return out.is_dir() and not any(out.iterdir())


def _write(folder: Path, out: Path) -> None:
    """Copy a bundle to a folder that is new or empty; it is there whole or not at all."""
    with os_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".sgm-bundle-", dir=out.parent) as place:
            copied = Path(place, out.name)
            shutil.copytree(folder, copied)
            os.rename(copied, out)
