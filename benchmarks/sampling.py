"""Images per CPU second, 28 x 28 at 25 evaluations: whole calls of each library's own sampler; and one
evaluation of our network by ONNX Runtime, in int8 and in bfloat16.

Untrained networks: how long a sampler takes does not depend on the weights.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from chart import bars
from interleave import Seconds, cpu_seconds, table
from run import markdown
from torch import Tensor, nn

from sgm_core.config.training import SamplingConfig
from sgm_core.denoise import Denoiser
from sgm_core.export.graph import network_graph
from sgm_core.export.int8 import int8_graph
from sgm_core.export.onnx_network import OnnxNetwork
from sgm_core.export.pairs import draw_pairs
from sgm_core.generate import generate
from sgm_core.heap import keep_memory
from sgm_core.model import ScoreModel
from sgm_core.preconditioning import Preconditioning
from sgm_core.process import make_process
from sgm_core.space import DataSpace, describe
from sgm_core.train.loop import has_bf16

N, NFE, ROUNDS = 16, 25, 6
SIDE = 28
SHAPE = (N, 1, SIDE, SIDE)


def own(net: nn.Module) -> Callable[[], object]:
    """The default sampler, float64 state and a stream per sample included."""
    denoiser = Denoiser(net.eval(), Preconditioning(make_process("vp"), 0.5))
    space, settings = DataSpace(describe(SHAPE[1:])), SamplingConfig(steps=NFE)
    device = torch.device("cpu")
    return lambda: generate(
        denoiser, space, settings, N, seeds=np.arange(N), batch=N, labels=None, device=device
    )


def _diffusers(peer: Any, start: Tensor) -> None:
    import diffusers

    schedule = diffusers.DDIMScheduler(1000)
    schedule.set_timesteps(NFE)
    x = start
    for t in schedule.timesteps:
        x = schedule.step(peer.net(x, t).sample, t, x).prev_sample


def _smalldiffusion(peer: Any, start: Tensor) -> None:
    import smalldiffusion

    sigmas = smalldiffusion.ScheduleLogLinear(1000, 0.01, 80.0).sample_sigmas(NFE)
    for _ in smalldiffusion.samples(peer.net, sigmas, gam=2, xt=start * sigmas[0]):
        pass


def _azula(peer: Any, start: Tensor) -> None:
    import azula.denoise
    import azula.noise
    import azula.sample

    denoiser = azula.denoise.KarrasDenoiser(peer.net, azula.noise.VPSchedule())
    azula.sample.DDIMSampler(denoiser, steps=NFE, silent=True)(start)


def measure() -> dict[str, Any]:
    """Return `rows`, images per CPU second of ours and the peers, and `variants` of our network."""
    import unets

    torch.set_num_threads(1)
    keep_memory()
    calls = {
        "ours": own(unets.own_net(**unets.OWN)),
        "ours, recommended network": own(unets.own_net(**unets.RECOMMENDED)),
    }
    loops = {"diffusers": _diffusers, "smalldiffusion": _smalldiffusion, "azula": _azula}
    for name, loop in loops.items():
        for layout in ("plain", "channels_last"):
            calls[f"{name}, {layout}"] = _call(name, loop, layout == "channels_last")
    seconds = cpu_seconds(calls, ROUNDS)
    best: Seconds = {name: seconds[name] for name in calls if name.startswith("ours")}
    for name in loops:
        keys = [key for key in seconds if key.startswith(f"{name},")]
        key = min(keys, key=lambda k: statistics.median(seconds[k]))
        best[key] = seconds[key]
    rows = table(best, "ours")
    for row in rows:
        row["images_per_cpu_second"] = 1e3 * N / float(np.float64(row["ms"]))
    return {"rows": rows, "variants": _variants(unets.OWN), "nfe": NFE, "n": N}


def tables(result: dict[str, Any]) -> dict[str, str]:
    """`images`: images per CPU second."""
    rows = [[r["name"], r["images_per_cpu_second"], r["own_is_faster_by"]] for r in result["rows"]]
    variants = [[r["name"], r["ms"], 1 / r["own_is_faster_by"]] for r in result["variants"]]
    return {
        "images": markdown(["", "images per CPU s", "ours / it"], rows),
        "variants": markdown(["one evaluation of 16 images", "ms", "times as fast"], variants),
    }


def charts(result: dict[str, Any], folder: Path) -> None:
    """Images per CPU second."""
    rows = result["rows"]
    values = [row["images_per_cpu_second"] for row in rows]
    title = "Sampling: images per CPU second (more is better)"
    bars(folder / "sampling-images.png", title, [row["name"] for row in rows], values)


def _variants(net: dict[str, Any]) -> list[dict[str, object]]:
    """The network as published: eager, under autocast, by ONNX Runtime, in int8."""
    model = ScoreModel(img_size=SIDE, num_channels=1, net={"kind": "unet", **net})
    pairs = draw_pairs(model, np.random.default_rng(0).integers(0, 256, (64, *SHAPE[1:])), None)
    graph = network_graph(model)
    arguments = next(pairs.batches(N))
    plain = model.denoiser().net.eval()
    nets = {
        "float32": plain,
        "ONNX Runtime": OnnxNetwork(graph.SerializeToString()),
        "int8": OnnxNetwork(int8_graph(graph, pairs).SerializeToString()),
    }

    def call(forward: nn.Module, precision: AbstractContextManager[object]) -> None:
        with torch.no_grad(), precision:
            forward(*arguments)

    calls: dict[str, Callable[[], object]] = {
        name: lambda forward=forward: call(forward, nullcontext()) for name, forward in nets.items()
    }
    if has_bf16(torch.device("cpu")):
        calls["bfloat16"] = lambda: call(plain, torch.autocast("cpu", torch.bfloat16))
    return table(cpu_seconds(calls, ROUNDS), "float32")


def _call(name: str, loop: Callable[[Any, Tensor], None], last: bool) -> Callable[[], object]:
    import unets

    peer = unets.PEERS[name]()
    start = torch.randn(SHAPE)
    if last:
        peer.net.to(memory_format=torch.channels_last)
        start = start.contiguous(memory_format=torch.channels_last)
    peer.net.eval()

    def call() -> None:
        with torch.no_grad():
            loop(peer, start)

    return call
