"""Nine cells on four workers, and what becomes of them."""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
from fake_tree import environment, log_of, make_job, make_tree

from flows.executors import LocalProcesses
from sgm_core.cell import Job, Outcome
from sgm_core.errors import SgmError

# What a minute of continuous integration allows; `make chaos` does everything.
FULL = os.environ.get("SGM_CHAOS") == "full"


def figures(title: str, **values: object) -> None:
    """Print what was measured."""
    print(f"\n{title}: " + ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in values.items()))


class Nine:
    """Nine jobs with the counting trainer, below one folder."""

    def __init__(self, root: Path, steps: int = 40, **failing: str) -> None:
        self.root, self.tree = root, make_tree(root)
        self.jobs: list[Job] = []
        for seed in range(9):
            more = {"fail": failing[f"s{seed}"]} if f"s{seed}" in failing else {}
            self.jobs.append(make_job(root, seed=seed, steps=steps, **more))
        self.outcomes: dict[str, Outcome] = {}
        self.failures: dict[str, str] = {}
        self.events: list[dict[str, Any]] = []

    def executor(self, slots: int = 4, **variables: str) -> LocalProcesses:
        return LocalProcesses(slots, [], environment(self.tree, self.root, **variables))

    def run(self, executor: LocalProcesses) -> None:
        """Run all of them, and wait."""

        def work(job: Job) -> None:
            try:
                self.outcomes[job.spec.name] = executor.run(job, self.events.append)
            except SgmError as error:
                self.failures[job.spec.name] = str(error)

        with ThreadPoolExecutor(9) as pool:
            list(pool.map(work, self.jobs))

    def trainings(self) -> Counter[str]:
        """How often each cell was trained to its end."""
        lines = [line.split() for line in log_of(self.root)]
        return Counter(words[1] for words in lines if words[0] == "trained")

    def hashes(self) -> dict[str, str]:
        """SHA-256 of every cell's weights."""
        files = {name: o.cell.manifest["files"] for name, o in self.outcomes.items()}
        return {name: entry["model.safetensors"]["sha256"] for name, entry in files.items()}


class Shooter:
    """Kills (kill -9) `shots` random workers of this process at random times."""

    def __init__(self, shots: int, seed: int, pause: tuple[float, float]) -> None:
        self.shots, self.rng, self.pause, self.hit = shots, random.Random(seed), pause, 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._shoot)

    def __enter__(self) -> Shooter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _shoot(self) -> None:
        while self.hit < self.shots and not self._over.wait(self.rng.uniform(*self.pause)):
            workers = psutil.Process().children()
            with contextlib.suppress(psutil.Error, IndexError):
                target = self.rng.choice(workers)
                if "sgm_core.worker" in target.cmdline():
                    target.kill()
                    self.hit += 1


def waited(condition: Any, seconds: float) -> bool:
    """Wait for a condition; whether it came."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
