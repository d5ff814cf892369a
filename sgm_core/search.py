"""Successive halving over the grid: cheap rungs leave out what is plainly worse.

    rung 1     every pair of process and network, one seed, a share r_1 of the steps
    ...        the best n_i of them, a share r_i
    final      the best F pairs, every seed, all steps

    cost = sum_i n_i r_i + F S   in full trainings,    n_i = P (F / P)^((i - 1) / k)

for P pairs, k cheap rungs and S seeds; F is the largest number that the budget pays for. A cheap
rung is judged on the validation split and by no other number. Finalists are trained anew: the
learning rate's schedule depends on the number of steps, so a short training is not the beginning
of a long one. Source: Jamieson & Talwalkar 2016, arXiv 1502.07943.

No torch and no pandas is imported here: `sgm check` prints the plan.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sgm_core.errors import UsageError

if TYPE_CHECKING:
    from sgm_core.config.experiment import ExperimentConfig

Pair = tuple[str, str]  # labels of a process and of a network
Done = TypeVar("Done")


@dataclass(frozen=True)
class Rung:
    """One rung of the search.

    Attributes:
        steps: optimiser steps of its cells.
        pairs: how many pairs are trained.
        seeds: with which seeds.
        final: whether these cells may be published.
    """

    steps: int
    pairs: int
    seeds: tuple[int, ...]
    final: bool


@dataclass(frozen=True)
class Stage(Generic[Done]):
    """A rung as it went: its jobs, and those that are finished, by cell name."""

    rung: Rung
    jobs: Mapping[str, Any]
    done: Mapping[str, Done]


def rungs_of(experiment: ExperimentConfig) -> tuple[Rung, ...]:
    """Return the rungs of an experiment, the last one final; without `search` that one alone.

    Raises:
        UsageError: the budget does not pay for one finalist; begins with "search.budget".
    """
    pairs, seeds = len(experiment.processes) * len(experiment.nets), experiment.seeds
    steps, search = experiment.training.steps, experiment.search
    final = Rung(steps, pairs, seeds, final=True)
    if search is None or pairs * len(seeds) <= search.budget:
        return (final,)
    counts = [_counts(pairs, f, len(search.rungs)) for f in range(pairs, 0, -1)]
    costs = [_cost(n, search.rungs, len(seeds)) for n in counts]
    affordable = [n for n, cost in zip(counts, costs, strict=True) if cost <= search.budget]
    if not affordable:
        raise UsageError(
            f"search.budget: {search.budget:g} is not enough: {pairs} pairs in the cheap rungs and "
            f"one finalist with {len(seeds)} seeds cost {costs[-1]:.3g} full trainings; "
            "write at least that, or fewer or shorter rungs"
        )
    *cheap, finalists = affordable[0]
    return (
        *(
            Rung(max(1, round(share * steps)), count, seeds[:1], final=False)
            for share, count in zip(search.rungs, cheap, strict=True)
        ),
        Rung(steps, finalists, seeds, final=True),
    )


def plan_in_words(experiment: ExperimentConfig) -> str:
    """Return the rungs as one line: "8 cells of 625 steps, then 2 x 3 seeds of 2,500"."""
    words = []
    for rung in rungs_of(experiment):
        cells = "cell" if rung.pairs == 1 else "cells"
        seeds = f" x {len(rung.seeds)} seeds" if len(rung.seeds) > 1 else f" {cells}"
        words.append(f"{rung.pairs}{seeds} of {rung.steps:,} steps")
    return ", then ".join(words)


def walk(
    rungs: Sequence[Rung],
    jobs: Callable[[Rung, Sequence[Pair] | None], Mapping[str, Any]],
    run: Callable[[Mapping[str, Any]], Mapping[str, Done]],
    best: Callable[[Mapping[str, Done], int], Sequence[Pair]],
) -> list[Stage[Done]]:
    """Go through the rungs; each trains the best pairs of the one before it.

    Args:
        rungs: of `rungs_of`.
        jobs: rung, pairs (None: all) -> its jobs by cell name.
        run: jobs -> those that are finished; or looks them up.
        best: finished cells, n -> the n best pairs, fewer if fewer can be chosen.

    Returns:
        The stages. A search in which nothing can be chosen ends early.
    """
    stages: list[Stage[Done]] = []
    pairs: Sequence[Pair] | None = None
    for rung in rungs:
        if pairs is not None:
            pairs = best(stages[-1].done, rung.pairs)
            if not pairs:
                break
        due = jobs(rung, pairs)
        stages.append(Stage(rung, due, run(due)))
        pairs = pairs or ()
    return stages


def _counts(pairs: int, finalists: int, cheap: int) -> list[int]:
    ratio = finalists / pairs
    return [*(round(pairs * ratio ** (i / cheap)) for i in range(cheap)), finalists]


def _cost(counts: Sequence[int], shares: Sequence[float], seeds: int) -> float:
    cheap = sum(n * share for n, share in zip(counts[:-1], shares, strict=True))
    return cheap + counts[-1] * seeds
