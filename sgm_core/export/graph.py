"""The raw network F as an ONNX graph: opset 18, any batch, float32.

    inputs (B, in_channels, *shape), sigma (B,) [, labels (B,) int64, -1: no class]  ->  output (B, *shape)

Preconditioning, process, guidance and sampler stay outside, with their float64 state. Opset 18 and
not a later one: GroupNorm is then written out, which runs 1.45 times faster in WebAssembly.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    import onnx

    from sgm_core.model import ScoreModel

OPSET = 18
INPUTS, SIGMA, LABELS, OUTPUT = "inputs", "sigma", "labels", "output"


def network_graph(model: ScoreModel) -> onnx.ModelProto:
    """Return the averaged network of a model as an ONNX graph; the same network, the same bytes."""
    net = model.denoiser().net
    batch = torch.export.Dim("batch")
    examples = _examples(model)
    with _quiet():
        program: Any = torch.onnx.export(
            net,
            tuple(value.to(model.device) for value in examples.values()),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(examples),
            output_names=[OUTPUT],
            dynamic_shapes={name: {0: batch} for name in examples},
            verbose=False,
        )
    return _bare(program.model_proto)


def _examples(model: ScoreModel) -> dict[str, Tensor]:
    """Inputs of two items: what export traces; one item would be taken for a constant."""
    inputs = torch.zeros(2, model.preconditioning.in_channels, *model.shape)
    examples = {INPUTS: inputs, SIGMA: torch.ones(2)}
    if model.labels:
        examples[LABELS] = torch.tensor([0, -1])
    return examples


def _bare(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Leave out what no runtime reads: source lines and paths of this machine, inferred shapes.

    Inferred shapes hold for the traced batch, and quantisation would believe them.
    """
    del graph.graph.value_info[:], graph.metadata_props[:], graph.graph.metadata_props[:]
    graph.doc_string = graph.graph.doc_string = ""
    for node in graph.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for tensor in (*graph.graph.initializer, *graph.graph.input, *graph.graph.output):
        del tensor.metadata_props[:]
        tensor.doc_string = ""
    return graph


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks on names of axes and on optional packages to itself."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
