"""A cell whose samples all diverge ends in a report that excludes it and ranks the others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sgm_core.cell import ensure_cell
from sgm_core.config import parse_config
from sgm_core.data import prepare
from sgm_core.evaluate.reference import make_reference
from sgm_core.job import jobs_of
from sgm_core.report.write import write_reports

VALUES = {
    "datasets": {"roll": {"kind": "swiss_roll", "n": 600}},
    "experiments": {
        "e": {
            "dataset": "roll",
            "processes": {"vp": {}, "huge": {"kind": "ve"}},
            "nets": {"mlp": {"kind": "mlp", "width": 16, "depth": 1}},
            "training": {"steps": 10, "batch": 32},
            "sampling": {"steps": 5},
            "evaluation": {
                "samples": 100, "bootstrap": 20, "curve_samples": 50, "nfe_curve": [3, 5],
            },
        }
    },
}  # fmt: skip


def test_a_cell_of_non_finite_samples_is_excluded_and_the_report_is_whole(tmp_path: Path) -> None:
    config = parse_config(VALUES)
    experiment = config.experiment("e")
    data, reference = tmp_path / "data", tmp_path / "reference"
    prepare("roll", config.dataset("roll"), tmp_path, data, lambda _: None)
    make_reference(data, reference, lambda _: None)
    events: list[dict] = []
    jobs = jobs_of(experiment, data, reference, tmp_path / "store")
    # One step of training, after which the weights are so large that samples overflow.
    leap = {"steps": 1, "warmup": 0, "schedule": "constant", "lr": 1e30}
    lost = replace(jobs[1].spec, training=jobs[1].spec.training | leap)
    jobs[1] = replace(jobs[1], spec=lost)
    outcomes = [ensure_cell(job, events.append) for job in jobs]
    assert [e["text"] for e in events if "pictures" in e.get("text", "")] == []
    report = write_reports(experiment, outcomes, [], tmp_path / "report")
    assert report.choice.cell == "vp-mlp-s0"
    assert list(report.choice.excluded) == ["huge-mlp-s0"]
    assert report.choice.excluded["huge-mlp-s0"].startswith("not finite")
    assert report.frame["status"].tolist() == ["ok", "not finite"]
    drawn = {
        name: {file.name for file in (tmp_path / "report" / "cells" / name).iterdir()}
        for name in ("vp-mlp-s0", "huge-mlp-s0")
    }
    assert drawn["vp-mlp-s0"] == {"samples.png", "trajectory.png", "field.png"}
    assert drawn["huge-mlp-s0"] == {"samples.png"}
