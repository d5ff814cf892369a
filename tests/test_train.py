"""The trainer: learns, resumes bit for bit, stops on SIGTERM, survives kill -9, fails on NaN."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from sgm_core.config.data import DigitsParams, SwissRollParams
from sgm_core.config.training import TrainingConfig
from sgm_core.data import prepare
from sgm_core.ending import Terminated
from sgm_core.errors import SgmError
from sgm_core.train.feed import ItemOrder
from sgm_core.train.run import train_cell

MLP = {"kind": "mlp", "width": 16, "depth": 1, "fourier": 8, "fourier_scale": 2.0}
UNET = {
    "kind": "unet", "channels": 8, "multipliers": [1, 2], "blocks": 1, "attention": [1],
    "heads": 4, "dropout": 0.1,
}  # fmt: skip
NETS = {"rolls": MLP, "digits": UNET}


def spec(net: dict[str, Any], steps: int = 60, every: int = 20, **training: Any) -> dict[str, Any]:
    fields = {"steps": steps, "batch": 32, "device": "cpu", **training}
    full = TrainingConfig(**fields).model_dump(mode="json", exclude={"checkpoint_every"})
    process = {"kind": "cld", "m_inv": 4.0, "beta": 4.0, "gamma": 0.04, "objective": "hsm"}
    return {
        "experiment": "e", "name": "n", "process": process, "net": net, "training": full,
        "seed": 3, "checkpoint_every": every,
    }  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    prepare("rolls", SwissRollParams(n=2000), root, root / "rolls", log=lambda _: None)
    prepare("digits", DigitsParams(), root, root / "digits", log=lambda _: None)
    return root


def quiet(event: dict[str, Any]) -> None:
    """Ignore progress."""


def trained(work: Path) -> dict[str, torch.Tensor]:
    return load_file(work / "model.safetensors")


def assert_equal_weights(a: Path, b: Path) -> None:
    first, second = trained(a), trained(b)
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


@pytest.fixture(scope="module")
def undisturbed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A whole run of a network on a dataset, made once."""

    @cache
    def run(dataset: str) -> Path:
        work = tmp_path_factory.mktemp(dataset)
        train_cell(spec(NETS[dataset]), data / dataset, work, quiet)
        return work

    return run


@pytest.mark.parametrize("dataset", ["rolls", "digits"])
@pytest.mark.parametrize("stop_at", [1, 20, 33, 59])
def test_resume_equals_an_uninterrupted_run_bit_for_bit(
    data: Path, tmp_path: Path, undisturbed: Callable[..., Path], dataset: str, stop_at: int
) -> None:
    """Weights, average, moments, noise, dropout and data order: all of the state is saved."""
    net, whole, parts = NETS[dataset], undisturbed(dataset), tmp_path

    # The first attempt is cut off after `stop_at` steps, wherever that is between checkpoints.
    import sgm_core.train.run as run

    original, seen = run.train, [0]

    def cut(*args: Any) -> Any:
        for report in original(*args):
            yield report
            seen[0] += 1
            if seen[0] == stop_at:
                raise KeyboardInterrupt

    run.train = cut
    try:
        with pytest.raises(KeyboardInterrupt):
            train_cell(spec(net), data / dataset, parts, quiet)
    finally:
        run.train = original
    torch.rand(7)  # whatever else the process draws must not matter
    train_cell(spec(net), data / dataset, parts, quiet)
    assert_equal_weights(whole, parts)
    histories = [json.loads((p / "history.json").read_text()) for p in (whole, parts)]
    assert [(h["step"], h["loss"]) for h in histories[0]] == [
        (h["step"], h["loss"]) for h in histories[1]
    ]
    assert not list(parts.glob("checkpoint-*"))


