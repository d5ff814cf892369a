"""A changed sampler reaches the registry although the weights are the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flows_checkout import PARAMS

from flows import stages
from flows.cell import jobs_in
from flows.project import Project
from flows.publish import publish_best
from flows.registry import SAMPLING, Decision
from flows.setup import initialise
from sgm_core.cell import ensure_cell, lookup
from sgm_core.store.files import read_json


def test_a_version_with_other_steps_is_compared_with_the_champion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SGM_HOME", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    params = tmp_path / "params.yaml"
    project = Project.at(tmp_path)

    def publish(steps: int) -> tuple[Decision, float]:
        text = PARAMS.replace("STEPS", "300").replace("steps: 6", f"steps: {steps}")
        params.write_text(text)
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

    params.write_text(PARAMS)
    initialise(project, prefect=False)
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
