"""Static int8 quantisation of a network's graph (QDQ), first and last layers left in float32.

Convolutions and Gemms multiply uint8 activations by int8 weights, per channel. Scales come from
pairs (x_t, t) of all noise levels: a network that was calibrated on some is far off on the others.
Weights use 7 of the 8 bits: without VNNI, x86 adds two products in 16 bits, which saturate with all 8,
and a result that was measured here would not hold there. That costs 1 % of the error.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sgm_core.export.pairs import Pairs

if TYPE_CHECKING:
    import onnx

QUANTISED = ("Conv", "Gemm")
BATCH = 64


def int8_graph(graph: onnx.ModelProto, pairs: Pairs) -> onnx.ModelProto:
    """Return a quantised copy of a network's graph.

    Args:
        graph: without inferred shapes (`network_graph`), which hold for one batch size only.
        pairs: what activations are calibrated on.
    """
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.feeds = pairs.feeds(BATCH)

        def get_next(self) -> Any:
            return next(self.feeds, None)

    with tempfile.TemporaryDirectory(prefix="sgm-int8-") as folder, _quiet():
        given, made = Path(folder, "fp32.onnx"), Path(folder, "int8.onnx")
        given.write_bytes(graph.SerializeToString())
        quantize_static(
            str(given),
            str(made),
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTISED),
            nodes_to_exclude=ends(graph),
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
            calibrate_method=CalibrationMethod.MinMax,
        )
        quantised = onnx.load(str(made))
    del quantised.graph.value_info[:]
    return quantised


def ends(graph: onnx.ModelProto) -> list[str]:
    """Return the names of the first and last convolution and the first and last Gemm."""
    found = []
    for kind in QUANTISED:
        nodes = [node.name for node in graph.graph.node if node.op_type == kind]
        found += [nodes[0], nodes[-1]] if nodes else []
    return found


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep onnxruntime's advice on pre-processing (which breaks a dynamic batch) to itself."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
