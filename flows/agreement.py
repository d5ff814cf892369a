"""Whether an agent would compute the very cell that a grid asks for.

A key stands for parameters, data, code and torch's release (sgm_core.spec). The parameters and the
data's digest travel with a job; code and torch are whatever the agent has. From another commit it
derives another key, and its result would lie where nobody looks. So a job carries the key that is
expected, and where it comes from, and an agent that derives another one refuses.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping

from flows.lineage import environment_tags
from sgm_core.code import ROOT
from sgm_core.device import torch_release
from sgm_core.job import Job

SHORT = 12  # letters of a commit
COMMIT, EDITED = "commit ", " with edits"


def origin() -> dict[str, str]:
    """Return where keys come from as far as no job tells: host, commit of the code, torch's release."""
    tags = environment_tags(ROOT)
    commit = tags.get("sgm.git_commit", "")[:SHORT]
    edited = EDITED if tags.get("sgm.git_dirty") == "true" else ""
    return {
        "host": socket.gethostname(),
        "commit": f"{COMMIT}{commit}{edited}" if commit else "code without a commit",
        "torch": f"torch {torch_release()}",
    }


def key_of(job: Job) -> str:
    """What a job computes: the key of its evaluation, which contains that of its cell."""
    return job.evaluation_spec(job.spec.key).key


def refusal(job: Job | None, key: str, asked: Mapping[str, str]) -> str:
    """Say why this agent must not compute a job; "" if it may.

    Args:
        job: None: it could not even be read.
        key: what the grid expects, by `key_of`.
        asked: `origin` of the grid.
    """
    if job is not None and key_of(job) == key:
        return ""
    here = origin()
    what = "torch" if asked["torch"] != here["torch"] else "commit"
    return (
        f"the agent on {here['host']} would compute another cell: it has {here[what]}, and the grid "
        f"on {asked['host']} has {asked[what]}; {_advice(what, asked['commit'])}"
    )


def _advice(what: str, commit: str) -> str:
    if what == "torch":
        return "run there: make env"
    if not commit.startswith(COMMIT) or commit.endswith(EDITED):
        return "commit what is edited where the grid runs, and get that commit there"
    return f"run there: git stash && git fetch && git checkout {commit.split()[1]} && make env"
