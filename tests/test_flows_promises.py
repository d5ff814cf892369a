"""What the grid promises, in one pass through the real command line (without DVC).

Killed in the middle and run again it trains nothing finished twice and resumes the unfinished
cell; an edit of one process trains the cells of that process only; a failing cell leaves the
others to finish.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from flows_checkout import checkout, finished, kill_grid, sgm

from flows import stages
from flows.project import Project

# What no check of params.yaml can see: training meets noise levels that are not finite.
LOSSY = """\
from torch import Tensor, where

from sgm_core.process.base import as_time
from sgm_core.process.vp import VP


class Lossy(VP):
    kind = "lossy"

    def __init__(self) -> None:
        super().__init__()

    def snr(self, t: float | Tensor) -> Tensor:
        lost = (as_time(t) > 0.05) & (as_time(t) < 0.1)
        return where(lost, float("nan"), super().snr(t))
"""


@pytest.mark.slow
def test_a_killed_grid_an_edit_and_a_failing_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, migrated: Callable[[Path], None]
) -> None:
    monkeypatch.delenv("SGM_HOME", raising=False)
    folder = checkout(tmp_path / "project", steps=600, git=False)
    migrated(folder)
    params = folder / "params.yaml"
    (folder / "custom").mkdir(exist_ok=True)
    (folder / "custom" / "lossy.py").write_text(LOSSY)
    lossy = 'cld: {}, lossy: {kind: "custom.lossy:Lossy"}'
    text = params.read_text().replace("subvp: {}", lossy)
    params.write_text(text)
    stages.prepare(Project.at(folder), "rolls")
    stages.reference(Project.at(folder), "rolls")
    before = kill_grid(folder, after=2)
    assert len(before) == 2

    params.write_text(text.replace("vp: {}, ve", "vp: {beta_max: 15}, ve"))
    done = sgm(folder, "grid", "rolls", "--no-publish", SGM_EXECUTOR="inprocess")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert any("ve-mlp-s0: found in the store" in line for line in lines)
    assert any(line.startswith("cld-mlp-s0: resumed at step") for line in lines)
    assert not any(line.startswith("vp-mlp-s0: resumed") for line in lines)
    assert "3 of 4 cells of rolls are finished and reported" in done.stderr
    assert "failed: lossy-mlp-s0: the loss is not finite" in done.stderr
    assert "the loss is not finite" in (folder / "reports/rolls/leaderboard.md").read_text()
    after = finished(folder)
    assert len(after) == 4, "vp before and after the edit, ve, cld"
    assert {key: after[key] for key in before} == before
