"""The search of an experiment: its rungs with their jobs, run or looked up in the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flows.project import Project
from sgm_core.cell import CELLS, EVALUATIONS, Outcome, lookup
from sgm_core.config.experiment import ExperimentConfig
from sgm_core.errors import SgmError, UsageError
from sgm_core.job import COMPARE_SAMPLERS, Job, jobs_of
from sgm_core.sample.names import SAMPLERS, sampler_fits
from sgm_core.search import Pair, Rung, Stage, rungs_of, walk
from sgm_core.store import Store
from sgm_core.store.manifest import MANIFEST

if TYPE_CHECKING:
    from sgm_core.report.choice import Choice


@dataclass(frozen=True)
class Searched:
    """A search as far as it went.

    Attributes:
        stages: its rungs, the final one last if it was reached.
    """

    stages: Sequence[Stage[Outcome]]

    @property
    def complete(self) -> bool:
        """Whether the final rung was reached: a cheap one may have nothing that can be chosen."""
        return self.stages[-1].rung.final

    @property
    def jobs(self) -> dict[str, Job]:
        """The jobs of the final rung by cell name."""
        return dict(self.stages[-1].jobs) if self.complete else {}

    @property
    def finals(self) -> dict[str, Outcome]:
        """The finished cells of the final rung by name."""
        return dict(self.stages[-1].done) if self.complete else {}

    @property
    def cheap(self) -> list[list[Outcome]]:
        """The finished cells of each cheap rung."""
        return [list(stage.done.values()) for stage in self.stages if not stage.rung.final]

    @property
    def all_jobs(self) -> list[Job]:
        """The jobs of all rungs."""
        return [job for stage in self.stages for job in stage.jobs.values()]

    @property
    def missing(self) -> list[str]:
        """Cells that are not finished."""
        return sorted(
            name for stage in self.stages for name in stage.jobs if name not in stage.done
        )

    def choice(self, config: ExperimentConfig) -> Choice:
        """Choose among the finished cells of the final rung."""
        from sgm_core.report.choice import choose
        from sgm_core.report.content import searched_board

        # A seed that is missing counts against its pair: luck with the others must not win.
        out = [
            (job.spec, "not finished") for name, job in self.jobs.items() if name not in self.finals
        ]
        return choose(searched_board(config, list(self.finals.values()), out, self.cheap))


def search(
    project: Project,
    experiment: str,
    run: Callable[[Mapping[str, Job]], Mapping[str, Outcome]],
) -> Searched:
    """Go through the rungs of an experiment.

    Args:
        run: jobs by cell name -> the finished ones.

    Raises:
        UsageError: the experiment is unknown, or a network does not fit its data.
        SgmError: its data stages have not run.
    """
    config = project.config().experiment(experiment)

    def jobs(rung: Rung, pairs: Sequence[Pair] | None) -> Mapping[str, Job]:
        return jobs_in(project, experiment, rung, pairs)

    def best(done: Mapping[str, Outcome], count: int) -> Sequence[Pair]:
        from sgm_core.report.choice import best_pairs
        from sgm_core.report.leaderboard import leaderboard

        return best_pairs(leaderboard(done.values(), [], config, trial=True), count)

    return Searched(walk(rungs_of(config), jobs, run, best))


def looked_up(project: Project, experiment: str) -> Searched:
    """Return the search of an experiment as the store knows it; the errors of `search`."""

    def find(jobs: Mapping[str, Job]) -> dict[str, Outcome]:
        found = {name: lookup(job) for name, job in jobs.items()}
        return {name: outcome for name, outcome in found.items() if outcome is not None}

    return search(project, experiment, find)


def compared_samplers(config: ExperimentConfig, searched: Searched) -> list[Job]:
    """Return the jobs that measure the chosen cell, one for each sampler.

    Empty if no cell is chosen or no sampler is asked for.
    """
    if not searched.finals or config.evaluation.samplers == ():
        return []
    name = searched.choice(config).cell
    if name is None:
        return []
    job, outcome = searched.jobs[name], searched.finals[name]
    process = next(p for p in config.processes.values() if p.kind == outcome.spec.process["kind"])
    samplers = config.evaluation.samplers
    if samplers is None:
        samplers = tuple(s for s in SAMPLERS if sampler_fits(s, process.langevin))
    job = replace(job, task=COMPARE_SAMPLERS)
    return [
        replace(job, evaluation={**job.evaluation, "samplers": [sampler], "under": []})
        for sampler in samplers
    ]


def jobs_in(
    project: Project,
    experiment: str,
    rung: Rung | None = None,
    pairs: Sequence[Pair] | None = None,
) -> dict[str, Job]:
    """Return the jobs of an experiment's grid by cell name.

    Args:
        rung, pairs: of the search; None: the final rung, with every pair of process and network.

    Raises:
        UsageError: the experiment is unknown, or a network does not fit its data.
        SgmError: its data stages have not run.
    """
    config = project.config().experiment(experiment)
    for folder, stage in (
        (project.prepared(experiment) / "dataset.json", "prepare"),
        (project.reference(experiment) / "reference.json", "reference"),
    ):
        if not folder.is_file():
            raise SgmError(f"{folder} is missing; run: sgm {stage} {experiment} (or dvc repro)")
    data, reference = project.prepared(experiment), project.reference(experiment)
    jobs = jobs_of(config, data, reference, project.store, rung, pairs)
    if not jobs:
        raise UsageError(f"experiments.{experiment}: the grid is empty; name a process and a net")
    return {job.spec.name: job for job in jobs}


def first_due(project: Project, experiment: str) -> tuple[int, Job | None]:
    """Return how many cells a rung has at most, and a job that is left to do (None: nothing is).

    A look at names alone: nothing is verified. The errors of `jobs_in`.
    """
    rungs = rungs_of(project.config().experiment(experiment))
    store, due = Store(project.store), None
    for rung in dict.fromkeys((rungs[0], rungs[-1])):  # one rung without `search`
        jobs = jobs_in(project, experiment, None if rung.final else rung)
        left = [job for job in jobs.values() if not _is_there(store, job)]
        if len(jobs) - len(left) < rung.pairs * len(rung.seeds):
            due = due or left[0]
    return max(rung.pairs * len(rung.seeds) for rung in rungs), due


def _is_there(store: Store, job: Job) -> bool:
    key = job.spec.key
    keys = ((CELLS, key), (EVALUATIONS, job.evaluation_spec(key).key))
    return all((store.path(kind, name) / MANIFEST).is_file() for kind, name in keys)


def all_jobs(project: Project, experiment: str) -> dict[str, Job]:
    """Return every job that the search of an experiment can run; the errors of `jobs_in`."""
    rungs = rungs_of(project.config().experiment(experiment))
    found: dict[str, Job] = {}
    for rung in (None, *(rung for rung in rungs if not rung.final)):
        found |= jobs_in(project, experiment, rung)
    return found
