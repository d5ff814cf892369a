"""Score networks by name: `make_net("unet", shape=(1, 28, 28), ...)`.

A network is F(inputs, sigma, labels): inputs (B, in_channels, *shape) whitened by the
preconditioning, sigma (B,) the noise level sigma_eff, labels (B,) int64 with -1 for none.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from torch import nn

from sgm_core.config.base import build
from sgm_core.config.net import NETS
from sgm_core.errors import UsageError, unknown

__all__ = ["make_net"]


def make_net(
    kind: str,
    *,
    shape: tuple[int, ...],
    in_channels: int,
    sigma_data: float,
    num_classes: int,
    **parameters: Any,
) -> nn.Module:
    """Build a network for data of one shape.

    Raises:
        UsageError: unknown kind or parameter, or a network that does not fit the shape.
    """
    if kind not in NETS:
        raise unknown("network", kind, NETS)
    params = build(NETS[kind], parameters, [kind])
    if params.data_rank != len(shape):
        wanted = "points (d,)" if params.data_rank == 1 else "images (C, H, W)"
        raise UsageError(f"network {kind!r} is for {wanted} and the data has shape {shape}")
    module, _, cls = params.target.partition(":")
    net: nn.Module = getattr(import_module(module), cls)(
        shape=shape,
        in_channels=in_channels,
        sigma_data=sigma_data,
        num_classes=num_classes,
        **params.model_dump(),
    )
    return net
