"""A U-Net step on a GPU beside diffusers' UNet2DModel: bf16, channels_last, compiled, CUDA graphs.

    python benchmarks/gpu.py           on a GPU; without one it says so
    python benchmarks/gpu.py --dry     the same code on the CPU, at a size that takes seconds

Both train at equal parameters and operations (see unets.py) with fused AdamW and an EMA; each is tried
plain, with channels_last, and compiled ("reduce-overhead": CUDA graphs), and the best of each counts.
`busy` is the share of the wall time of our loop, batches from a data set included, in which the GPU worked.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from run import markdown
from torch import Tensor, nn

MISSING = "No GPU: torch finds no CUDA device here, so nothing was measured."
STEPS, BATCH = 100, 256


def measure(dry: bool = False) -> dict[str, Any]:
    """Return a row per network and mode, or {"skipped": sentence}."""
    if not dry and not torch.cuda.is_available():
        return {"skipped": MISSING}
    device = torch.device("cpu" if dry else "cuda")
    steps, batch = (2, 2) if dry else (STEPS, BATCH)
    rows = []
    for name, make in (("ours", _ours), ("diffusers", _diffusers)):
        for mode in ("plain", "channels_last", *(() if dry else ("compiled",))):
            call, synchronise = make(mode, device, batch), _synchroniser(device)
            for _ in range(2 if dry else 20):
                call()
            synchronise()
            if not dry:
                torch.cuda.reset_peak_memory_stats()
            start = time.perf_counter()
            for _ in range(steps):
                call()
            synchronise()
            rate = steps / (time.perf_counter() - start)
            peak = 0.0 if dry else torch.cuda.max_memory_allocated() / 2**20
            rows.append({"name": name, "mode": mode, "steps_per_s": rate, "peak_mb": peak})
    best = {n: max(r["steps_per_s"] for r in rows if r["name"] == n) for n in ("ours", "diffusers")}
    card = "CPU, dry run" if dry else torch.cuda.get_device_name()
    return {
        "device": card,
        "rows": rows,
        "ratio": best["ours"] / best["diffusers"],
        "busy": None if dry else _busy(_ours("channels_last", device, batch), steps),
    }


def tables(result: dict[str, Any]) -> dict[str, str]:
    """`step`: steps a second and peak memory."""
    fields = ("name", "mode", "steps_per_s", "peak_mb")
    rows: list[list[object]] = [[row[f] for f in fields] for row in result["rows"]]
    return {"step": markdown(["", "mode", "steps a second", "peak MB"], rows)}


def _ours(mode: str, device: torch.device, batch: int) -> Callable[[], object]:
    """Our loop with batches from a data set of uint8 images on the device."""
    import unets

    from sgm_core.config.training import TrainingConfig
    from sgm_core.objective import Objective
    from sgm_core.preconditioning import Preconditioning
    from sgm_core.process import make_process
    from sgm_core.train.loop import LoopSettings, TrainState, train

    net = _laid(unets.own_net(**unets.OWN).to(device), mode)
    fields = TrainingConfig(steps=10**6, batch=batch, precision="bf16").model_dump()
    frame = Preconditioning(make_process("vp"), 0.5)
    objective = Objective.of(frame, fields, 8192, device)
    state = TrainState(net, objective, LoopSettings.of(fields), 0)
    if mode == "compiled":
        state.forward = torch.compile(state.forward, mode="reduce-overhead")
    shape = (4 * batch, 1, unets.SIDE, unets.SIDE)
    items = torch.randint(256, shape, dtype=torch.uint8, device=device)
    loop = train(state, items, None, lambda x: x.float() / 255 - 0.5)
    return lambda: next(loop)


def _diffusers(mode: str, device: torch.device, batch: int) -> Callable[[], object]:
    """diffusers' network and objective in the shortest loop around them."""
    import toy
    import unets

    peer = unets.of_diffusers()
    net = _laid(peer.net.to(device), mode)
    forward = torch.compile(net, mode="reduce-overhead") if mode == "compiled" else net
    x = torch.rand(batch, 1, unets.SIDE, unets.SIDE, device=device) - 0.5
    level = torch.linspace(1.0, 0.01, 1000, device=device)

    def loss() -> Tensor:
        noise, t = torch.randn_like(x), torch.randint(1000, (batch,), device=device)
        keep = level[t][:, None, None, None]
        with torch.autocast(device.type, torch.bfloat16):
            output = forward(keep.sqrt() * x + (1 - keep).sqrt() * noise, t).sample
        return nn.functional.mse_loss(output.float(), noise)

    return toy.stepper(net, loss)


def _laid(net: nn.Module, mode: str) -> nn.Module:
    return net if mode == "plain" else net.to(memory_format=torch.channels_last)


def _synchroniser(device: torch.device) -> Callable[[], None]:
    return torch.cuda.synchronize if device.type == "cuda" else lambda: None


def _busy(call: Callable[[], object], steps: int) -> float:
    """The share of wall time in which kernels ran."""
    from torch.profiler import ProfilerActivity, profile

    call()
    torch.cuda.synchronize()
    start = time.perf_counter()
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        for _ in range(steps):
            call()
        torch.cuda.synchronize()
    wall = time.perf_counter() - start
    return sum(event.self_device_time_total for event in profiler.key_averages()) / 1e6 / wall


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dry", action="store_true", help="on the CPU, for seconds")
    result = measure(parser.parse_args().dry)
    if "skipped" in result:
        print(result["skipped"])
        return
    print(tables(result)["step"])
    print(
        f"{result['device']}: ours is {result['ratio']:.2f} times as fast; busy: {result['busy']}"
    )


if __name__ == "__main__":
    main()