SCRIPT = """
import json, sys
from pathlib import Path
from sgm_core.errors import SgmError
from sgm_core.train.run import train_cell
def emit(event):
    print(json.dumps(event), flush=True)
try:
    train_cell(json.loads(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), emit)
except SgmError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""


def start(job: dict[str, Any], dataset: Path, work: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, json.dumps(job), str(dataset), str(work)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def wait_for_checkpoint(work: Path, process: subprocess.Popen[str]) -> None:
    for _ in range(10_000):
        if list(work.glob("checkpoint-*.json")) or process.poll() is not None:
            return
        time.sleep(0.02)
    raise AssertionError("no checkpoint appeared")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_trainer_goes_on_to_the_same_weights(
    data: Path, tmp_path: Path, how: signal.Signals
) -> None:
    job = spec(MLP, steps=1500, every=100)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    process = start(job, data / "rolls", parts)
    wait_for_checkpoint(parts, process)
    process.send_signal(how)
    _, errors = process.communicate(timeout=60)
    if how == signal.SIGTERM:
        assert process.returncode == 143, errors
        assert "run again to go on" in errors
        assert "Traceback" not in errors
    else:
        assert process.returncode == -signal.SIGKILL
    assert not (parts / "model.safetensors").exists()
    messages: list[str] = []
    train_cell(
        job, data / "rolls", parts, lambda e: messages.append(e.get("text", "")) if e else None
    )
    assert any(text.startswith("resumed at step") for text in messages)
    train_cell(job, data / "rolls", whole, quiet)
    assert_equal_weights(whole, parts)


def test_sigterm_after_the_last_step_keeps_what_was_trained(data: Path, tmp_path: Path) -> None:
    def emit(event: dict[str, Any]) -> None:
        if event.get("step") == job["training"]["steps"]:
            os.kill(os.getpid(), signal.SIGTERM)

    def stop(*_: object) -> None:
        raise Terminated

    job, before = spec(MLP), signal.signal(signal.SIGTERM, stop)
    try:
        with pytest.raises(Terminated):
            train_cell(job, data / "rolls", tmp_path, emit)
    finally:
        signal.signal(signal.SIGTERM, before)
    messages: list[dict[str, Any]] = []
    assert train_cell(job, data / "rolls", tmp_path, messages.append)["steps"] == 60
    assert messages == [], "no step was trained again"


def test_a_damaged_checkpoint_is_passed_over(data: Path, tmp_path: Path) -> None:
    job, whole, parts = spec(MLP), tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    train_cell(job, data / "rolls", whole, quiet)
    import sgm_core.train.result as result

    original = result.clear_checkpoints
    result.clear_checkpoints = lambda folder: None  # leaves the checkpoints of steps 20 and 40
    try:
        train_cell(job, data / "rolls", parts, quiet)
    finally:
        result.clear_checkpoints = original
    for name in ("model.safetensors", "config.json", "history.json", "summary.json"):
        (parts / name).unlink()
    newest = parts / "checkpoint-000000040.safetensors"
    raw = bytearray(newest.read_bytes())
    raw[len(raw) // 2] ^= 1
    newest.write_bytes(raw)
    messages: list[str] = []
    train_cell(job, data / "rolls", parts, lambda e: messages.append(e.get("text", "")))
    assert any("damaged" in m for m in messages)
    assert any(m == "resumed at step 20 of 60" for m in messages)
    assert_equal_weights(whole, parts)


def test_an_attempt_killed_after_its_last_step_trains_no_more(data: Path, tmp_path: Path) -> None:
    summary = train_cell(spec(MLP), data / "rolls", tmp_path, quiet)
    events: list[dict[str, Any]] = []
    assert train_cell(spec(MLP), data / "rolls", tmp_path, events.append) == summary
    assert events == []


def test_a_loss_that_is_not_finite_fails_with_one_sentence(data: Path, tmp_path: Path) -> None:
    job = spec(MLP, lr=1e30, grad_clip=1e30, warmup=0)
    with pytest.raises(SgmError) as error:
        train_cell(job, data / "rolls", tmp_path, quiet)
    assert "not finite at step" in str(error.value)
    assert "training.lr" in str(error.value)
    assert not list(tmp_path.glob("checkpoint-*"))


def test_training_learns_and_depends_on_the_seed_alone(data: Path, tmp_path: Path) -> None:
    losses, weights = [], []
    for i, seed in enumerate((3, 3, 4)):
        work = tmp_path / str(i)
        work.mkdir()
        torch.manual_seed(100 + i)
        job = {**spec({**MLP, "width": 64}, steps=400, lr=5e-3), "seed": seed}
        train_cell(job, data / "rolls", work, quiet)
        history = json.loads((work / "history.json").read_text())
        losses.append([np.mean([h["loss"] for h in part]) for part in (history[:5], history[-20:])])
        weights.append(trained(work)["leave.weight"])
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert all(last < 0.9 * first for first, last in losses), losses


def test_training_in_a_thread_leaves_signals_alone(data: Path, tmp_path: Path) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(
        target=train_cell, args=(spec(MLP, steps=5), data / "rolls", tmp_path, quiet)
    )
    thread.start()
    thread.join()
    assert (tmp_path / "model.safetensors").exists()
    assert signal.getsignal(signal.SIGTERM) is handler


def test_every_epoch_sees_every_item_once_whatever_the_batch() -> None:
    order = ItemOrder(10, seed=1, batch=4)
    seen = torch.cat([order(step) for step in range(5)])
    assert sorted(seen[:10].tolist()) == sorted(seen[10:].tolist()) == list(range(10))
    assert seen[:10].tolist() != seen[10:].tolist()
    fresh = ItemOrder(10, seed=1, batch=4)
    assert torch.equal(fresh(4), order(4))
    assert len(ItemOrder(3, 0, 8)(0)) == 8


LARGE = """
import json, sys
from pathlib import Path
from sgm_core.data.dataset import digest_of
from sgm_core.store.files import sha256_file
from sgm_core.train.run import train_cell
folder, spec = Path(sys.argv[1]), json.loads(sys.argv[2])
meta = json.loads((folder / "dataset.json").read_text())
n = 5 * 2**30 // (3 * 64 * 64)
header = json.dumps({"x": {"dtype": "U8", "shape": [n, 3, 64, 64], "data_offsets": [0, n * 12288]}})
header = header.encode() + b" " * (-len(header) % 8)
with (folder / "train.safetensors").open("r+b") as stream:
    stream.truncate(0)
    stream.write(len(header).to_bytes(8, "little") + header)
    stream.truncate(8 + len(header) + n * 12288)  # a hole: five gigabytes of zeros, none on disk
