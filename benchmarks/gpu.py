"""A GPU's training steps beside diffusers and azula, small cells together, and whether the GPU is busy.

    python benchmarks/gpu.py           on a GPU; without one it says so
    python benchmarks/gpu.py --dry     the same code on the CPU, at a size that takes seconds

U-Nets train at equal parameters and operations (see unets.py) under bfloat16 autocast with fused AdamW and
an EMA; ours also at equal parameters on 2 x 2 pixels as channels, the kind that is recommended. Ours runs
as the trainer does: batches gathered from a data set on the device, steps recorded as one CUDA graph. Peers
have one batch that never changes. Ours is tried plain, recorded and compiled, peers with channels_last and
compiled (with graphs of their own, "reduce-overhead"); the best of each counts.

Toys are cells of the swiss rolls' network, batch 512: one alone, and 16 of four processes and four seeds
whose weights are the rows of one matrix (sgm_core.train.stack).

`busy` is the share of the wall time of a loop in which the GPU's kernels ran.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from run import markdown
from torch import Tensor

MISSING = "No GPU: torch finds no CUDA device here, so nothing was measured."
STEPS, BUSY_STEPS, BATCH = 300, 50, 128
TOY_STEPS, TOY_BATCH, TOY_ITEMS, TOY_SEEDS = 1000, 512, 100_000, 4
PROCESSES = ("vp", "subvp", "ve", "cld")
OWN_MODES = ("plain", "graph", "graph, compiled")
PEER_MODES = ("channels_last", "compiled, channels_last")
PATCHED = "ours, 2 x 2 pixels as channels"
Call = Callable[[], object]


def measure(dry: bool = False) -> dict[str, Any]:
    """Return rows of steps and of toys, or {"skipped": sentence}."""
    if not dry and not torch.cuda.is_available():
        return {"skipped": MISSING}
    import unets

    device = torch.device("cpu" if dry else "cuda")
    batch = 2 if dry else BATCH
    rows = []
    for name, make, modes in (
        ("ours", partial(_ours, unets.OWN), OWN_MODES),
        (PATCHED, partial(_ours, unets.PATCHED), ("graph, compiled",)),
        ("diffusers", _of("diffusers"), PEER_MODES),
        ("azula", _of("azula"), PEER_MODES),
    ):
        for mode in modes:
            if dry and "compiled" in mode:
                continue
            rows.append({"name": name, "mode": mode, **_timed(make, mode, device, batch, dry)})
            print(rows[-1], flush=True)
    best: dict[str, float] = {}
    for row in rows:
        best[row["name"]] = max(best.get(row["name"], 0.0), row["steps_per_s"])
    return {
        "device": "CPU, dry run" if dry else torch.cuda.get_device_name(),
        "batch": batch,
        "rows": rows,
        "ratios": {name: best["ours"] / rate for name, rate in best.items() if name != "ours"},
        "toys": _toys(device, dry),
    }


def tables(result: dict[str, Any]) -> dict[str, str]:
    """`step`: steps a second and peak memory; `toys`: one cell and 16."""
    head = f"**{result['device']}**, batch {result['batch']}"
    best = max(row["steps_per_s"] for row in result["rows"] if row["name"] == "ours")
    rows: list[list[object]] = [
        [
            *(row["name"], row["mode"], row["steps_per_s"], best / row["steps_per_s"]),
            *(row["peak_mb"], 100 * row["busy"]),
        ]
        for row in result["rows"]
    ]
    head_step = [head, "", "steps a second", "ours, at best / it", "peak MB", "GPU busy %"]
    step = markdown(head_step, rows)
    alone = next(r for r in result["toys"] if r["cells"] == 1 and r["mode"] == "graph")
    toys: list[list[object]] = [
        [
            *(row["cells"], row["mode"], row["steps_per_s"]),
            *(alone["steps_per_s"] / row["steps_per_s"], 100 * row["busy"]),
        ]
        for row in result["toys"]
    ]
    head_toys = ["cells", "mode", "steps a second", "time / one cell with a graph", "GPU busy %"]
    return {"step": step, "toys": markdown(head_toys, toys)}


def _timed(
    make: Callable[[str, torch.device, int], Call],
    mode: str,
    device: torch.device,
    batch: int,
    dry: bool,
) -> dict[str, Any]:
    """Steps a second after a warm-up, and the most memory that was in use."""
    if not dry:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    with _plain_steps(mode == "plain"):
        call = make(mode, device, batch)
        steps_per_s, first = _rate(call, 2 if dry else STEPS, 2 if dry else 20)
        peak = 0.0 if dry else torch.cuda.max_memory_allocated() / 2**20
        busy = 0.0 if dry else _busy(call)
    return {"steps_per_s": steps_per_s, "peak_mb": peak, "start_s": first - began, "busy": busy}


def _rate(call: Call, steps: int, warm: int) -> tuple[float, float]:
    """Steps a second, and when the warm-up was over."""
    for _ in range(warm):
        call()
    _synchronise()
    start = time.perf_counter()
    for _ in range(steps):
        call()
    _synchronise()
    return steps / (time.perf_counter() - start), start


@contextmanager
def _plain_steps(plain: bool) -> Iterator[None]:
    """Kernels one by one, as where no graph can be recorded."""
    from sgm_core.train import loop

    before = loop.can_capture
    if plain:
        loop.can_capture = lambda state, last: False
    try:
        yield
    finally:
        loop.can_capture = before


def _ours(net: dict[str, Any], mode: str, device: torch.device, batch: int) -> Call:
    """Our loop with batches from a data set of uint8 images on the device."""
    import unets

    from sgm_core.config.training import TrainingConfig
    from sgm_core.objective import Objective
    from sgm_core.preconditioning import Preconditioning
    from sgm_core.process import make_process
    from sgm_core.train.loop import LoopSettings, TrainState, train

    compiled = "compiled" in mode
    training = TrainingConfig(steps=10**6, batch=batch, precision="bf16", compile=compiled)
    fields = training.model_dump()
    frame = Preconditioning(make_process("vp"), 0.5)
    objective = Objective.of(frame, fields, 8192, device)
    state = TrainState(unets.own_net(**net).to(device), objective, LoopSettings.of(fields), 0)
    shape = (60_000, 1, unets.SIDE, unets.SIDE)
    items = torch.randint(256, shape, dtype=torch.uint8, device=device)
    loop = train(state, items, None, lambda x: x.float() / 255 - 0.5)
    return lambda: next(loop)


def _of(name: str) -> Callable[[str, torch.device, int], Call]:
    """A peer's network and objective in the shortest loop around them."""

    def make(mode: str, device: torch.device, batch: int) -> Call:
        import toy
        import unets

        peer = unets.PEERS[name]()
        net = peer.net.to(device)
        x = torch.rand(batch, 1, unets.SIDE, unets.SIDE, device=device) - 0.5
        if "channels_last" in mode:
            net.to(memory_format=torch.channels_last)
            x = x.contiguous(memory_format=torch.channels_last)
        if "compiled" in mode:
            net.compile(mode="reduce-overhead")

        def loss() -> Tensor:
            with torch.autocast(device.type, torch.bfloat16):
                return peer.loss(x)

        return toy.stepper(net, loss)

    return make


