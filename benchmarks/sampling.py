"""Images per CPU second, 28 x 28 at 25 evaluations: whole calls of each library's own sampler.

Untrained networks: how long a sampler takes does not depend on the weights.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import azula.denoise
import azula.noise
import azula.sample
import diffusers
import numpy as np
import smalldiffusion
import torch
import unets
from interleave import Seconds, cpu_seconds, table
from run import markdown
from torch import Tensor, nn

from sgm_core.config.training import SamplingConfig
from sgm_core.denoise import Denoiser
from sgm_core.generate import generate
from sgm_core.heap import keep_memory
from sgm_core.preconditioning import Preconditioning
from sgm_core.process import make_process
from sgm_core.space import DataSpace, describe

N, NFE, ROUNDS = 32, 25, 4
SHAPE = (N, 1, unets.SIDE, unets.SIDE)


def own(net: nn.Module) -> Callable[[], object]:
    """The default sampler, float64 state and a stream per sample included."""
    denoiser = Denoiser(net.eval(), Preconditioning(make_process("vp"), 0.5))
    space, settings = DataSpace(describe(SHAPE[1:])), SamplingConfig(steps=NFE)
    device = torch.device("cpu")
    return lambda: generate(
        denoiser, space, settings, N, seeds=np.arange(N), batch=N, labels=None, device=device
    )


def _diffusers(peer: unets.Contestant, start: Tensor) -> None:
    schedule = diffusers.DDIMScheduler(1000)
    schedule.set_timesteps(NFE)
    x = start
    for t in schedule.timesteps:
        x = schedule.step(peer.net(x, t).sample, t, x).prev_sample


def _smalldiffusion(peer: unets.Contestant, start: Tensor) -> None:
    sigmas = smalldiffusion.ScheduleLogLinear(1000, 0.01, 80.0).sample_sigmas(NFE)
    for _ in smalldiffusion.samples(peer.net, sigmas, gam=2, xt=start * sigmas[0]):
        pass


def _azula(peer: unets.Contestant, start: Tensor) -> None:
    denoiser = azula.denoise.KarrasDenoiser(peer.net, azula.noise.VPSchedule())
    azula.sample.DDIMSampler(denoiser, steps=NFE, silent=True)(start)


def measure() -> dict[str, Any]:
    """Return images per CPU second of ours, plain and recommended network, and of the peers."""
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
    return {"rows": rows, "nfe": NFE, "n": N}


def tables(result: dict[str, Any]) -> dict[str, str]:
    """`images`: images per CPU second."""
    rows = [[r["name"], r["images_per_cpu_second"], r["own_is_faster_by"]] for r in result["rows"]]
    return {"images": markdown(["", "images per CPU s", "ours / it"], rows)}


def _call(
    name: str, loop: Callable[[unets.Contestant, Tensor], None], last: bool
) -> Callable[[], object]:
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
