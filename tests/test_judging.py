"""The evidence of a decision: two models, measured alike, each as its consumers get it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flows_checkout import PARAMS

from flows import judging, stages
from flows.judging import Judge
from flows.project import Project
from flows.publish import publish_best
from flows.registry import DECISION, SAMPLING, WEIGHTS, Decision
from flows.searching import jobs_in
from flows.setup import initialise
from sgm_core.cell import ensure_cell, lookup
from sgm_core.job import SCORE
from sgm_core.store.files import read_json

# The experiment `again` alone, which has one cell; its likelihood decides nothing.
ALONE = (
    (PARAMS[: PARAMS.index("  rolls:")] + PARAMS[PARAMS.index("  again:") :])
    .replace("active: [rolls]", "active: [again]")
    .replace("samplers: [ddim]", "samplers: [], likelihood_items: 0")
)
Publish = Callable[..., tuple[Decision, float]]


@pytest.fixture
def project(
    tmp_path: Path, migrated: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> Project:
    monkeypatch.delenv("SGM_HOME", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "params.yaml").write_text(ALONE)
    project = Project.at(tmp_path)
    migrated(tmp_path)
    initialise(project, prefect=False)
    return project


@pytest.fixture
def publish(project: Project, monkeypatch: pytest.MonkeyPatch) -> Publish:
    """Train the only cell of `again`, publish it; return the decision and its own test metric.

    Whether it loads in a clean process is asked in test_verify.
    """
    monkeypatch.setattr("flows.publish.loads", lambda folder: "")

    def run(
        steps: int, training: int = 300, sampler: str = "", process: str = "vp"
    ) -> tuple[Decision, float]:
        text = ALONE.replace("vp: {}", f"{process}: {{}}")
        text = text.replace("STEPS", str(training)).replace("steps: 6", f"steps: {steps}{sampler}")
        (project.root / "params.yaml").write_text(text)
        if not project.prepared("again").exists():
            stages.prepare(project, "again")
            stages.reference(project, "again")
        (job,) = jobs_in(project, "again").values()
        ensure_cell(job, lambda event: None)
        outcome: Any = lookup(job)
        rows = read_json(outcome.evaluation.path / "metrics.json")["rows"]
        (value,) = (
            row["value"] for row in rows if (row["metric"], row["split"]) == ("sliced_w2", "test")
        )
        return publish_best(project, "again", False, print), float(value)

    return run


def scores(project: Project) -> dict[str, dict[str, Any]]:
    """Every score of the store by its key."""
    found = {}
    for manifest in (project.store / "evaluations").glob("*/manifest.json"):
        if read_json(manifest)["describe"]["task"] == SCORE:
            found[manifest.parent.name] = read_json(manifest.parent / "score.json")
    return found


def test_a_version_with_other_steps_is_compared_with_the_champion(
    project: Project, publish: Publish
) -> None:
    """A changed sampler reaches the registry although the weights are the same."""
    first, before = publish(1)
    assert first.action == "promoted"
    second, after = publish(12)
    assert after < before
    assert (second.action, second.version) == ("promoted", 2)
    # Both were measured anew: on fresh samples, each with its own steps.
    gain: Any = second.verdict and second.verdict.gain
    assert f"{gain.new:.4g} against {gain.champion:.4g} of version 1" in second.reason
    assert (gain.new, gain.champion) == pytest.approx((after, before), rel=0.2)
    assert gain.new != after
    third, _ = publish(1)
    assert (third.action, third.version) == ("challenger", 1)
    import mlflow

    version = mlflow.MlflowClient(project.tracking_uri).get_model_version("sgm-again", "2")
    assert '"steps":12' in version.tags[SAMPLING]


def test_other_weights_are_scored_on_the_same_test_items_and_seeds_each_with_its_sampling(
    project: Project, publish: Publish
) -> None:
    publish(4)
    decision, _ = publish(5, training=301)
    evidence: Any = decision.verdict and decision.verdict.evidence
    found = scores(project)
    new, champion = (found[evidence[who]["key"]] for who in ("new", "champion"))
    assert new is not champion
    same = ("seeds", "samples", "split", "dataset_digest", "reference_digest", "sampler", "grid")
    assert [new[key] for key in same] == [champion[key] for key in same]
    assert (new["split"], champion["split"]) == ("test", "test")
    assert new["samples"] == 4 * 100
    assert new["seeds"][0] >= 2**40, "no cell was chosen by these"
    # The champion is measured as it is served, whatever params.yaml says by now.
    assert (new["steps"], champion["steps"]) == (5, 4)
    import mlflow

    client = mlflow.MlflowClient(project.tracking_uri)
    tag = json.loads(client.get_model_version("sgm-again", "2").tags[DECISION])
    assert tag["evidence"] == evidence
    assert evidence["new"]["reference_digest"] == new["reference_digest"]


def test_a_champion_of_a_process_that_the_sampler_does_not_fit_is_measured_as_it_is_served(
    project: Project, publish: Publish
) -> None:
    publish(4)
    decision, _ = publish(4, sampler=", sampler: sscs", process="cld")
    assert decision.verdict is not None and decision.verdict.gain is not None


def test_the_store_stands_in_for_a_version_only_with_its_very_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One cell key has other weights on another kind of machine."""
    entry = SimpleNamespace(path=tmp_path / "cell", manifest={"summary": {"weights_sha256": "a"}})
    monkeypatch.setattr(judging, "verified", lambda registry, version: tmp_path / "published")
    monkeypatch.setattr(judging, "store_at", lambda root: SimpleNamespace(find=lambda *_: entry))
    some: Any = SimpleNamespace(store=tmp_path)
    judge = Judge(some, some, some, some, "fd", {}, print, lambda event: None)

    def folder(weights: str) -> Path:
        tags = {"sgm.cell_key": "k", WEIGHTS: weights}
        return judge._folder(SimpleNamespace(tags=tags))

    assert folder("a") == tmp_path / "cell"
    assert folder("b") == tmp_path / "published" / "artifacts" / "model"