meta["shape"], meta["labels"] = [3, 64, 64], []
meta["files"]["train.safetensors"]["sha256"] = sha256_file(folder / "train.safetensors")
meta["digest"] = digest_of(meta)
(folder / "dataset.json").write_text(json.dumps(meta))
(folder / "work").mkdir()
train_cell(spec, folder, folder / "work", lambda event: None)
# ru_maxrss would begin with what the process that started this one held at most.
held = Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()
print(int(held[0]) * 1024)
"""


@pytest.mark.slow
def test_images_larger_than_the_memory_allowed_are_streamed(data: Path, tmp_path: Path) -> None:
    """Five gigabytes of images, several passes of which are read, train in less than two."""
    folder = tmp_path / "large"
    shutil.copytree(data / "digits", folder)
    net = {"kind": "unet", "channels": 4, "multipliers": [1], "heads": 1, "patch": 8}
    job = spec(net, steps=150, batch=256, label_dropout=0.0)
    done = subprocess.run(
        [sys.executable, "-c", LARGE, str(folder), json.dumps(job)],
        capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 2 * 2**30


def test_every_step_looks_at_the_memory(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sgm_core.train.run as run

    looks: list[int] = []

    class Memory:
        def look(self, step: int) -> None:
            looks.append(step)

    monkeypatch.setattr(run, "KeptMemory", Memory)
    train_cell(spec(MLP, steps=5), data / "rolls", tmp_path, quiet)
    assert looks == [1, 2, 3, 4, 5]


def test_a_network_that_cannot_be_compiled_is_one_sentence(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As torch says it where no C++ compiler is installed, at the first forward pass."""

    class NoCompiler(RuntimeError):
        __module__ = "torch._inductor.exc"

    def compiled(net: torch.nn.Module) -> Callable[..., torch.Tensor]:
        def forward(*_: torch.Tensor) -> torch.Tensor:
            raise NoCompiler("No working C++ compiler found\n\nSet TORCHDYNAMO_VERBOSE=1")

        return forward

    monkeypatch.setattr(torch, "compile", compiled)
    with pytest.raises(SgmError) as error:
        train_cell(spec(UNET, compile=True), data / "digits", tmp_path, quiet)
    assert str(error.value) == (
        "training.compile: the network cannot be compiled here (No working C++ compiler found); write "
        "false, or install a C++ compiler (and Triton for a GPU)"
    )


@pytest.mark.slow
def test_a_compiled_training_has_the_loss_curve_of_the_plain_one(
    data: Path, tmp_path: Path
) -> None:
    """On the CPU, with a compiler; kernels are fused, so that rounding differs."""
    if shutil.which("g++") is None:
        pytest.skip("no C++ compiler")
    plain, compiled = tmp_path / "plain", tmp_path / "compiled"
    net = {**UNET, "dropout": 0.0}
    for work, given in ((plain, False), (compiled, True)):
        work.mkdir()
        train_cell(spec(net, steps=20, compile=given), data / "digits", work, quiet)
    told = [
        [p["loss"] for p in json.loads((w / "history.json").read_text())] for w in (plain, compiled)
    ]
    assert told[1] == pytest.approx(told[0], rel=2e-5)  # means over five steps
