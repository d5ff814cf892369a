"""Denoising loss over CPU seconds: the recommended network beside the peers' networks.

Fashion-MNIST without classes. Everything but the network is the same: preconditioning, noise levels,
data, batches, AdamW, average, precision, and the validation loss, on the same noise. A peer's network gets
the noise level in its own way of time: diffusers the level's quantile among 1,000 steps, azula the quantile
in [0, 1], smalldiffusion sigma itself; and the faster of two layouts.

All train in one process, a step at a time: next is whoever has spent the fewest CPU seconds, so that
what a shared core gives and takes, it gives and takes all of them alike. Then it is told when ours had
reached the loss that the best peer ended with.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pictures
import torch
from interleave import cpu_seconds
from run import EMULATED, markdown
from torch import Tensor, nn

from sgm_core.config.training import TrainingConfig
from sgm_core.heap import keep_memory
from sgm_core.objective import Batch, Objective
from sgm_core.preconditioning import Preconditioning
from sgm_core.process import make_process
from sgm_core.train.items import affine_of, items_of
from sgm_core.train.loop import LoopSettings, TrainState, has_bf16, train

SECONDS, POINTS, VALIDATION, BATCH, LR, EMA = 120, 24, 1000, 64, 1e-3, 0.99
PRECISIONS, LAYOUTS = ("float32", "bf16"), ("channels last", "plain")


class Peer(nn.Module):
    """A peer's network as F(inputs, sigma, labels)."""

    def __init__(
        self, net: nn.Module, call: Callable[[Tensor, Tensor], Tensor], levels: Tensor, last: bool
    ) -> None:
        super().__init__()
        self.net, self.call, self.levels, self.last = net, call, levels, last
        if last:
            net.to(memory_format=torch.channels_last)

    def forward(self, inputs: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        x = inputs[:, 0]
        if self.last:
            x = x.contiguous(memory_format=torch.channels_last)
        place = torch.searchsorted(self.levels, sigma.contiguous()).float() / len(self.levels)
        return self.call(x, torch.stack([sigma, place]))


def contestants(levels: Tensor) -> dict[str, Callable[[bool], nn.Module]]:
    """Return name -> a maker of the network, in plain layout or channels last."""
    import unets

    def own(last: bool) -> nn.Module:
        return unets.own_net(**unets.RECOMMENDED)

    def small(last: bool) -> nn.Module:
        net = unets.of_smalldiffusion().net
        return Peer(net, lambda x, t: net(x, t[0]), levels, last)

    def diffusers(last: bool) -> nn.Module:
        net = unets.of_diffusers().net
        return Peer(net, lambda x, t: net(x, 1000 * t[1]).sample, levels, last)

    def azula(last: bool) -> nn.Module:
        net = unets.of_azula().net
        return Peer(net, lambda x, t: net(x, t[1]), levels, last)

    return {"ours": own, "smalldiffusion": small, "diffusers": diffusers, "azula": azula}


@dataclass
class Runner:
    """A network in training.

    Attributes:
        spent: CPU seconds of its steps; evaluations are not counted.
        curve: (CPU seconds, validation loss).
    """

    name: str
    layout: str
    state: TrainState
    loop: Iterator[Any]
    spent: float = 0.0
    steps: int = 0
    curve: list[tuple[float, float]] = field(default_factory=list)

    def step(self) -> None:
        """Train for a step."""
        begin = time.process_time()
        next(self.loop)
        self.spent += time.process_time() - begin
        self.steps += 1


def measure(seconds: float = SECONDS) -> dict[str, Any]:
    """Return, for each precision, a curve per network, and who was when where."""
    torch.set_num_threads(1)
    keep_memory()
    return {
        precision: _race(precision, seconds)
        if precision == "float32" or has_bf16(pictures.CPU)
        else EMULATED
        for precision in PRECISIONS
    }


def tables(result: dict[str, Any]) -> dict[str, str]:
    """`float32`, `bf16`: a row a network; `ratio`: a row a precision."""
    head = ["network", "parameters", "CPU ms a step", "steps", "CPU s", "validation loss"]
    made, ratios = {}, []
    for precision, race in result.items():
        if words := race.get("skipped"):
            made[precision] = words
            continue
        rows: list[list[object]] = []
        for row in race["rows"]:
            seconds, loss = row["curve"][-1]
            ms = 1e3 * seconds / row["steps"]
            rows.append([row["name"], row["parameters"], ms, row["steps"], seconds, f"{loss:.4f}"])
        made[precision] = markdown(head, rows)
        told = "not reached" if race["ratio"] is None else f"{race['ratio']:.2f}"
        ratios.append([precision, race["best"], f"{race['loss']:.4f}", told])
    head = ["", "best peer", "its loss at the end", "reached by ours after so much of its CPU time"]
    return made | {"ratio": markdown(head, ratios)}


def _race(precision: str, seconds: float) -> dict[str, Any]:
    """Train all networks in turn for so many CPU seconds each."""
    data = pictures.data("fashion_mnist", validation=0.1, test=0.143)
    settings = TrainingConfig(
        steps=10**6, batch=BATCH, lr=LR, schedule="constant", ema=EMA, device="cpu",
        precision=precision,
    ).model_dump()  # fmt: skip
    frame = Preconditioning(make_process("vp"), float(data.meta["sigma_data"]))
    objective = Objective.of(frame, settings, pictures.TABLE)
    items, _ = items_of(data.split("train").x, None, pictures.CPU)
    held_out, _ = items_of(data.split("validation").x[:VALIDATION], None, pictures.CPU)
    affine = affine_of(data.meta, pictures.CPU)
    fixed = objective.draw(affine(held_out), torch.Generator().manual_seed(0))
    makers = contestants(objective.table.sigma.float())

    def runner(name: str, layout: str) -> Runner:
        torch.manual_seed(0)
        net = makers[name](layout == "channels last")
        state = TrainState(net, objective, LoopSettings.of(settings), 0)
        return Runner(name, layout, state, train(state, items, None, affine))

    runners = []
    for name in makers:
        layouts = LAYOUTS[:1] if name == "ours" else LAYOUTS  # ours has its layout either way
        pace = cpu_seconds({layout: runner(name, layout).step for layout in layouts}, 3)
        runners.append(runner(name, min(layouts, key=lambda layout: sum(pace[layout]))))
    while (one := min(runners, key=lambda r: r.spent)).spent < seconds:
        one.step()
        if one.spent >= seconds * (len(one.curve) + 1) / POINTS:
            one.curve.append((one.spent, _loss(one.state.ema_net, fixed)))
            print(precision, one.name, one.steps, *one.curve[-1], flush=True)
    rows = [
        {
            "name": one.name,
            "layout": one.layout,
            "parameters": sum(p.numel() for p in one.state.net.parameters()),
            "steps": one.steps,
            "curve": one.curve,
        }
        for one in runners
    ]
    return {"rows": rows} | _when(rows)


@torch.no_grad()
def _loss(net: nn.Module, fixed: Batch) -> float:
    parts = zip(*(part.split(250) for part in (fixed.inputs, fixed.sigma)), strict=True)
    output = torch.cat([net(inputs, sigma, None) for inputs, sigma in parts])
    return float(fixed.loss(output))


def _when(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """When ours had the loss that the best peer ended with, as a share of its CPU time."""
    own, peers = rows[0]["curve"], rows[1:]
    best = min(peers, key=lambda row: row["curve"][-1][1])
    end, loss = best["curve"][-1]
    reached = next((seconds / end for seconds, value in own if value <= loss), None)
    return {"best": best["name"], "loss": loss, "ratio": reached}
