"""The numbers of docs/control.md, as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from control_champion import Array, Champion

from sgm_core.control import Conditioned, Mask
from sgm_core.control.api import colourise, edit, inpaint, interpolate
from sgm_core.control.paths import edit_level
from sgm_core.evaluate.draw import Progress, draw, shares_of_classes
from sgm_core.oracle import MixtureDenoiser
from sgm_core.process import make_process
from sgm_core.report.markdown import escape, table, with_interval
from sgm_core.report.words import measured, plain
from sgm_core.sample import make_sampler
from sgm_core.sample.grids import make_grid
from sgm_core.store import Store
from sgm_core.store.files import read_json


def measure_models(found: dict[str, Champion]) -> str:
    """What the champions are, and their distance on the test split as their report has it."""
    rows = []
    for c in found.values():
        config = c.model.config
        shape = " x ".join(map(str, c.data.shape))
        process, net = config["process"]["kind"], config["net"]["kind"]
        row = _leaderboard_row(c, config["weights"]["sha256"])
        steps = "-"
        if row and (entry := Store(c.project.store).find("cells", row["cell_key"])):
            steps = f"{read_json(entry.path / 'summary.json')['steps']:,}"
        fd = with_interval(row.get("fd"), row.get("fd_low"), row.get("fd_high")) if row else "-"
        floor = measured(row["fd_floor"]) if row else "-"
        rows.append([f"`sgm-{c.name}`", shape, escape(f"{process}, {net}"),
                     f"{c.model.parameters:,}", steps, fd, floor])  # fmt: skip
    head = ["model", "items", "process, network", "parameters", "training steps",
            "FD on the test split (95 % interval)", "FD, real against real"]  # fmt: skip
    return table(head, rows, "lllrrrr")


def _leaderboard_row(c: Champion, sha256: str) -> dict[str, Any]:
    """Return what the report says of these weights, or nothing."""
    import pandas as pd

    file = c.project.report(c.name) / "leaderboard.parquet"
    rows: list[Any] = pd.read_parquet(file).to_dict("records") if file.is_file() else []
    return next((dict(row) for row in rows if row["weights_sha256"] == sha256), {})


def measure_guidance(c: Champion, n: int = 1000) -> str:
    """Quality and variety of n samples at each guidance weight."""
    names = ("agreement", "fd", "precision", "recall")
    labels = shares_of_classes(c.data.split("train").labels, len(c.model.labels), n, 0)
    rows = []
    for w in (0.0, 1.0, 1.5, 2.0, 4.0, 8.0):
        settings = {"guidance": w, "steps": c.model.config["sampling"]["steps"]}
        drawn = draw(c.model, n, seed=0, batch=250, settings=settings, labels=labels, span=c.span,
                     embed=c.held.embed, progress=Progress(lambda e: None, 1))  # fmt: skip
        found = c.metrics(drawn, *names)
        rows.append([plain(w), f"{found['agreement']:.1%}",
                     *(measured(found[name]) for name in names[1:]), str(drawn.nfe)])  # fmt: skip
    head = ["w", "agreement with the class", "FD", "precision", "recall", "evaluations"]
    return table(head, rows, "rrrrrr")


def measure_completions(c: Champion) -> str:
    """The law of completions of all test images, against that of the images."""
    test = c.data.split("test")
    x, labels, known = test.x.astype(float), test.labels, np.ones(c.data.shape[1:])
    known[:, known.shape[1] // 2 :] = 0
    ways: dict[str, Array] = {
        "the test images themselves": x,
        "right half drawn": inpaint(c.model, x, known).x,
        "right half drawn, class given": inpaint(c.model, x, known, label=labels).x,
        "all of it drawn, no class": c.model.generate(len(x), label=-1),
    }
    rows, classes = [], len(c.model.labels)
    for way, made in ways.items():
        drawn = c.seen(made)
        judged = c.judged(drawn)
        shares = [np.bincount(k, minlength=classes) / len(k) for k in (judged, labels)]
        same = "-" if "all" in way else f"{(judged == labels).mean():.1%}"
        off = np.abs(shares[0] - shares[1]).max()
        rows.append([way, measured(c.metrics(drawn, "fd")["fd"]), same, f"{off:.1%}"])
    head = [f"{len(x)} images", "FD", "of the original's class", "largest error of a class's share"]
    return table(head, rows, "lrrr")


def measure_modes(n: int = 4000, std: float = 0.3, share: float = 0.9) -> str:
    """Two equal modes, the first coordinate known: drawn share of the mode that has 90 %."""
    rows = []
    for distance in (0.5, 1.0, 2.0, 4.0, 8.0):
        half = distance * std / 2
        means = torch.tensor([[-half, -1.0], [half, 1.0]], dtype=torch.float64)
        value = np.log(share / (1 - share)) * std**2 / (2 * half)
        obs = torch.tensor([[value, 0.0]], dtype=torch.float64)
        found = []
        for kind in ("vp", "cld"):
            oracle = MixtureDenoiser(torch.full((2,), 0.5, dtype=torch.float64), means,
                                     torch.full((2,), std, dtype=torch.float64),
                                     make_process(kind))  # fmt: skip
            conditioned = Conditioned(oracle, Mask(torch.tensor([1, 0])), obs)
            x = make_sampler("multistep_sde", steps=50, sigma_min=0.01)(conditioned, (n, 2), 0)
            found.append(f"{float((x[:, 1] > 0).double().mean()):.1%}")
        rows.append([plain(distance), f"{share:.0%}", *found])
    head = ["distance of the modes, in their deviations", "true share", "drawn, vp", "drawn, cld"]
    return table(head, rows, "rrrr")


def measure_colours(c: Champion, count: int = 16) -> str:
    """How well gray values are kept, and how much colourings differ."""
    gray = c.data.split("test").x[:count].astype(float).mean(1, keepdims=True)
    made = colourise(c.model, gray, n=2).x
    error = np.abs(made.mean(1, keepdims=True) - gray.repeat(2, 0)) / (c.span[1] - c.span[0])
    two = made.reshape(count, 2, *made.shape[1:])
    apart = np.sqrt(((two[:, 0] - two[:, 1]) ** 2).mean()) / (c.span[1] - c.span[0])
    return (f"Of {2 * count} colourings of {count} test images the mean over channels misses the "
            f"given one by {error.mean():.2%} of the range on average and {error.max():.1%} at "
            f"most; two colourings of one image differ by {apart:.0%} (root mean square).\n"
            )  # fmt: skip


def measure_codes(found: dict[str, Champion], count: int = 5) -> str:
    """What encoding and decoding leave of 2 count test images."""
    rows = []
    for c in found.values():
        x = c.data.split("test").x[: 2 * count].astype(float)
        for steps in (25, 100):
            ends = [interpolate(c.model, a, b, 2, steps=steps).x
                    for a, b in x.reshape(count, 2, *x.shape[1:])]  # fmt: skip
            error = np.abs(np.concatenate(ends) - x) / (c.span[1] - c.span[0])
            rows.append(
                [f"`sgm-{c.name}`", str(steps), f"{error.mean():.2%}", f"{error.max():.1%}"]
            )
    return table(["model", "steps", "mean error", "largest error"], rows, "lrrr")


def measure_edits(c: Champion) -> str:
    """What variations of each strength keep of all test images."""
    test, settings = c.data.split("test"), c.model.settings()
    x = test.x.astype(float)
    times = make_grid(c.model.process, settings.steps, settings.grid, settings.sigma_min)
    rows = []
    for s in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0):
        result = edit(c.model, x, s)
        judged = c.judged(c.seen(result.x))
        away = np.sqrt(((result.x - x) ** 2).mean()) / (c.span[1] - c.span[0])
        sigma = float(c.model.process.sigma_eff(times[edit_level(times, s)]))
        same = f"{(judged == test.labels).mean():.1%}"
        rows.append([plain(s), plain(sigma), str(result.nfe), f"{away:.1%}", same])
    head = ["strength", "level it starts at", "evaluations", "distance to the original (rms)",
            "still of its class"]  # fmt: skip
    return table(head, rows, "rrrrr")


def measure_cost(c: Champion, n: int = 64) -> str:
    """Evaluations, backward passes and CPU time of each kind of control."""
    x, half = c.data.split("test").x[:n].astype(float), np.ones(c.data.shape)
    half[..., half.shape[-1] // 2 :] = 0
    model, rows = c.model, []
    ways: dict[str, tuple[int, Callable[[], Any]]] = {
        "a sample": (n, lambda: model.sample(n)),
        "with guidance": (n, lambda: model.sample(n, guidance=2.0)),
        "a completion": (n, lambda: inpaint(model, x, half)),
        "a completion, `iterations=1`": (n, lambda: inpaint(model, x, half, iterations=1)),
        "of a path between seeds": (n, lambda: interpolate(model, 0, 1, n)),
        "of a path between items": (n, lambda: interpolate(model, x[0], x[1], n)),
        "an edit of strength 0.5": (n, lambda: edit(model, x, 0.5)),
    }
    unit = None
    for way, (count, call) in ways.items():
        with backward_passes() as passes:
            result = call()
        seconds = min(again.cpu_seconds for again in (result, call(), call())) / count
        unit = unit or seconds
        rows.append([way, str(result.nfe), str(len(passes) or "-"), f"{seconds / unit:.1f}"])
    head = ["what", "evaluations", "backward passes", "CPU time, in samples"]
    return table(head, rows, "lrrr")


@contextmanager
def backward_passes() -> Iterator[list[int]]:
    """Count the backward passes inside."""
    passes: list[int] = []
    own = torch.autograd.grad

    def counted(*args: Any, **options: Any) -> Any:
        passes.append(1)
        return own(*args, **options)

    torch.autograd.grad = counted
    try:
        yield passes
    finally:
        torch.autograd.grad = own
