r"""Structured pruning: fewer channels inside the residual blocks, so that all layers stay dense.

A block is h + W2 a, with a its inner channels; what channel c contributes is a_c times column c of W2.
Those that contribute least over all noise levels,

    importance_c = rms(a_c) |W2[:, c]|,

are taken out of every layer that makes or reads them: outputs of the first layer, rows of the
condition, the norm, inputs of the second layer. Where the inner channels are normalised in groups,
each group loses the same number, so that the groups stay what they are. (Channel pruning by what the
next layer sees: arXiv 1707.06168; zeroing single weights saves a dense runtime nothing.)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from sgm_core.export.pairs import Pairs
from sgm_core.model import ScoreModel
from sgm_core.nets.mlp import MLP, Block
from sgm_core.nets.unet import ResidualBlock, UNet, groups_of


def pruned(model: ScoreModel, pairs: Pairs, share: float) -> ScoreModel | None:
    """Return a smaller copy of a model, not tuned yet; None where no channel can go.

    Args:
        model: an MLP or a U-Net.
        pairs: what importance is measured on.
        share: of the inner channels that go; less where groups have few channels.
    """
    net = model.denoiser().net
    blocks = dict(inner_blocks(net))
    weights, inner = dict(net.state_dict()), []
    for name, found in importance(net, pairs).items():
        kept = keep(found, _groups(blocks[name]), share, int(getattr(net, "group", 0)))
        inner.append(len(kept))
        _slice(weights, name, blocks[name], kept)
    before = sum(_second(block).weight.shape[1] for block in blocks.values())
    if sum(inner) == before:
        return None
    config = {**model.config, "net": {**model.config["net"], "inner": inner}}
    return ScoreModel.of(config, weights)


def inner_blocks(net: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the residual blocks by name, in the order of the field `inner`."""
    if isinstance(net, MLP):
        yield from ((f"blocks.{i}", block) for i, block in enumerate(net.blocks))
        return
    assert isinstance(net, UNet), "the kinds of networks that there are"
    yield from ((f"down.{i}.0", stage.get_submodule("0")) for i, stage in enumerate(net.down))
    yield "middle.0", net.middle[0]
    yield from ((f"up.{i}.0", stage.get_submodule("0")) for i, stage in enumerate(net.up))


def importance(net: nn.Module, pairs: Pairs) -> dict[str, Tensor]:
    """Return rms(a_c) |W2[:, c]| of the inner channels of every block."""
    sums: dict[str, Tensor] = {}
    handles = []
    for name, block in inner_blocks(net):

        def note(_: nn.Module, arguments: tuple[Any, ...], name: str = name) -> None:
            square = arguments[0].square().transpose(0, 1).flatten(1).mean(1)
            sums[name] = sums.get(name, torch.zeros(())) + len(arguments[0]) * square

        handles.append(_second(block).register_forward_pre_hook(note))
    pairs.outputs(net)
    for handle in handles:
        handle.remove()
    blocks = dict(inner_blocks(net))
    return {
        name: total.sqrt()
        * _second(blocks[name]).weight.detach().transpose(0, 1).flatten(1).norm(dim=1)
        for name, total in sums.items()
    }


def keep(importance: Tensor, groups: int, share: float, group: int = 0) -> Tensor:
    """Return the channels that stay, ascending: the most important ones, equally many of each group.

    The number of groups must follow from what is left (`groups_of`), for whoever reads the weights.
    """
    size = len(importance) // groups
    wanted = max(1, round((1 - share) * size))
    fitting = [m for m in range(1, size + 1) if groups in (1, groups_of(groups * m, group))]
    count = max((m for m in fitting if m <= wanted), default=size)
    best = importance.reshape(groups, size).argsort(dim=1, descending=True)[:, :count]
    return (best + size * torch.arange(groups)[:, None]).flatten().sort().values


def _second(block: nn.Module) -> Any:
    return block.second if isinstance(block, Block) else block.conv2


def _groups(block: nn.Module) -> int:
    return block.norm2.num_groups if isinstance(block, ResidualBlock) else 1


def _slice(weights: dict[str, Tensor], name: str, block: nn.Module, kept: Tensor) -> None:
    """Leave in the weights of one block only what belongs to the channels `kept`."""
    if isinstance(block, Block):
        rows = dict.fromkeys(("first.weight", "first.bias", "condition.weight"), kept)
        second = "second.weight"
    else:
        inner = _second(block).in_channels
        both = torch.cat([kept, kept + inner])  # scale and shift
        rows = dict.fromkeys(("conv1.weight", "conv1.bias", "norm2.weight", "norm2.bias"), kept)
        rows |= {"condition.weight": both, "condition.bias": both}
        second = "conv2.weight"
    for layer, index in rows.items():
        weights[f"{name}.{layer}"] = weights[f"{name}.{layer}"][index]
    weights[f"{name}.{second}"] = weights[f"{name}.{second}"][:, kept]
