"""A version that the server knows: its verified files, what is said of it, and its networks."""

from __future__ import annotations

import copy
import functools
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from torch import nn

from sgm_core.bundle import CONFIG, WEIGHTS
from sgm_core.config.custom import is_custom
from sgm_core.config.process import PROCESSES
from sgm_core.config.training import SamplingConfig
from sgm_core.errors import SgmError
from sgm_core.export.bundle import (
    MANIFEST,
    ONNX,
    PUBLISHED,
    SAFETENSORS,
    read_bundle_manifest,
)
from sgm_core.export.variant import open_variant
from sgm_core.generate import sampler_of
from sgm_core.model import ScoreModel
from sgm_core.process import make_process
from sgm_core.process.base import Process
from sgm_core.sample.grids import make_grid
from sgm_core.store.files import sha256_file
from studio.batcher import Batcher, Observe

# What the engine in the page can compute.
BROWSER_NETS = ("mlp", "unet")
# And what a visitor need not wait for: 8 million weights, one evaluation of which takes seconds there.
BROWSER_BYTES = 32_000_000


@dataclass(eq=False)
class Loaded:
    """A network in memory: the batcher that evaluates it, and the model around it."""

    batcher: Batcher
    base: ScoreModel

    def model(self, network: nn.Module) -> ScoreModel:
        """Return the model with a network in its place."""
        other = copy.copy(self.base)
        other.net = network
        return other


