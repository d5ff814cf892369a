"""Builds process, preconditioning and network from a resolved configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from sgm_core.denoise import Preconditioning
from sgm_core.nets import make_net
from sgm_core.process import make_process
from sgm_core.process.base import Process


@dataclass(frozen=True)
class Parts:
    """What a cell is made of."""

    process: Process
    preconditioning: Preconditioning
    net: nn.Module

    @property
    def parameters(self) -> int:
        """Number of trainable numbers."""
        return sum(p.numel() for p in self.net.parameters())


def build_parts(
    process: Mapping[str, Any],
    net: Mapping[str, Any],
    data: Mapping[str, Any],
    parametrisation: str,
    seed: int = 0,
) -> Parts:
    """Build the parts; the network's initial weights depend on `seed` alone.

    Args:
        process: {"kind": "vp", ...parameters}.
        net: {"kind": "mlp", ...parameters}.
        data: the fields shape, labels and sigma_data of dataset.json.
        parametrisation: "edm", "native" or "mixed"; see sgm_core.preconditioning.
    """
    process_fields, net_fields = dict(process), dict(net)
    forward = make_process(process_fields.pop("kind"), **process_fields)
    frame = Preconditioning(forward, float(data["sigma_data"]), parametrisation)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = make_net(
            net_fields.pop("kind"),
            shape=tuple(data["shape"]),
            in_channels=frame.in_channels,
            sigma_data=float(data["sigma_data"]),
            num_classes=len(data["labels"]),
            **net_fields,
        )
    return Parts(forward, frame, network)
