"""Half precision, int8 and pruning: bounds on what they change, and laws of what they do not."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from export_models import MODELS, UNET, model_of

from sgm_core.config.base import build
from sgm_core.config.net import UNetParams
from sgm_core.errors import UsageError
from sgm_core.export.graph import network_graph
from sgm_core.export.half import half_graph, half_weights
from sgm_core.export.int8 import ends, int8_graph
from sgm_core.export.onnx_network import OnnxNetwork
from sgm_core.export.pairs import Pairs, draw_pairs, errors
from sgm_core.export.prune import inner_blocks, keep, pruned
from sgm_core.model import ScoreModel
from sgm_core.nets.unet import groups_of

Whole = tuple[ScoreModel, onnx.ModelProto]


@pytest.fixture(scope="module", params=["mlp", "unet"])
def whole(request: pytest.FixtureRequest) -> Whole:
    """A model and its graph."""
    arguments = {"img_size": 8, "num_channels": 1, **UNET} if request.param == "unet" else None
    model = model_of(**(arguments or MODELS["mlp"]))
    return model, network_graph(model)


def pairs_of(model: ScoreModel, n: int = 256, seed: int = 0) -> Pairs:
    x0 = np.random.default_rng(seed).normal(size=(n, *model.shape)).clip(-1, 1)
    labels = np.arange(n) % len(model.labels) if model.labels else None
    return draw_pairs(model, x0, labels, seed)


def network(graph: onnx.ModelProto) -> OnnxNetwork:
    return OnnxNetwork(graph.SerializeToString())


def test_pairs_are_of_all_levels_and_classes_in_order(whole: Whole) -> None:
    model, _ = whole
    pairs = pairs_of(model)
    low, high = model.process.marginal.sigma_range()
    levels = pairs.sigma.log().numpy()
    assert (np.diff(levels) >= 0).all()
    steps = np.log([max(low, 1e-3), high])
    np.testing.assert_allclose(np.quantile(levels, [0, 0.5, 1]), [steps[0], steps.mean(), steps[1]],
                               atol=0.1)  # fmt: skip
    if model.labels:
        assert pairs.labels is not None
        assert set(pairs.labels.tolist()) == {-1, 0, 1, 2}
    again = pairs_of(model)
    assert torch.equal(again.inputs, pairs.inputs)


def test_half_precision_changes_little_and_both_forms_alike(whole: Whole) -> None:
    model, graph = whole
    pairs = pairs_of(model, seed=1)
    wanted = pairs.outputs(model.net)
    half = half_graph(graph, model.net)
    onnx.checker.check_model(half)
    output = pairs.outputs(network(half))
    assert 0 < errors(output, wanted)["rmse"] < 2e-3
    small = half_weights(model.net)
    other = ScoreModel.of(model.config, {k: v.float() for k, v in small.items()})
    torch.testing.assert_close(pairs.outputs(other.net), output, atol=2e-5, rtol=1e-5)
    kinds = {name: value.dtype for name, value in small.items()}
    assert kinds["enter.weight"] == torch.float16
    assert kinds["enter.bias"] == torch.float32
    if "fourier.frequencies" in kinds:
        assert kinds["fourier.frequencies"] == torch.float32
    # All that is left in single precision is small.
    matrices = sum(w.numel() for w in model.net.parameters() if w.ndim > 1)
    saved = len(graph.SerializeToString()) - len(half.SerializeToString())
    assert saved > 1.4 * matrices


def test_int8_is_bounded_and_leaves_the_ends_alone(whole: Whole) -> None:
    model, graph = whole
    quantised = int8_graph(graph, pairs_of(model))
    onnx.checker.check_model(quantised)
    held = pairs_of(model, seed=1)
    wanted = held.outputs(model.net)
    found = errors(held.outputs(network(quantised)), wanted)
    assert 0 < found["rmse"] < 0.1 * float(wanted.std())
    assert found["rmse_worst"] >= found["rmse"]
    assert len(network(quantised)(*next(held.batches(3)))) == 3, "at another batch size"
    assert int8_graph(graph, pairs_of(model)) == quantised
    made_by = {name: node.op_type for node in quantised.graph.node for name in node.output}
    left, seen = ends(graph), Counter[str]()
    for node in quantised.graph.node:
        if node.op_type in ("Conv", "Gemm"):
            inner = made_by.get(node.input[1]) == "DequantizeLinear"
            assert inner != (node.name in left), node.name
            seen[node.op_type, inner] += 1  # type: ignore[index]
    kinds = {"Gemm"} if len(model.shape) == 1 else {"Conv", "Gemm"}
    assert all(seen[kind, False] == 2 and seen[kind, True] > 2 for kind in kinds)  # type: ignore[index]


def test_calibration_on_low_noise_alone_is_worse() -> None:
    """Why pairs are of all levels."""
    model = model_of(**MODELS["mlp"])
    graph, pairs, held = network_graph(model), pairs_of(model), pairs_of(model, seed=1)
    low = Pairs(pairs.inputs[:64] * 0.1, pairs.sigma[:64], None)
    wanted = held.outputs(model.net)
    good, bad = (
        errors(held.outputs(network(int8_graph(graph, some))), wanted)["rmse"]
        for some in (pairs, low)
    )
    assert bad > 2 * good


# -- pruning -----------------------------------------------------------------------------------


def test_an_mlp_without_its_dead_units_is_the_same_function(tmp_path: Path) -> None:
    model = model_of(**MODELS["mlp"])
    for i, (_, block) in enumerate(inner_blocks(model.net)):
        block.second.weight.data[:, i::2] = 0.0  # type: ignore[union-attr]
    pairs = pairs_of(model)
    small = pruned(model, pairs, 0.5)
    assert small is not None
    assert small.config["net"]["inner"] == [8, 8] and small.parameters < model.parameters
    torch.testing.assert_close(
        pairs.outputs(small.net), pairs.outputs(model.net), atol=1e-5, rtol=0
    )
    small.save(tmp_path)
    loaded = ScoreModel.load(tmp_path)
    assert torch.equal(pairs.outputs(loaded.net), pairs.outputs(small.net))


def test_a_unet_without_the_doubles_in_its_groups_is_the_same_function() -> None:
    """A group's mean and variance stay the same if it loses one of each two equal channels."""
    model = model_of(
        img_size=8, num_channels=1, net={"kind": "unet", "channels": 16, "multipliers": [1, 2]}
    )
    for _, block in inner_blocks(model.net):
        norm, first, condition, second = (
            getattr(block, name) for name in ("norm2", "conv1", "condition", "conv2")
        )
        inner, size = second.in_channels, second.in_channels // norm.num_groups
        for start in range(0, inner, size):
            for c in range(start, start + size, 2):
                first.weight.data[c + 1] = first.weight.data[c]
                first.bias.data[c + 1] = first.bias.data[c]
                second.weight.data[:, c + 1] = 0.0
        assert condition.out_features == 2 * inner
    pairs = pairs_of(model, 64)
    small = pruned(model, pairs, 0.5)
    assert small is not None
    torch.testing.assert_close(
        pairs.outputs(small.net), pairs.outputs(model.net), atol=2e-5, rtol=1e-5
    )
    for name, block in inner_blocks(small.net):
        before = dict(inner_blocks(model.net))[name]
        assert block.conv2.in_channels * 2 == before.conv2.in_channels  # type: ignore[union-attr]
        assert block.norm2.num_groups == before.norm2.num_groups  # type: ignore[union-attr]


