"""Denoising loss over CPU seconds: the recommended network beside the peers' networks.

Fashion-MNIST without classes. Everything but the network is the same: preconditioning, noise levels,
data, batches, AdamW, average, and the validation loss, on the same noise. A peer's network gets the
noise level in its own way of time: diffusers the level's quantile among 1,000 steps, azula the quantile
in [0, 1], smalldiffusion sigma itself; and the faster of two layouts. Each trains for the same CPU
seconds; then it is told when ours had reached the loss that the best peer ended with.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import pictures
import torch
from run import markdown
from torch import Tensor, nn

from sgm_core.config.training import TrainingConfig
from sgm_core.heap import keep_memory
from sgm_core.objective import Batch, Objective
from sgm_core.preconditioning import Preconditioning
from sgm_core.process import make_process
from sgm_core.train.items import affine_of, items_of
from sgm_core.train.loop import LoopSettings, TrainState, train

SECONDS, POINTS, VALIDATION, BATCH, LR, EMA = 90, 12, 1000, 64, 1e-3, 0.99
Clock = list[tuple[float, float]]


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


def measure(seconds: float = SECONDS) -> dict[str, Any]:
    """Return a curve per network: (CPU seconds, validation loss), and who was when where."""
    torch.set_num_threads(1)
    keep_memory()
    data = pictures.data("fashion_mnist", validation=0.1, test=0.143)
    settings = TrainingConfig(
        steps=10**6, batch=BATCH, lr=LR, schedule="constant", ema=EMA, device="cpu"
    ).model_dump()
    frame = Preconditioning(make_process("vp"), float(data.meta["sigma_data"]))
    objective = Objective.of(frame, settings, pictures.TABLE)
    x, _ = items_of(data.split("validation").x[:VALIDATION], None, pictures.CPU)
    fixed = objective.draw(affine_of(data.meta, pictures.CPU)(x), torch.Generator().manual_seed(0))
    rows = []
    for name, make in contestants(objective.table.sigma.float()).items():
        layouts = (True,) if name == "ours" else (False, True)
        speed = {last: _pace(data, objective, settings, make(last)) for last in layouts}
        last = min(speed, key=lambda key: speed[key])
        net = make(last)
        curve = _curve(data, objective, settings, net, fixed, seconds)
        size = sum(p.numel() for p in net.parameters())
        rows.append({"name": name, "parameters": size, "step_seconds": speed[last]})
        rows[-1] |= {"layout": "channels last" if last else "plain", "curve": curve}
        print(rows[-1], flush=True)
    return {"rows": rows} | _when(rows)


def tables(result: dict[str, Any]) -> dict[str, str]:
    """`loss`: a row a network."""
    head = ["network", "parameters", "CPU ms a step", "steps", "CPU s", "validation loss"]
    rows: list[list[object]] = []
    for row in result["rows"]:
        seconds, loss = row["curve"][-1]
        steps = round(seconds / row["step_seconds"])
        ms = 1e3 * row["step_seconds"]
        rows.append([row["name"], row["parameters"], ms, steps, seconds, f"{loss:.4f}"])
    said = (
        "did not reach"
        if result["ratio"] is None
        else f"needed {result['ratio']:.2f} of its CPU time for"
    )
    end = f"Ours {said} the loss of the best peer, {result['best']} ({result['loss']:.4f})."
    return {"loss": f"{markdown(head, rows)}\n\n{end}"}


def _steps(data: Any, objective: Objective, settings: dict[str, Any], net: nn.Module) -> Any:
    state = TrainState(net, objective, LoopSettings.of(settings), 0)
    items, _ = items_of(data.split("train").x, None, pictures.CPU)
    loop: Iterator[Any] = train(state, items, None, affine_of(data.meta, pictures.CPU))
    return state, loop


def _pace(data: Any, objective: Objective, settings: dict[str, Any], net: nn.Module) -> float:
    """CPU seconds of a step, the median of a few after two to warm up."""
    _, loop = _steps(data, objective, settings, net)
    spent = []
    for _ in range(6):
        begin = time.process_time()
        next(loop)
        spent.append(time.process_time() - begin)
    return median(spent[2:])


def _curve(
    data: Any, objective: Objective, settings: dict[str, Any], net: nn.Module, fixed: Batch,
    seconds: float,
) -> Clock:  # fmt: skip
    """Train for so many CPU seconds; return (seconds, validation loss), evaluations not counted."""
    state, loop = _steps(data, objective, settings, net)
    spent, curve = 0.0, []
    while spent < seconds:
        begin = time.process_time()
        next(loop)
        spent += time.process_time() - begin
        if spent >= seconds * (len(curve) + 1) / POINTS:
            curve.append((spent, _loss(state.ema_net, fixed)))
    return curve


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
