"""An ONNX graph in place of the network: denoisers, samplers and metrics run on it unchanged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sgm_core.errors import SgmError
from sgm_core.export.graph import INPUTS, LABELS, SIGMA


class OnnxNetwork(nn.Module):
    """F(inputs, sigma, labels) by onnxruntime, on the CPU; may be called from several threads.

    Args:
        graph: a file, or its bytes.
        threads: of one call.

    Raises:
        SgmError: onnxruntime does not take the graph.
    """

    def __init__(self, graph: Path | bytes, threads: int = 1) -> None:
        super().__init__()
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        name = "the graph" if isinstance(graph, bytes) else str(graph)
        source = graph if isinstance(graph, bytes) else str(graph)
        try:
            self.session = ort.InferenceSession(source, options, ["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own classes, which share no base
            text = " ".join(str(error).split())[:300]
            raise SgmError(f"{name} cannot be run by onnxruntime: {text}") from None
        self.conditional = LABELS in [entry.name for entry in self.session.get_inputs()]
        # What asks a network for its dtype and device finds them.
        self.like = nn.Parameter(torch.empty(0), requires_grad=False)

    def forward(self, inputs: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        feed = {INPUTS: _array(inputs, np.float32), SIGMA: _array(sigma, np.float32)}
        if self.conditional:
            missing = np.full(len(inputs), -1, dtype=np.int64)
            feed[LABELS] = missing if labels is None else _array(labels, np.int64)
        return torch.from_numpy(self.session.run(None, feed)[0])


def _array(value: Tensor, dtype: type) -> np.ndarray:
    return np.ascontiguousarray(value.detach().cpu().numpy(), dtype=dtype)
