"""Successive halving: what a budget pays for, who goes on, and what a cheap rung measures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from report_fakes import experiment, outcome

from sgm_core.errors import UsageError
from sgm_core.job import jobs_of
from sgm_core.report.choice import best_pairs, choose
from sgm_core.report.content import searched_board
from sgm_core.report.leaderboard import leaderboard
from sgm_core.search import Rung, plan_in_words, rungs_of, walk
from sgm_core.spec import all_cells, cells_of
from sgm_core.store.files import write_json


def searched(pairs: int = 8, budget: float = 8, **fields: Any) -> Any:
    """An experiment with `pairs` processes, one network and three seeds."""
    search = {"budget": budget, **fields.pop("search", {})}
    processes = {f"p{i}": {"kind": "vp"} for i in range(pairs)}
    values = {"seeds": [0, 1, 2], "search": search, "training": {"steps": 1000}, **fields}
    return experiment(processes=processes, nets={"mlp": {}}, **values)


def cost(config: Any) -> float:
    steps = config.training.steps
    return sum(r.pairs * len(r.seeds) * r.steps / steps for r in rungs_of(config))


def test_the_budget_decides_how_many_finalists_there_are() -> None:
    # 8 pairs at a quarter cost 2; three seeds of each finalist cost 3.
    assert rungs_of(searched(budget=8)) == (
        Rung(250, 8, (0,), final=False), Rung(1000, 2, (0, 1, 2), final=True),
    )  # fmt: skip
    assert rungs_of(searched(budget=7.9))[-1].pairs == 1
    assert rungs_of(searched(budget=11))[-1].pairs == 3


@pytest.mark.parametrize("budget", [5.5, 8, 9.7, 14, 20])
@pytest.mark.parametrize("rungs", [[0.25], [0.1, 0.3], [0.05, 0.1, 0.4]])
def test_no_plan_costs_more_than_its_budget(budget: float, rungs: list[float]) -> None:
    config = searched(budget=budget, search={"rungs": rungs})
    plan = rungs_of(config)
    assert cost(config) <= budget + 1e-9
    counts = [rung.pairs for rung in plan]
    assert counts == sorted(counts, reverse=True)
    assert [rung.steps for rung in plan[:-1]] == [round(1000 * share) for share in rungs]
    less = {"rungs": rungs}
    if counts[-1] > 1:  # what it costs is needed for as many finalists
        assert rungs_of(searched(budget=cost(config) - 0.01, search=less))[-1].pairs < counts[-1]


def test_a_budget_for_everything_trains_everything() -> None:
    assert rungs_of(searched(budget=24)) == (Rung(1000, 8, (0, 1, 2), final=True),)
    assert rungs_of(experiment()) == (Rung(2000, 4, (0,), final=True),)


def test_a_budget_that_pays_for_no_finalist_is_refused_with_the_least_one() -> None:
    message = r"experiments\.toy\.search\.budget: 4 is not enough: .* cost 5 full trainings"
    with pytest.raises(UsageError, match=message):
        searched(budget=4)
    assert rungs_of(searched(budget=5))[-1].pairs == 1


def test_finalists_need_three_seeds() -> None:
    with pytest.raises(
        UsageError, match=r"seeds: \[0, 1\] has too few seeds for search.*\[0, 1, 2\]"
    ):
        searched(seeds=[0, 1])


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ({"rungs": [0.5, 0.2]}, "write ascending shares"),
        ({"rungs": [1.0]}, r"search\.rungs\.0: 1\.0 is not valid"),
        ({"rungs": []}, "at least 1 entries"),
        ({"budget": 0}, "search.budget: 0 is not valid"),
        ({"buget": 9}, "did you mean 'budget'"),
    ],
)
def test_wrong_searches_name_the_field(search: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        searched(search=search)


def test_the_plan_in_words() -> None:
    assert plan_in_words(searched()) == "8 cells of 250 steps, then 2 x 3 seeds of 1,000 steps"
    assert plan_in_words(experiment()) == "4 cells of 2,000 steps"


def test_cells_of_a_cheap_rung_are_other_cells_with_names_of_their_own() -> None:
    config = searched(pairs=2, budget=5)
    cheap, final = rungs_of(config)
    trial = cells_of(config, "d" * 64, [2], cheap)
    full = cells_of(config, "d" * 64, [2], final, [("p1", "mlp")])
    assert [cell.name for cell in trial] == ["p0-mlp-s0-250steps", "p1-mlp-s0-250steps"]
    assert [cell.name for cell in full] == ["p1-mlp-s0", "p1-mlp-s1", "p1-mlp-s2"]
    assert trial[1].training["steps"] == 250
    assert trial[1].key != full[0].key
    names = [cell.name for cell in all_cells(config, "d" * 64, [2])]
    assert len(names) == len(set(names)) == 2 * 3 + 2


def test_a_cheap_rung_touches_the_validation_split_alone(tmp_path: Path) -> None:
    write_json(
        tmp_path / "dataset.json",
        {"digest": "d" * 64, "kind": "points", "shape": [2], "source": "table", "labels": []},
    )
    write_json(tmp_path / "reference.json", {"digest": "e" * 64})
    config = searched(pairs=2, budget=5, evaluation={"samples": 5000, "under": ["ve"]})
    cheap, final = rungs_of(config)
    trial, full = (jobs_of(config, tmp_path, tmp_path, tmp_path, r)[0] for r in (cheap, final))
    assert trial.evaluation["splits"] == ["validation"]
    assert trial.evaluation["samples"] == 2000
    assert (trial.evaluation["likelihood_items"], trial.evaluation["nfe_curve"]) == (0, [])
    assert "splits" not in full.evaluation and full.evaluation["samples"] == 5000
    likely = searched(pairs=2, budget=5, selection={"metric": "nll"})
    assert jobs_of(likely, tmp_path, tmp_path, tmp_path, cheap)[0].evaluation["likelihood_items"]


def test_the_best_pairs_of_a_rung_go_on() -> None:
    values = {("vp", "a"): 3.0, ("ve", "a"): 1.0, ("cld", "a"): 2.0}
    asked = []

    def jobs(rung: Rung, pairs: Any) -> dict[str, Any]:
        asked.append((rung.steps, pairs))
        return {p: p for p in (pairs or values)}

    def best(done: Any, count: int) -> list[Any]:
        return sorted(done, key=lambda pair: values[pair])[:count]

    rungs = [Rung(10, 3, (0,), False), Rung(30, 2, (0,), False), Rung(100, 1, (0, 1, 2), True)]
    stages = walk(rungs, jobs, lambda due: due, best)  # type: ignore[arg-type]
    assert asked == [
        (10, None), (30, [("ve", "a"), ("cld", "a")]), (100, [("ve", "a")]),
    ]  # fmt: skip
    assert [list(stage.done) for stage in stages][-1] == [("ve", "a")]


def test_a_search_in_which_nothing_can_be_chosen_ends() -> None:
    rungs = [Rung(10, 3, (0,), False), Rung(100, 1, (0,), True)]
    stages = walk(rungs, lambda rung, pairs: {"x": 1}, lambda due: {}, lambda done, count: [])
    assert [stage.rung.final for stage in stages] == [False]


# --- what the leaderboard makes of it


def test_a_pair_that_gave_the_same_as_a_better_one_goes_on_last(tmp_path: Path) -> None:
    config = experiment()
    outcomes = [
        outcome(tmp_path, "vp-small-s0", 0.2),
        outcome(tmp_path, "cld-small-s0", 0.20001),
        outcome(tmp_path, "vp-large-s0", 0.9),
    ]
    frame = leaderboard(outcomes, [], config)
    assert best_pairs(frame, 2) == [("vp", "small"), ("vp", "large")]
    assert best_pairs(frame, 3)[-1] == ("cld", "small")


def test_the_pair_with_the_best_mean_wins_and_of_it_the_best_seed(tmp_path: Path) -> None:
    config = experiment(seeds=[0, 1, 2])
    steady, lucky = (0.30, 0.31, 0.29), (0.10, 0.60, 0.50)
    outcomes = [
        outcome(tmp_path, f"{process}-small-s{seed}", value, seed=seed)
        for process, values in (("vp", steady), ("cld", lucky))
        for seed, value in enumerate(values)
    ]
    frame = leaderboard(outcomes, [], config)
    assert list(frame["cell"])[:3] == ["vp-small-s2", "vp-small-s0", "vp-small-s1"]
    assert frame["pair_validation"][0] == pytest.approx(0.30)
    assert frame["pair_spread"][0] == pytest.approx(0.01)
    choice = choose(frame)
    assert choice.cell == "vp-small-s2"
    assert "vp with small has the lowest mean sliced_w2" in choice.reason
    assert "over 3 training seeds, 0.300 ± 0.0100, of 2 pairs" in choice.reason
    assert "next is cld with small, 0.400" in choice.reason
    assert best_pairs(frame, 1) == [("vp", "small")]
    assert best_pairs(frame, 5) == [("vp", "small"), ("cld", "small")]


def test_a_pair_of_which_a_seed_diverged_comes_after_those_without(tmp_path: Path) -> None:
    config = experiment(seeds=[0, 1])
    outcomes = [
        outcome(tmp_path, "vp-small-s0", 0.1),
        outcome(tmp_path, "vp-small-s1", None, seed=1, details={"finite": 0.4}),
        outcome(tmp_path, "cld-small-s0", 0.3),
        outcome(tmp_path, "cld-small-s1", 0.3, seed=1),
    ]
    assert choose(leaderboard(outcomes, [], config)).cell == "cld-small-s0"


def test_cells_below_a_floor_come_last_and_a_cheap_rung_does_not_mind(tmp_path: Path) -> None:
    config = experiment()
    low = outcome(tmp_path, "vp-small-s0", 0.1, extra={"coverage": 0.004})
    good = outcome(tmp_path, "cld-small-s0", 0.3, extra={"coverage": 0.009})
    frame = leaderboard([low, good], [], config)
    assert choose(frame).cell == "cld-small-s0"
    assert "coverage 0.004 is 40.0% of real items'" in frame["error"][1]
    assert frame["status"].tolist() == ["ok", "ok"]
    alone = choose(leaderboard([low], [], config))
    assert alone.cell == "vp-small-s0" and "below the floors, as every cell is" in alone.reason
    assert best_pairs(leaderboard([low, good], [], config, trial=True), 1) == [("vp", "small")]


def test_what_a_rung_left_out_is_shown_without_a_rank(tmp_path: Path) -> None:
    config = experiment(seeds=[0])
    trials = [
        outcome(tmp_path, f"{name}-small-s0-20steps", value)
        for name, value in (("vp", 0.5), ("cld", 0.7))
    ]
    final = outcome(tmp_path, "vp-small-s0", 0.2)
    frame = searched_board(config, [final], [], [trials])
    assert list(frame["cell"]) == ["vp-small-s0", "cld-small-s0-20steps"]
    assert frame["status"].tolist() == ["ok", "left out"]
    assert frame["rank"].notna().tolist() == [True, False]
    assert choose(frame).excluded == {}
    assert frame["process"].tolist() == ["vp", "cld"]
