"""CPU time of a training step beside the peers': the toy and the U-Net."""

from __future__ import annotations

import statistics
from typing import Any

import torch
import toy
import unets
from interleave import Seconds, measure, table
from torch.utils.flop_counter import FlopCounterMode

from sgm_core.heap import keep_memory


def run() -> dict[str, Any]:
    """Return the tables `toy`, `unet` and `unet_bf16`."""
    torch.set_num_threads(1)
    found = {"toy": _toy()}
    before = _unet(bf16=False, rounds=2)
    keep_memory()  # from here on for every contestant
    found |= {"unet": _unet(False, 4), "unet_bf16": _unet(True, 4), "unet_malloc": before}
    return found | {"unet_sizes": _sizes()}


def _toy() -> dict[str, Any]:
    contestants = toy.contestants()
    seconds = measure({name: step for name, (_, step) in contestants.items()}, 80, 10)
    sizes = {n: sum(p.numel() for p in net.parameters()) for n, (net, _) in contestants.items()}
    return {"rows": table(seconds, "ours"), "parameters": sizes}


def _unet(bf16: bool, rounds: int) -> dict[str, Any]:
    """Each peer in both layouts; the better one counts."""
    x = 0.5 * torch.randn(unets.BATCH, 1, unets.SIDE, unets.SIDE)
    calls = {"ours": unets.own_step(x, bf16)}
    for name, make in unets.PEERS.items():
        for layout in ("plain", "channels_last"):
            calls[f"{name}, {layout}"] = unets.peer_step(make, x, layout != "plain", bf16)
    seconds = measure(calls, rounds)
    best: Seconds = {"ours": seconds["ours"]}
    for name in unets.PEERS:
        layouts = [key for key in seconds if key.startswith(f"{name},")]
        key = min(layouts, key=lambda k: statistics.median(seconds[k]))
        best[key] = seconds[key]
    return {"rows": table(best, "ours"), "all": table(seconds, "ours")}


def _sizes() -> dict[str, Any]:
    """Parameters, and operations of a forward pass of one image."""
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


if __name__ == "__main__":
    import json

    print(json.dumps(run(), indent=1))
