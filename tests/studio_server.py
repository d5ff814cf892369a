"""Bundles with random weights, and a studio's server in a process of its own."""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sgm_core import ScoreModel
from sgm_core.export.bundle import write_bundle_manifest

ROOT = Path(__file__).resolve().parent.parent
LABELS = ["zero", "one", "two"]
SMALL_UNET = {"kind": "unet", "channels": 4, "multipliers": [1], "heads": 1}
SMALL_MLP = {"kind": "mlp", "width": 16, "depth": 1, "fourier": 8}
JSON = {"content-type": "application/json"}

Event = tuple[str, dict[str, Any]]


def disturbed(model: ScoreModel, seed: int = 0) -> ScoreModel:
    """A model whose network is not the linear one that it begins with."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weights in model.net.parameters():
            weights.add_(0.1 * torch.randn(weights.shape, generator=generator))
    return model


def images(seed: int = 0) -> ScoreModel:
    model = ScoreModel(
        img_size=6, num_channels=1, net=SMALL_UNET, labels=LABELS, data_range=(0, 16)
    )
    return disturbed(model, seed)


def points(seed: int = 0, **given: Any) -> ScoreModel:
    return disturbed(ScoreModel(shape=(2,), net=SMALL_MLP, **given), seed)


def write(model: ScoreModel, folder: Path, name: str, version: int = 1, onnx: bool = False) -> Path:
    """Write a bundle."""
    model.save(folder)
    variants = {"fp32": {"status": "published", "metrics": {"bytes": 1}}}
    if onnx:
        from sgm_core.export.graph import network_graph

        (folder / "model.onnx").write_bytes(network_graph(model).SerializeToString())
        variants["onnx"] = {"status": "published", "metrics": {}}
    write_bundle_manifest(folder, name, version, "0" * 64, variants, {"quality": None, "notes": []})
    return folder


def numbers(text: str, shape: tuple[int, ...]) -> np.ndarray:
    """The arrays of an event."""
    return np.frombuffer(base64.b64decode(text), "<f4").reshape(-1, *shape)


def text_of(array: Any, kind: str = "<f4") -> str:
    return base64.b64encode(np.ascontiguousarray(array, kind).tobytes()).decode()


def parsed(stream: bytes) -> list[Event]:
    """The events of a stream; comments are left out."""
    events = []
    for block in stream.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if line[:1] != ":")
        if fields:
            events.append((fields["event"], json.loads(fields["data"])))
    return events


@dataclass
class Client:
    """A client of a server on this machine."""

    port: int
    process: subprocess.Popen[str] | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def ask(
        self,
        path: str,
        body: Any = None,
        method: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body of an answer."""
        connection = self.connect()
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        given = {**(JSON if data is not None else {}), **(headers or {})}
        connection.request(method or ("POST" if data is not None else "GET"), path, data, given)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, content

    def json(self, path: str) -> Any:
        status, _, content = self.ask(path)
        assert status == 200, content
        return json.loads(content)

    def generate(self, **asked: Any) -> list[Event]:
        status, headers, content = self.ask("/api/generate", asked)
        assert status == 200, content
        assert headers["content-type"].startswith("text/event-stream")
        return parsed(content)

    def refused(self, **asked: Any) -> tuple[int, str]:
        """Return status and sentence of a request that is not answered."""
        status, headers, content = self.ask("/api/generate", asked)
        assert headers["content-type"] == "application/json", content[:200]
        return status, json.loads(content)["detail"]

    def x(self, shape: tuple[int, ...], **asked: Any) -> np.ndarray:
        """Return the samples of a request."""
        name, fields = self.generate(**asked)[-1]
        assert name == "done", fields
        return numbers(fields["x"], shape)


@contextmanager
def serving(*arguments: str, **variables: str) -> Iterator[Client]:
    """Run `sgm studio` on a free port, until the end of this block."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("SGM_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "flows", "studio", "--port", "0", *arguments],
        cwd=ROOT,
        env={**clean, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("http://127.0.0.1:"), line + process.stdout.read()
        yield Client(int(line.split()[0].rpartition(":")[2]), process)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(20)
        if process.stdout is not None:
            process.stdout.close()