def test_groups_lose_equally_many_and_their_number_follows_from_what_is_left() -> None:
    generator = torch.Generator().manual_seed(0)
    for channels in (4, 6, 12, 16, 18, 20, 30, 36, 48, 64, 90):
        groups = groups_of(channels)
        for share in (0.0, 0.3, 0.5, 0.9):
            weights = torch.rand(channels, generator=generator)
            kept = keep(weights, groups, share)
            owners = Counter((kept // (channels // groups)).tolist())
            assert set(owners) == set(range(groups)) and len(set(owners.values())) == 1
            assert groups_of(len(kept)) == groups, "whoever reads the weights finds the groups"
            for group, count in owners.items():
                own = weights.reshape(groups, -1)[group]
                chosen = kept[kept // (channels // groups) == group] % (channels // groups)
                assert sorted(own[chosen].tolist()) == sorted(own.tolist())[-count:]
    assert len(keep(torch.rand(64), 8, 0.5)) == 32
    assert len(keep(torch.rand(7), 1, 0.5)) == 4


def test_a_network_whose_groups_have_one_channel_each_is_left_alone() -> None:
    model = model_of(img_size=4, num_channels=1, net={"kind": "unet", "channels": 4,
                                                      "multipliers": [1]})  # fmt: skip
    assert pruned(model, pairs_of(model, 16), 0.5) is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"inner": [8]},
            "inner has 1 entries and the network 7 residual blocks; write one for each",
        ),
        ({"inner": [0] * 7}, "inner.0: 0 is not valid"),
    ],
)
def test_wrong_inner_widths_are_one_sentence(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build(UNetParams, fields, ["unet"])
