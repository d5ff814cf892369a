"""Weights in half precision: half the bytes, the same float32 arithmetic.

Only learned matrices are halved, which is where the bytes are. Biases and norms stay, and so do the
frequencies of the embeddings: an angle of some hundreds has no use for three digits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    import onnx


def halved(net: nn.Module) -> set[str]:
    """Return the names of the weights that are stored in half precision."""
    return {name for name, weight in net.named_parameters() if weight.ndim >= 2}


def half_weights(net: nn.Module) -> dict[str, Tensor]:
    """Return the network's state with its matrices as float16."""
    names = halved(net)
    state: dict[str, Tensor] = net.state_dict()
    return {k: v.to(torch.float16) if k in names else v for k, v in state.items()}


def half_graph(graph: onnx.ModelProto, net: nn.Module) -> onnx.ModelProto:
    """Return a copy of a network's graph whose matrices are float16 and cast where it is loaded."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    copy, names, casts = onnx.ModelProto(), halved(net), []
    copy.CopyFrom(graph)
    for tensor in copy.graph.initializer:
        if tensor.name in names:
            value, name = numpy_helper.to_array(tensor).astype(np.float16), tensor.name
            tensor.CopyFrom(numpy_helper.from_array(value, f"{name}.half"))
            casts.append(helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))
    nodes = list(copy.graph.node)
    del copy.graph.node[:]
    copy.graph.node.extend([*casts, *nodes])
    return copy