@dataclass(eq=False)
class Slot:
    """Where a network is, or will be once somebody has loaded it."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    loaded: Loaded | None = None
    users: int = 0


class Networks:
    """Networks in memory, at most `most` that nobody uses; the one unused longest goes first.

    Args:
        threads: of one evaluation.
        rows, wait, observe: see `Batcher`.
    """

    def __init__(
        self,
        threads: int = 1,
        rows: int = 64,
        wait: float = 0.002,
        most: int = 8,
        observe: Observe = lambda rows, seconds: None,
    ) -> None:
        self.threads, self.rows, self.wait, self.most = threads, rows, wait, most
        self.observe = observe
        self._slots: dict[tuple[Opened, str], Slot] = {}
        self._lock = threading.Lock()

    @contextmanager
    def use(self, opened: Opened, variant: str) -> Iterator[Loaded]:
        """Yield a network, loaded if it is not; it stays within this block.

        Raises:
            SgmError: its file cannot be read.
        """
        key = opened, variant
        with self._lock:
            slot = self._slots.pop(key, None) or Slot()
            self._slots[key] = slot  # the newest stands last
            slot.users += 1
        try:
            with slot.lock:
                if slot.loaded is None:
                    slot.loaded = self._load(opened, variant)
            yield slot.loaded
        finally:
            with self._lock:
                slot.users -= 1
                self._shrink()

    def forget(self, opened: Opened) -> None:
        """Unload the networks of a version that is gone, now or as soon as nobody uses them."""
        with self._lock:
            opened.gone = True
            self._shrink()

    def close(self, seconds: float) -> None:
        """Unload all of them, waiting for each at most so long."""
        with self._lock:
            slots, self._slots = list(self._slots.values()), {}
        for slot in slots:
            if slot.loaded is not None:
                slot.loaded.batcher.close(seconds)

    def _shrink(self) -> None:
        free = [key for key, slot in self._slots.items() if not slot.users]
        over = free[: max(0, len(free) - self.most)]
        for key in free:
            if key[0].gone or key in over:
                loaded = self._slots.pop(key).loaded
                if loaded is not None:
                    loaded.batcher.close()

    def _load(self, opened: Opened, variant: str) -> Loaded:
        model = open_variant(opened.folder, opened.manifest, variant, self.threads)
        net = model.net.requires_grad_(False).eval()
        batcher = Batcher(net, bool(model.labels), self.rows, self.wait, self.observe)
        return Loaded(batcher, model)


class Opened:
    """A version whose files were verified. Drawing from it needs no file but its networks'.

    Args:
        folder: its files, which belong to the server alone.
        name, number: of the registered model.
        networks: where its networks are held.

    Raises:
        SgmError: a file is damaged or missing, or this installation cannot compute the model.
    """

    def __init__(self, folder: Path, name: str, number: int, networks: Networks) -> None:
        self.folder, self.name, self.number, self.networks = folder, name, number, networks
        self.gone = False
        self.manifest = manifest_of(folder, name, number)
        self.model = ScoreModel.load(folder)  # its weights are compared with their hash here
        self.model.net = nn.Identity()  # networks are loaded when they are needed
        self.config = self.model.config
        self.config["sampling"] = SamplingConfig(**self.config["sampling"]).model_dump(mode="json")
        self._processes: dict[str, Process] = {}
        self._steps = functools.lru_cache(1000)(self._checked_steps)

    def network(self, variant: str) -> AbstractContextManager[Loaded]:
        """Yield one of its networks, loaded if it is not."""
        return self.networks.use(self, variant)

    def try_out(self) -> None:
        """Draw a sample of two steps.

        Raises:
            SgmError: the network cannot be evaluated, or what it gives is not finite.
        """
        variant = self.default_variant()
        with self.network(variant) as network:
            x = network.model(network.base.net).generate(1, steps=2, sampler="ddim")
        if not np.isfinite(x).all():
            raise SgmError(f"its network ({variant}) gives NaN or infinity")

    def warm(self) -> None:
        """Have its network in memory, and among the last to go."""
        with self.network(self.default_variant()):
            pass

    # -- what can be asked of it -----------------------------------------------------------------

    @property
    def size(self) -> int:
        """Numbers of one item."""
        return int(np.prod(self.model.shape))

    def default_variant(self) -> str:
        """Return the ONNX graph if there is a good one, else the weights as trained."""
        entry = self.manifest["variants"].get("onnx", {})
        return "onnx" if entry.get("status") == PUBLISHED else "fp32"

    def differentiable(self) -> list[str]:
        """Return the variants that an item can be completed with: those that PyTorch evaluates."""
        entries = self.manifest["variants"].items()
        return [name for name, entry in entries if entry["format"] == SAFETENSORS]

    def process(self, name: str | None) -> Process | None:
        """Return the process of this name; None: the one it was trained under.

        Raises:
            UsageError: there is no such process.
        """
        if name is None or name == self.config["process"]["kind"]:
            return None
        if name not in self._processes:
            self._processes[name] = make_process(name)
        return self._processes[name]

    def steps(self, settings: SamplingConfig, process: str | None) -> int:
        """Return how many steps a sampler takes.

        Raises:
            UsageError: the sampler, or its grid, does not fit the process.
        """
        return self._steps(settings.model_dump_json(), process)

    def _checked_steps(self, settings: str, process: str | None) -> int:
        chosen = SamplingConfig.model_validate_json(settings)
        forward = (self.process(process) or self.model.process).marginal
        # The tables of two steps tell what those of a hundred do.
        walk = sampler_of(chosen.model_copy(update={"steps": 2}))
        walk.process = forward
        walk.times = make_grid(forward, walk.steps, walk.grid, walk.sigma_min)
        walk.prepare(forward, walk.times)
        return sampler_of(chosen).steps

    def listed_processes(self) -> list[str]:
        """Return the processes it can be sampled under, its own first."""
        own = self.config["process"]["kind"]
        return [own, *(kind for kind in PROCESSES if kind != own)]

    def browser(self) -> str:
        """Return why the page's own engine cannot draw from it; "" if it can."""
        process, net = self.config["process"]["kind"], self.config["net"]["kind"]
        if is_custom(process):
            return f"its process {process} is code of its own, which only the server runs"
        if net not in BROWSER_NETS:
            return f"its network {net} is known to the server only"
        size = self.manifest["files"][WEIGHTS]["bytes"]
        if size > BROWSER_BYTES:
            return (
                f"its weights are {size / 1e6:.0f} MB, and the page fetches up to "
                f"{BROWSER_BYTES / 1e6:.0f} MB"
            )
        return ""

    def files(self) -> str:
        """Return the address of its files."""
        return f"/api/models/{quote(self.name, safe='')}/{self.number}/files/"


def manifest_of(folder: Path, name: str, number: int) -> dict[str, Any]:
    """Return bundle.json, every file compared with its hash; without one, the same of a plain model.

    Raises:
        SgmError: a file is damaged or missing.
    """
    if (folder / MANIFEST).is_file():
        manifest = read_bundle_manifest(folder)
        if unknown := sorted(
            v for v, entry in manifest["variants"].items() if not _well_formed(entry)
        ):
            raise SgmError(f"{folder / MANIFEST} is damaged (variant {unknown[0]})")
        return manifest
    files = {
        path: {"sha256": sha256_file(folder / path), "bytes": (folder / path).stat().st_size}
        for path in (CONFIG, WEIGHTS)
        if (folder / path).is_file()
    }
    entry = {"file": WEIGHTS, "format": SAFETENSORS, "status": PUBLISHED, "metrics": {}}
    about = {"name": name, "version": number, "cell_key": ""}
    return {**about, "files": files, "variants": {"fp32": entry}}


def _well_formed(entry: Any) -> bool:
    if not isinstance(entry, dict):
        return False
    texts = all(isinstance(entry.get(key), str) for key in ("file", "format", "status"))
    known = entry.get("format") in (SAFETENSORS, ONNX)
    return texts and known and isinstance(entry.get("metrics", {}), dict)
