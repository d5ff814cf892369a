"""A training on several ranks (gloo, CPU): the curve of one process, resume, kills, orphans."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from test_train import MLP, UNET, assert_equal_weights, data, spec, trained, wait_for_checkpoint

from sgm_core.config import parse_config
from sgm_core.errors import SgmError, UsageError
from sgm_core.spec import cells_of
from sgm_core.store import Store
from sgm_core.store.lease import lease
from sgm_core.train import group
from sgm_core.train.run import train_cell

__all__ = ["data"]  # the fixture

SCRIPT = """
import json, sys
from pathlib import Path
from sgm_core.errors import SgmError
from sgm_core.store.lease import lease
from sgm_core.train.run import train_cell
try:
    with lease(Path(sys.argv[3] + ".lock")):
        train_cell(json.loads(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), lambda event: None)
except SgmError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""


started: list[subprocess.Popen[str]] = []


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """End what a test that failed has left running."""
    yield
    while started:
        process = started.pop()
        if process.poll() is None:
            process.kill()


def start(job: dict[str, Any], dataset: Path, work: Path) -> subprocess.Popen[str]:
    work.mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, json.dumps(job), str(dataset), str(work)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    started.append(process)
    return process


def run(job: dict[str, Any], dataset: Path, work: Path) -> list[dict[str, Any]]:
    """Train in this process; return the events."""
    work.mkdir(exist_ok=True)
    events: list[dict[str, Any]] = []
    train_cell(job, dataset, work, events.append)
    return events


def curve(work: Path) -> list[tuple[float, float]]:
    points = json.loads((work / "history.json").read_text())
    return [(point["loss"], point["grad_norm"]) for point in points]


def ranks_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    children = psutil.Process(process.pid).children()
    return sorted(children, key=lambda child: child.environ()["SGM_RANK"])


def gone(processes: list[psutil.Process], seconds: float = 20) -> None:
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    assert not alive


@pytest.mark.parametrize(
    ("dataset", "net"), [("rolls", MLP), pytest.param("digits", UNET, marks=pytest.mark.slow)]
)
def test_two_ranks_have_the_loss_curve_of_one_process(
    data: Path, tmp_path: Path, dataset: str, net: dict[str, Any]
) -> None:
    """Same global batch (33: the slices differ in size), to 1e-5; no dropout, whose masks differ."""
    fields = {"steps": 20, "batch": 33, "weighting": "min_snr"}
    net = {**net, "dropout": 0.0} if "dropout" in net else net
    alone = run(spec(net, **fields), data / dataset, tmp_path / "one")
    shared = run(spec(net, **fields, devices=2), data / dataset, tmp_path / "two")
    one, two = curve(tmp_path / "one"), curve(tmp_path / "two")
    assert len(one) == len(two) == 4  # means over five steps: one that is 1e-5 off shows as 2e-6
    for a, b in zip(one, two, strict=True):
        assert b == pytest.approx(a, rel=2e-6)
    first, second = trained(tmp_path / "one"), trained(tmp_path / "two")
    apart = torch.cat([(first[name] - second[name]).flatten().abs() for name in first])
    assert float(apart.square().mean().sqrt()) < 1e-5
    # Adam takes steps of the learning rate (3e-3 at most) also where a gradient is nothing but rounding.
    assert float(apart.max()) < 5e-4
    told = [[e["step"] for e in events if e["event"] == "progress"] for events in (alone, shared)]
    assert told[0][-1:] == told[1][-1:] == [20]
    assert not list((tmp_path / "two").glob("checkpoint-*"))


@pytest.mark.slow
def test_stopped_ranks_agree_on_a_step_and_go_on_to_the_same_weights(
    data: Path, tmp_path: Path
) -> None:
    """With dropout: its masks are those of an uninterrupted run on as many ranks."""
    job = spec(UNET, steps=30, every=10, devices=2)
    run(job, data / "digits", tmp_path / "whole")
    parts = tmp_path / "parts"
    process = start(job, data / "digits", parts)
    wait_for_checkpoint(parts, process)
    ranks = ranks_of(process)
    assert len(ranks) == 2
    ranks[1].send_signal(signal.SIGTERM)  # one of them is enough
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143, errors
    assert "stopped at step" in errors and "Traceback" not in errors
    events = run(job, data / "digits", parts)
    assert any("resumed at step" in event.get("text", "") for event in events)
    assert_equal_weights(tmp_path / "whole", parts)


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_rank_ends_the_group_and_the_cell_goes_on(
    data: Path, tmp_path: Path, victim: int
) -> None:
    job = spec(MLP, steps=100_000, every=20, devices=2)
    process = start(job, data / "rolls", tmp_path / "work")
    wait_for_checkpoint(tmp_path / "work", process)
    ranks = ranks_of(process)
    ranks[victim].kill()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 137, errors
    assert f"rank {victim} of 2 was killed by signal 9; run again" in errors.splitlines()[-1]
    gone(ranks, 0)
    again = start(job, data / "rolls", tmp_path / "work")
    last = max((tmp_path / "work").glob("checkpoint-*.json"))
    deadline = time.monotonic() + 120
    while max((tmp_path / "work").glob("checkpoint-*.json")) == last:
        assert again.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    again.terminate()
    _, errors = again.communicate(timeout=60)
    assert again.returncode == 143, errors


