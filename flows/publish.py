"""Publish the best finished cell of an experiment: register it, decide on the champion.

The cell is chosen on the validation split; the decision about the champion falls on the test split,
with fresh samples (`flows.judging`), and only a version whose files are whole and that loads in a
clean process is promoted (`flows.verify`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import flow, get_run_logger

from flows.bundling import bundle_of_champion
from flows.cell import metric_of
from flows.judging import Judge
from flows.lineage import lineage, lineage_document
from flows.packaging import PICTURES, log_model
from flows.progress import display
from flows.project import Project
from flows.registry import SAMPLING, Candidate, Decision, model_name, submit
from flows.searching import Searched, all_jobs, looked_up
from flows.setup import initialise
from flows.tracking import CellRun, Tracking
from flows.verify import loads, log_files, verified
from flows.versions import Registry
from sgm_core.errors import SgmError
from sgm_core.store.files import canonical_json

if TYPE_CHECKING:
    from sgm_core.cell import Outcome
    from sgm_core.config import ExperimentConfig
    from sgm_core.evaluate.decision import Verdict


@flow(
    name="publish",
    flow_run_name="publish {experiment}",
    persist_result=False,
    validate_parameters=False,
)
def publish(experiment: str, root: str = ".", allow_failures: bool = False) -> str:
    """Register the best cell of an experiment and return what was decided, as a sentence, and one on
    the champion's bundle.

    Args:
        experiment: name of the experiment.
        root: the project's folder.
        allow_failures: publish the best finished cell although others are not finished.

    Raises:
        SgmError: a cell is not finished, no cell can be chosen, or MLflow failed.
    """
    project, log = Project.find(Path(root)), get_run_logger()
    initialise(project, prefect=False)
    decision = publish_best(project, experiment, allow_failures, log.info)
    text = sentence(decision)
    log.info("%s", text)
    if project.config().experiment(experiment).publish.bundle:
        with display() as shown:
            about = bundle_of_champion(
                Registry(project), experiment, log.info, lambda event: shown.event("bundle", event)
            )
        text += f"; {about}" if about else ""
    return text


def publish_best(
    project: Project, experiment: str, allow_failures: bool, log: Callable[[str], None]
) -> Decision:
    """Do the work of the flow `publish`; the same errors."""
    config = project.config().experiment(experiment)
    searched = looked_up(project, experiment)
    name, reason = _choose(config, searched, allow_failures)
    job, outcome = searched.jobs[name], searched.finals[name]
    tags = lineage(project, outcome) | {SAMPLING: canonical_json(job.sampling).decode()}
    tracking = Tracking(project, experiment)
    parent = tracking.parent(all_jobs(project, experiment).values())
    with CellRun(tracking, parent, job) as run:
        run_id = run.finish(outcome)
    card = Card(config, outcome, reason, tags)
    metric = metric_of(project, experiment)
    with display() as shown, tracking.errors():
        judge = Judge(tracking, config, job, outcome, metric, tags, log,
                      lambda event: shown.event("decision", event))  # fmt: skip

        def upload(version: int) -> tuple[str, dict[str, str]]:
            text, record = card.text(version, None, *PICTURES), lineage_document(outcome, tags)
            uri = log_model(tracking, run_id, outcome, job.sampling, text, record)
            return uri, log_files(tracking, run_id, uri)

        def check(version: Any) -> str:
            return loads(verified(tracking, version))

        candidate = Candidate(
            experiment, tags, run_id, judge, upload, card.short, check,
            verify=lambda version: verified(tracking, version),
        )  # fmt: skip
        decision = submit(project, tracking.client, candidate)
        if decision.verdict is not None:
            card.log(tracking, run_id, decision)
    return decision


class Card:
    """The model card of a candidate, before and after the decision.

    Args:
        config, outcome, reason: the experiment, the cell, and why it was chosen.
        tags: its lineage.
    """

    def __init__(
        self, config: ExperimentConfig, outcome: Outcome, reason: str, tags: dict[str, str]
    ) -> None:
        self.config, self.outcome, self.reason, self.tags = config, outcome, reason, tags

    def text(self, version: int, verdict: Verdict | None, *pictures: str) -> str:
        """Return the card as Markdown."""
        from sgm_core.report.card import model_card

        name = model_name(self.config.name)
        return model_card(
            name, version, self.config, self.outcome, self.reason, self.tags, verdict,
            pictures=pictures,
        )  # fmt: skip

    def short(self, version: int, verdict: Verdict | None) -> str:
        """Return as much of the card as the registry's description holds."""
        from sgm_core.report.card import shortened

        return shortened(self.text(version, verdict))

    def log(self, tracking: Tracking, run_id: str, decision: Decision) -> None:
        """Log the card with its decision to the run of the cell, as Markdown and as a page."""
        from sgm_core.report.card_page import card_page

        text = self.text(decision.version, decision.verdict, *PICTURES)
        page = card_page(text, self.outcome.evaluation.path)
        place = f"card/version-{decision.version}"
        with tracking.errors():
            tracking.client.log_text(run_id, text, f"{place}.md")
            tracking.client.log_text(run_id, page, f"{place}.html")


def sentence(decision: Decision) -> str:
    """Return a decision as one line."""
    name = f"{decision.model} version {decision.version}"
    if decision.action == "promoted":
        return f"{name} is the new champion: {decision.reason}"
    if decision.action == "unchanged":
        return f"{name} stays the champion: {decision.reason}"
    if decision.champion is None:
        return f"{name} is not promoted: {decision.reason}"
    return f"{name} is the challenger of version {decision.champion}: {decision.reason}"


def _choose(config: ExperimentConfig, searched: Searched, allow_failures: bool) -> tuple[str, str]:
    """Return the chosen cell and why it was chosen.

    Raises:
        SgmError: cells are not finished, or none can be chosen.
    """
    missing = searched.missing
    if missing and not (allow_failures and searched.finals):
        raise SgmError(
            f"{config.name}: {len(missing)} of {len(searched.all_jobs)} cells are not finished "
            f"({', '.join(missing)}); run: sgm grid {config.name}"
            + (", or publish with --allow-failures" if searched.finals else "")
        )
    choice = searched.choice(config)
    if choice.cell is None:
        why = "; ".join(f"{cell}: {text}" for cell, text in choice.excluded.items())
        raise SgmError(f"{config.name}: no cell can be published ({why})")
    return choice.cell, choice.reason
