"""ONNX graphs agree with PyTorch, and a bundle's files are those that were written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from export_models import MODELS, inputs_of, model_of

from sgm_core.bundle import CONFIG
from sgm_core.errors import SgmError, UsageError
from sgm_core.export.bundle import MANIFEST, read_bundle_manifest, write_bundle_manifest
from sgm_core.export.graph import OPSET, network_graph
from sgm_core.export.onnx_network import OnnxNetwork
from sgm_core.export.variant import open_variant


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of two variants."""
    folder = tmp_path_factory.mktemp("bundle")
    model = model_of(**MODELS["mlp"])
    model.save(folder)
    onnx.save(network_graph(model), str(folder / "model.onnx"))
    entries: dict[str, Any] = {
        "fp32": {"status": "published", "metrics": {}},
        "onnx": {"status": "rejected", "reason": "an example", "metrics": {"rmse": 0.0}},
    }
    write_bundle_manifest(folder, "sgm-toy", 3, "0" * 64, entries, {"quality": None, "notes": []})
    return folder


@pytest.mark.parametrize("name", MODELS)
def test_a_graph_agrees_with_its_network_at_any_batch(name: str) -> None:
    model = model_of(**MODELS[name])
    graph = network_graph(model)
    onnx.checker.check_model(graph)
    assert [(entry.domain, entry.version) for entry in graph.opset_import] == [("", OPSET)]
    names = ["inputs", "sigma", "labels"] if model.labels else ["inputs", "sigma"]
    assert [entry.name for entry in graph.graph.input] == names
    assert [entry.name for entry in graph.graph.output] == ["output"]
    assert str(Path(__file__).parents[1]).encode() not in graph.SerializeToString()
    network = OnnxNetwork(graph.SerializeToString())
    for n in (1, 2, 13):
        given = inputs_of(model, n)
        with torch.no_grad():
            wanted = model.net(*given)
        assert wanted.std() > 0.05, "a network that does nothing proves nothing"
        torch.testing.assert_close(network(*given), wanted, atol=1e-5, rtol=1e-5)
    with torch.no_grad():  # without labels: no class
        wanted = model.net(*given[:2])
    torch.testing.assert_close(network(*given[:2]), wanted, atol=1e-5, rtol=1e-5)


def test_samplers_run_on_a_variant_unchanged(bundle: Path) -> None:
    manifest = read_bundle_manifest(bundle)
    drawn = [
        open_variant(bundle, manifest, name).generate(5, seed=3, steps=6)
        for name in ("fp32", "onnx")
    ]
    torch.testing.assert_close(*map(torch.from_numpy, drawn), atol=1e-5, rtol=1e-5)
    with pytest.raises(UsageError, match=r"unknown variant 'onyx'; did you mean 'onnx'\?"):
        open_variant(bundle, manifest, "onyx")


def test_a_graph_that_cannot_run_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"nothing")
    with pytest.raises(SgmError, match=r"model\.onnx cannot be run by onnxruntime: "):
        OnnxNetwork(tmp_path / "model.onnx")


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))


def edit(file: Path, **values: Any) -> None:
    document = json.loads(file.read_text())
    file.write_text(json.dumps(document | values))


DAMAGES: list[tuple[Callable[[Path], Any], str]] = [
    (lambda b: flip(b / "model.onnx"), r"model\.onnx was altered"),
    (lambda b: (b / "model.onnx").unlink(), r"model\.onnx is missing; restore it"),
    (lambda b: (b / "model.safetensors").write_bytes(b""), r"model\.safetensors was altered"),
    (lambda b: flip(b / CONFIG), r"config\.json was altered"),
    (lambda b: (b / MANIFEST).write_text("{"), "not valid JSON"),
    (lambda b: edit(b / MANIFEST, format=2), "has format 2 and this version reads 1"),
    (lambda b: edit(b / MANIFEST, files=[]), "is damaged"),
    (lambda b: edit(b / MANIFEST, files={}), r"does not list config\.json"),
    (
        lambda b: edit(b / MANIFEST, files={"../x": {"bytes": 1, "sha256": ""}}),
        r"names '\.\./x', which is outside of the bundle",
    ),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGES)
def test_a_damaged_bundle_is_refused(
    bundle: Path, tmp_path: Path, damage: Callable[[Path], Any], message: str
) -> None:
    for file in bundle.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    assert read_bundle_manifest(tmp_path)["version"] == 3
    damage(tmp_path)
    with pytest.raises(SgmError, match=message):
        read_bundle_manifest(tmp_path)


def test_a_folder_without_a_bundle_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no bundle .* sgm bundle"):
        read_bundle_manifest(tmp_path)
