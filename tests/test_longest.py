"""The longest cell first, as far as finished ones tell."""

from __future__ import annotations

import importlib
from types import SimpleNamespace
from typing import Any

import pytest
from flows_fakes import Pool

from flows import cell as cell_module
from flows.cell import Observed
from flows.longest import Costs
from flows.progress import Display

grid: Any = importlib.import_module("flows.grid")  # the flow has the module's name
SECONDS = {"small": 2.0, "large": 5.0}
FACTOR = {"vp": 1.0, "cld": 1.5}


def job(process: str, net: str, seed: int = 0, steps: int = 100) -> Any:
    spec = SimpleNamespace(
        name=f"{process}-{net}-s{seed}", process={"kind": process}, net={"kind": net},
        training={"steps": steps},
    )  # fmt: skip
    return SimpleNamespace(spec=spec)


def outcome(of: Any, together: int = 1) -> Any:
    spec = of.spec
    seconds = (
        SECONDS[spec.net["kind"]] * FACTOR[spec.process["kind"]] * spec.training["steps"] / 100
    )
    cell = {"seconds": 99.0, "cpu_seconds": (seconds - 1) * together}
    cell["summary"] = {"trained_together": together} if together > 1 else {}
    return SimpleNamespace(
        spec=spec,
        cell=SimpleNamespace(manifest=cell),
        evaluation=SimpleNamespace(manifest={"seconds": 99.0, "cpu_seconds": 1.0}),
    )


def waiting(*jobs: Any) -> dict[str, Any]:
    return {one.spec.name: one for one in jobs}


def test_nothing_known_is_grid_order_and_an_unknown_network_comes_first() -> None:
    costs = Costs()
    due = waiting(job("vp", "small"), job("vp", "large"), job("cld", "small"))
    assert costs.longest(due) == "vp-small-s0"
    costs.add(outcome(job("vp", "small")))
    assert costs.longest(due) == "vp-large-s0"


def test_a_pair_is_known_by_itself_and_else_by_its_network() -> None:
    costs = Costs()
    costs.add(outcome(job("vp", "small")))
    costs.add(outcome(job("vp", "large"), together=4))
    # Of cld nothing is known but its network.
    assert costs.longest(waiting(job("cld", "small"), job("cld", "large"))) == "cld-large-s0"
    costs.add(outcome(job("cld", "small"), together=2))
    assert costs.longest(waiting(job("vp", "small", 1), job("cld", "small", 1))) == "cld-small-s1"


def test_a_cheap_rung_tells_of_the_full_one() -> None:
    costs = Costs()
    costs.add(outcome(job("vp", "small", steps=100)))
    costs.add(outcome(job("vp", "large", steps=25)))
    assert costs._expected(job("vp", "large", steps=100).spec) == pytest.approx(5.0, rel=0.2)
    assert costs.longest(waiting(job("vp", "small", 1), job("vp", "large", 1))) == "vp-large-s1"


def test_a_grid_ends_with_its_short_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """One slot: two cells tell, then the long ones come first."""
    order: list[str] = []

    class Executor:
        slots = 1

        def run(self, job: Any, emit: Any) -> Any:
            order.append(job.spec.name)
            return outcome(job)

    quiet = SimpleNamespace(info=lambda *_: None)
    monkeypatch.setattr(grid, "ThreadPoolTaskRunner", Pool)
    monkeypatch.setattr(cell_module, "get_run_logger", lambda: quiet)
    monkeypatch.setattr(cell_module, "summary_line", lambda *_: "")
    monkeypatch.setattr(cell_module, "cell_artifact", lambda *_: None)
    executor: Any = Executor()
    observed = Observed(executor, None, "", Display(), "fd")
    jobs = waiting(
        *(job(p, n, s) for p in ("vp", "cld") for n in ("small", "large") for s in (0, 1))
    )
    grid._run_all(executor, observed, jobs)
    assert order[:2] == ["vp-small-s0", "vp-large-s0"]
    # A pair that is not known yet is taken for what its network is elsewhere.
    assert [name.rsplit("-", 1)[0] for name in order[2:]] == [
        "vp-large", "cld-large", "cld-large", "vp-small", "cld-small", "cld-small",
    ]  # fmt: skip
    assert len(observed.outcomes) == 8
