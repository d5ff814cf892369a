"""CPU time of a training step beside the peers': the toy and the U-Net."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import torch
from chart import bars
from interleave import Seconds, cpu_seconds, table
from run import EMULATED, markdown
from torch.utils.flop_counter import FlopCounterMode

from sgm_core.heap import keep_memory
from sgm_core.train.loop import has_bf16

PRECISIONS = {"unet": "float32", "unet_bf16": "bfloat16"}
PEERS = ("azula", "diffusers", "smalldiffusion", "denoising-diffusion-pytorch")
ROWS = [
    ("toy, CLD, 50,000 parameters, batch 512", "toy"),
    ("U-Net, 1.6 M parameters, 28 x 28, batch 64", "unet"),
    ("the same in bf16", "unet_bf16"),
]


def measure() -> dict[str, Any]:
    """Return `toy`, and for the U-Net `unet`, `unet_bf16` and `sizes`."""
    torch.set_num_threads(1)
    found = {"toy": _toy()}
    keep_memory()  # from here on for every contestant
    found |= {"unet": _unet(False, 4)}
    # A processor that only emulates bfloat16 takes minutes for steps that nobody would take.
    found |= {"unet_bf16": _unet(True, 4) if has_bf16(torch.device("cpu")) else EMULATED}
    return found | {"sizes": _sizes()}


def tables(result: dict[str, Any]) -> dict[str, str]:
    """`toy`, `unet`, `unet_bf16`: milliseconds, and a peer's time as a multiple of ours; `summary`."""
    made = {}
    for name in ("toy", *PRECISIONS):
        if words := result[name].get("skipped"):
            made[name] = words
            continue
        sizes = result["toy"]["parameters"] if name == "toy" else result["sizes"]
        rows: list[list[object]] = []
        for row in result[name]["rows"]:
            size = sizes[row["name"].rpartition(", ")[0] or row["name"]] if name != "toy" else None
            count = sizes[row["name"]] if size is None else size["parameters"]
            flops = [] if size is None else [size["flops"] / 1e6]
            rows.append([row["name"], count, *flops, row["ms"], row["own_is_faster_by"]])
        head = ["", "parameters", *([] if name == "toy" else ["MFLOP an image"]), "ms", "/ ours"]
        made[name] = markdown(head, rows)
    made["summary"] = markdown(
        ["step", *PEERS], [_ratios(t, result[n].get("rows", [])) for t, n in ROWS]
    )
    return made


def _ratios(title: str, rows: list[dict[str, Any]]) -> list[object]:
    """How many times our time each peer takes; nothing where it has no such step."""
    found = {
        row["name"].rpartition(", ")[0] or row["name"]: row["own_is_faster_by"] for row in rows
    }
    return [title, *(f"{found[peer]:.2f}" if peer in found else "" for peer in PEERS)]


def charts(result: dict[str, Any], folder: Path) -> None:
    """CPU milliseconds a step, a picture for each table."""
    titles = {"toy": "Toy step", "unet": "U-Net step, float32", "unet_bf16": "U-Net step, bfloat16"}
    for name, title in titles.items():
        rows = result[name].get("rows")
        if rows is None:
            continue
        values = [row["ms"] for row in rows]
        file = folder / f"steps-{name}.png"
        bars(file, f"{title}: CPU milliseconds (less is better)", [r["name"] for r in rows], values)


def _toy() -> dict[str, Any]:
    import toy

    contestants = toy.contestants()
    seconds = cpu_seconds({name: step for name, (_, step) in contestants.items()}, 80, 10)
    sizes = {n: sum(p.numel() for p in net.parameters()) for n, (net, _) in contestants.items()}
    return {"rows": table(seconds, "ours"), "parameters": sizes}


def _unet(bf16: bool, rounds: int) -> dict[str, Any]:
    """Each peer in both layouts; the better one counts."""
    import unets

    x = 0.5 * torch.randn(unets.BATCH, 1, unets.SIDE, unets.SIDE)
    calls = {"ours": unets.own_step(x, bf16)}
    for name, make in unets.PEERS.items():
        for layout in ("plain", "channels_last"):
            calls[f"{name}, {layout}"] = unets.peer_step(make, x, layout != "plain", bf16)
    seconds = cpu_seconds(calls, rounds)
    best: Seconds = {"ours": seconds["ours"]}
    for name in unets.PEERS:
        layouts = [key for key in seconds if key.startswith(f"{name},")]
        key = min(layouts, key=lambda k: statistics.median(seconds[k]))
        best[key] = seconds[key]
    return {"rows": table(best, "ours"), "all": table(seconds, "ours")}


def _sizes() -> dict[str, Any]:
    """Parameters, and operations of a forward pass of one image."""
    import unets

    x, t = torch.randn(2, 1, unets.SIDE, unets.SIDE), torch.rand(2) + 0.1
    own = unets.own_net(**unets.OWN)
    calls = {"ours": (own, lambda: own(x[:, None], t))}
    for name, make in unets.PEERS.items():
        peer = make()
        calls[name] = (peer.net, lambda peer=peer: peer.forward(x, t))
    sizes = {}
    for name, (net, call) in calls.items():
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            call()
        flops = counter.get_total_flops() / len(x)
        sizes[name] = {"parameters": sum(p.numel() for p in net.parameters()), "flops": flops}
    return sizes
