"""What a team's Prefect server needs: two work pools, and an automation that ends zombies.

    pool control    parents (lifecycle, publish)      pool gpu    cells: a worker per GPU, limit 1
    automation      a run whose process died with its worker would be "Running" for ever and hold its
                    deployment's slot; without a heartbeat it becomes Crashed

A run tells every 30 s that it lives (prefect.yaml asks for it; Prefect does so no more often); after
SILENCE seconds without a word, or an end, it is declared dead. Safe to repeat: what is there is left or
brought up to date.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from flows.embedded import is_embedded
from sgm_core.errors import SgmError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prefect.client.orchestration import SyncPrefectClient
    from prefect.events.schemas.automations import AutomationCore

POOLS = {
    "control": "parents: lifecycle, publish",
    "gpu": "cells; one worker per GPU, each with limit 1",
}
AUTOMATION = "sgm: runs without a heartbeat are crashed"
SILENCE = 90  # seconds
BEAT = "prefect.flow-run.heartbeat"
ENDS = ("Completed", "Failed", "Cancelled", "Crashed")


def set_up() -> list[str]:
    """Make the pools and the automation on the server of PREFECT_API_URL; return what was new.

    Raises:
        UsageError: PREFECT_API_URL is not set.
        SgmError: the server cannot be reached, or refuses.
    """
    with _client() as client:
        return [*_pools(client), *_automation(client)]


def _pools(client: SyncPrefectClient) -> list[str]:
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

    made = []
    for name, text in POOLS.items():
        try:
            client.read_work_pool(name)
        except ObjectNotFound:
            try:
                client.create_work_pool(WorkPoolCreate(name=name, type="process", description=text))
            except ObjectAlreadyExists:  # somebody else's `sgm init` was a moment faster
                continue
            made.append(f"work pool {name}")
    return made


def _automation(client: SyncPrefectClient) -> list[str]:
    wanted = zombies()
    known = client.read_automations_by_name(AUTOMATION)
    if not known:
        client.create_automation(wanted)
        return ["automation"]
    first, *more = known
    for automation in more:  # two that were made at once
        client.delete_automation(automation.id)
    if first.trigger.model_dump(exclude={"id"}) == wanted.trigger.model_dump(exclude={"id"}):
        return []
    client.update_automation(first.id, wanted)
    return ["automation"]


def zombies() -> AutomationCore:
    """Return the automation: after a heartbeat another one, or an end, is due within SILENCE."""
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import ChangeFlowRunState
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
    from prefect.events.schemas.events import ResourceSpecification

    return AutomationCore(
        name=AUTOMATION,
        description="made by sgm init --server",
        trigger=EventTrigger(
            after={BEAT},
            expect={BEAT, *(f"prefect.flow-run.{state}" for state in ENDS)},
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=SILENCE),
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                message=f"no sign of life for {SILENCE} s: its process or its machine is gone; "
                "run it again to go on from the last checkpoint",
            )
        ],
    )


def address() -> str:
    """Return the address of the Prefect server.

    Raises:
        UsageError: PREFECT_API_URL is not set.
    """
    url = os.environ.get("PREFECT_API_URL")
    if not url or is_embedded(url):
        raise UsageError("PREFECT_API_URL is not set; give it the address of the Prefect server")
    return url


@contextmanager
def _client() -> Iterator[Any]:
    """A client of the server; its failures become one sentence."""
    url = address()
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.exceptions import PrefectException

    try:
        with get_client(sync_client=True) as client:
            yield client
    except (httpx.HTTPError, PrefectException, OSError, RuntimeError) as error:
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise SgmError(
            f"the Prefect server at {url} failed: {why}; start it or correct PREFECT_API_URL"
        ) from None
