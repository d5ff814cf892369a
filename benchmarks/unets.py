"""Contestants of the U-Net step and of sampling: 28 x 28 x 1, about 1.6 M parameters.

Each is the peer's own U-Net, at widths that give equal parameters and operations, with its own
objective; optimiser and EMA are the same for all. A contestant runs in plain or channels_last layout,
in float32 or under bfloat16 autocast: whatever is tried on ours is tried on each peer. A peer is imported
when it is asked for: not every machine has all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from toy import Step, stepper

from sgm_core.config.training import TrainingConfig
from sgm_core.nets import make_net
from sgm_core.objective import Objective
from sgm_core.preconditioning import Preconditioning
from sgm_core.process import make_process
from sgm_core.train.loop import LoopSettings, TrainState, advance

BATCH, SIDE = 64, 28
OWN = {"channels": 16, "multipliers": (2, 6, 6), "blocks": 1, "group": 16}
PATCHED = {"channels": 16, "multipliers": (3, 8), "blocks": 1, "group": 16, "patch": 2}
RECOMMENDED = {"channels": 64, "multipliers": (1, 1), "blocks": 1, "group": 16, "patch": 2}


@dataclass(frozen=True)
class Contestant:
    """A network, its call on images and levels, and its loss on clean images."""

    net: nn.Module
    forward: Callable[[Tensor, Tensor], Tensor]
    loss: Callable[[Tensor], Tensor]


def own_net(**fields: object) -> nn.Module:
    """Our U-Net for Fashion-MNIST's shape, without classes."""
    shape = (1, SIDE, SIDE)
    return make_net("unet", shape=shape, in_channels=1, sigma_data=0.5, num_classes=0, **fields)


def of_smalldiffusion() -> Contestant:
    """smalldiffusion's U-Net (attention in the middle only)."""
    import smalldiffusion
    from smalldiffusion.model_unet import Unet as SmallUnet

    net = SmallUnet(SIDE, 1, 1, ch=32, ch_mult=(1, 2, 3), num_res_blocks=1, attn_resolutions=(),
                    dropout=0.0)  # fmt: skip
    schedule = smalldiffusion.ScheduleLogLinear(1000, 0.01, 80.0)

    def loss(x: Tensor) -> Tensor:
        x0, sigma, noise, _ = smalldiffusion.generate_train_sample(x, schedule)
        return net.get_loss(x0, sigma, noise)

    return Contestant(net, lambda x, sigma: net(x, sigma), loss)


def of_diffusers() -> Contestant:
    """diffusers' UNet2DModel without attention, and its DDPM training objective."""
    import diffusers

    net = diffusers.UNet2DModel(
        SIDE, 1, 1, block_out_channels=(32, 64, 96), layers_per_block=1, norm_num_groups=8,
        down_block_types=("DownBlock2D",) * 3, up_block_types=("UpBlock2D",) * 3,
        add_attention=False,
    )  # fmt: skip
    schedule = diffusers.DDPMScheduler(1000)

    def loss(x: Tensor) -> Tensor:
        noise, t = torch.randn_like(x), torch.randint(1000, (len(x),), device=x.device)
        return nn.functional.mse_loss(net(schedule.add_noise(x, noise, t), t).sample, noise)

    return Contestant(net, lambda x, t: net(x, t).sample, loss)


def of_azula() -> Contestant:
    """azula's U-Net with the embedding of time that its tutorials use, under its EDM-style denoiser."""
    import azula.denoise
    import azula.noise
    from azula.nn.layers import SineEncoding
    from azula.nn.unet import UNet

    class Modulated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.time = nn.Sequential(SineEncoding(128), nn.Linear(128, 128), nn.SiLU())
            self.unet = UNet(1, 1, hid_channels=(40, 64, 80), hid_blocks=(2, 2, 2),
                             mod_features=128)  # fmt: skip

        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return self.unet(x, self.time(t))

    net = Modulated()
    denoiser = azula.denoise.KarrasDenoiser(net, azula.noise.VPSchedule())
    return Contestant(
        net,
        lambda x, t: denoiser(x, t).mean,
        lambda x: denoiser.loss(x, torch.rand(len(x), device=x.device)),
    )


def of_lucidrains() -> Contestant:
    """denoising-diffusion-pytorch's U-Net and objective."""
    from denoising_diffusion_pytorch import GaussianDiffusion, Unet

    net = Unet(dim=24, dim_mults=(1, 2, 4), channels=1)
    diffusion = GaussianDiffusion(net, image_size=SIDE, auto_normalize=False)
    return Contestant(net, net, diffusion)


PEERS: dict[str, Callable[[], Contestant]] = {
    "smalldiffusion": of_smalldiffusion,
    "diffusers": of_diffusers,
    "azula": of_azula,
    "denoising-diffusion-pytorch": of_lucidrains,
}


def peer_step(make: Callable[[], Contestant], x: Tensor, last: bool, bf16: bool) -> Step:
    """A training step of a peer in one layout and precision."""
    peer = make()
    if last:
        peer.net.to(memory_format=torch.channels_last)
        x = x.contiguous(memory_format=torch.channels_last)

    def loss() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16) if bf16 else nullcontext():
            return peer.loss(x)

    return stepper(peer.net, loss)


def own_state(net: nn.Module, bf16: bool = False) -> TrainState:
    """Our trainer for a network, with EDM's preconditioning under VP."""
    precision = "bf16" if bf16 else "float32"
    training = TrainingConfig(steps=10**6, batch=BATCH, lr=1e-3, ema=0.999, precision=precision)
    fields = training.model_dump()
    frame = Preconditioning(make_process("vp"), 0.5)
    return TrainState(net, Objective.of(frame, fields, 8192), LoopSettings.of(fields), 0)


def own_step(x: Tensor, bf16: bool = False) -> Step:
    """Our training step at the peers' size."""
    state = own_state(own_net(**OWN), bf16)
    return lambda: advance(state, x)