def _toy_loop(cells: int, device: torch.device, steps: int) -> Call:
    """So many cells of the swiss rolls, one after the other's process and seed, as one loop."""
    from rolls import NET, TRAINING

    from sgm_core.config.training import TrainingConfig
    from sgm_core.objective import Objective
    from sgm_core.parts import build_parts
    from sgm_core.train.loop import LoopSettings, TrainState, train
    from sgm_core.train.stack import train_together

    training = TrainingConfig(**{**TRAINING, "steps": steps}).model_dump()
    meta = {"shape": [2], "labels": [], "sigma_data": 1.0}
    states = []
    for number in range(cells):
        process, seed = PROCESSES[number % 4], number // 4
        parts = build_parts({"kind": process}, NET, meta, "edm", seed)
        parts.net.to(device)
        objective = Objective.of(parts.preconditioning, training, 8192, device)
        states.append(TrainState(parts.net, objective, LoopSettings.of(training), seed))
    items = torch.randn(TOY_ITEMS, 2, device=device)
    loop: Iterator[object] = (
        train(states[0], items, None, _same)
        if cells == 1
        else train_together(states, items, None, _same)
    )
    return lambda: next(loop)


def _toys(device: torch.device, dry: bool) -> list[dict[str, Any]]:
    """One cell and 16, kernels one by one and as a graph."""
    rows = []
    for cells in (1, 4 * TOY_SEEDS):
        for mode in ("plain", "graph"):
            with _plain_steps(mode == "plain"):
                call = _toy_loop(cells, device, 10**6)
                rate, _ = _rate(call, 2 if dry else TOY_STEPS, 2 if dry else 20)
                busy = 0.0 if dry else _busy(call)
            rows.append({"cells": cells, "mode": mode, "steps_per_s": rate, "busy": busy})
            print(rows[-1], flush=True)
    return rows


def _same(x: Tensor) -> Tensor:
    return x


def _synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _busy(call: Call) -> float:
    """The share of wall time in which kernels ran: the union of their intervals."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        _synchronise()
        start = time.perf_counter()
        for _ in range(BUSY_STEPS):
            call()
        _synchronise()
        wall = time.perf_counter() - start
    spans = sorted(
        (e.time_range.start, e.time_range.end)
        for e in profiler.events()
        if e.device_type == torch.autograd.DeviceType.CUDA
    )
    busy, until = 0.0, 0.0
    for first, last in spans:
        busy += max(0.0, last - max(first, until))
        until = max(until, last)
    return busy / 1e6 / wall


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dry", action="store_true", help="on the CPU, for seconds")
    result = measure(parser.parse_args().dry)
    if "skipped" in result:
        print(result["skipped"])
        return
    for table in tables(result).values():
        print(table, "\n")
    print({name: result[name] for name in ("device", "ratios")})


if __name__ == "__main__":
    main()