@pytest.mark.slow
def test_ranks_die_with_their_parent_and_hold_its_lease_until_then(
    data: Path, tmp_path: Path
) -> None:
    job = spec(MLP, steps=100_000, every=20, devices=2)
    process = start(job, data / "rolls", tmp_path / "work")
    wait_for_checkpoint(tmp_path / "work", process)
    ranks = ranks_of(process)
    for rank in ranks:
        rank.suspend()
    process.kill()
    process.wait()  # not `communicate`: its ranks hold the pipe
    with lease(tmp_path / "work.lock", wait=False) as free:
        assert not free, "its ranks could still write"
    for rank in ranks:
        rank.resume()
    gone(ranks)
    with lease(tmp_path / "work.lock", wait=False) as free:
        assert free


@pytest.mark.slow
def test_a_failure_of_the_ranks_is_one_sentence(data: Path, tmp_path: Path) -> None:
    job = spec(MLP, lr=1e30, grad_clip=1e30, warmup=0, devices=2)
    with pytest.raises(SgmError, match="the loss is not finite at step") as error:
        run(job, data / "rolls", tmp_path / "work")
    assert error.value.exit_code == 1


@pytest.mark.slow
def test_who_receives_the_events_may_end_it(data: Path, tmp_path: Path) -> None:
    """As a store does that has lost its lease; the ranks are gone then."""
    job = spec(MLP, steps=100_000, every=20, devices=2)

    def emit(event: dict[str, Any]) -> None:
        raise SgmError("somebody else has it")

    with pytest.raises(SgmError, match="somebody else has it"):
        train_cell(job, data / "rolls", tmp_path, emit)
    left = [p for p in psutil.Process().children() if "sgm_core.train.rank" in p.cmdline()]
    assert left == []


def test_a_slot_with_too_few_gpus_says_what_to_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group, "gpus", lambda: ["3"])
    with pytest.raises(SgmError, match=r"2 GPUs are asked for and this slot has 1 \(3\)") as error:
        group.check_devices(2, "cuda")
    assert "sgm worker --gpus 0+1" in str(error.value)
    group.check_devices(2, "cpu")
    group.check_devices(1, "cuda")


PARAMS: dict[str, Any] = {
    "active": ["rolls"],
    "datasets": {"points": {"kind": "swiss_roll"}},
    "experiments": {
        "rolls": {"dataset": "points", "processes": {"vp": {}}, "nets": {"mlp": {}}}
    },
}  # fmt: skip


def test_one_device_leaves_the_cells_key_as_it_was() -> None:
    def keys(**training: Any) -> list[str]:
        entry = {**PARAMS["experiments"]["rolls"], "training": training}
        config = parse_config({**PARAMS, "experiments": {"rolls": entry}})
        cells = cells_of(config.experiments["rolls"], "digest")
        assert "devices" not in cells[0].training or training.get("devices", 1) > 1
        return [cell.key for cell in cells]

    assert keys() == keys(devices=1) != keys(devices=2)
    with pytest.raises(UsageError, match=r"training.devices: 4 is not valid: .* batch"):
        keys(devices=4, batch=3)


@pytest.mark.slow
def test_a_cell_on_two_ranks_is_committed_once(data: Path, tmp_path: Path) -> None:
    store, job = Store(tmp_path), spec(MLP, steps=5, devices=2)

    def build(work: Path) -> dict[str, Any]:
        return train_cell(job, data / "rolls", work, lambda event: None)

    entry = store.ensure("cells", "k", build, {})
    assert sorted(entry.manifest["files"]) == [
        "config.json", "history.json", "model.safetensors", "summary.json",
    ]  # fmt: skip
