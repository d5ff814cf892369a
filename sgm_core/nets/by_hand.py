"""Gradients of small layers without autograd's graph.

In a network of a few small layers a step of training spends a quarter of its time on building and
walking the graph. A network that knows its own derivative has, besides `forward`, a method

    forward_and_pull(inputs, sigma, labels) -> (output, pull)

where `pull(slope)`, slope = d loss / d output, writes d loss / d p into `p.grad` of each of its
parameters p (views of one vector, see sgm_core.train.flat). It runs without gradients being recorded,
and once: what the forward pass saved is overwritten, so that the step stays in the processor's cache.
The arithmetic is autograd's; test_by_hand compares them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

Pull = Callable[[Tensor], None]


def linear(layer: nn.Linear, x: Tensor) -> Tensor:
    """Return x W^T + b, (B, in) -> (B, out)."""
    return torch.addmm(layer.bias, x, layer.weight.t())


def write_linear(layer: nn.Linear, x: Tensor, slope: Tensor) -> None:
    """Write the gradients of a linear layer that was given x: slope^T x and the sum of slope.

    Args:
        layer: with or without a bias.
        x: (B, in); slope: (B, out).
    """
    torch.mm(slope.t(), x, out=layer.weight.grad)
    if layer.bias is not None:
        torch.sum(slope, 0, out=layer.bias.grad)


def pull_linear(layer: nn.Linear, x: Tensor, slope: Tensor) -> Tensor:
    """As `write_linear`; return the slope of x, slope W, in x's memory."""
    write_linear(layer, x, slope)
    return torch.mm(slope, layer.weight, out=x)


def pull_silu(x: Tensor, slope: Tensor) -> Tensor:
    """Multiply slope by the derivative of SiLU at x, s(x) (1 + x (1 - s(x))); return it."""
    return torch.ops.aten.silu_backward.grad_input(slope, x, grad_input=slope)


def knows_its_derivative(net: nn.Module) -> bool:
    """Whether `forward_and_pull` is there, belongs to this `forward`, and may be used.

    A subclass with a `forward` of its own, and frozen parameters, are left to autograd.
    """
    for kind in type(net).__mro__:
        own = vars(kind)
        if "forward" in own or "forward_and_pull" in own:
            whole = "forward" in own and "forward_and_pull" in own
            return whole and all(p.requires_grad for p in net.parameters())
    return False
