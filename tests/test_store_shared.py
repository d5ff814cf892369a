"""A store behind a bucket (moto): two machines, cut off, damaged, interrupted; real S3 requests."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest
from s3_server import s3, s3_server

from sgm_core.errors import SgmError, UsageError
from sgm_core.store import claim as claim_module
from sgm_core.store.objects import Away, Bucket, Refused
from sgm_core.store.record import DONE, Record, Records
from sgm_core.store.shared import SharedStore, store_at
from sgm_core.store.store import Store

__all__ = ["s3", "s3_server"]  # the fixtures

S3 = tuple[dict[str, str], str]


def machine(s3: S3, root: Path, seconds: float = 2.0) -> SharedStore:
    """The store of a machine with a disk of its own."""
    return SharedStore(root, Records(Bucket(s3[1])), seconds)


class Builder:
    """Writes a weight that tells who built it; resumes from a checkpoint; may be held up."""

    def __init__(self, name: str, gate: threading.Event | None = None) -> None:
        self.name, self.gate, self.calls, self.first = name, gate, 0, ""
        self.started = threading.Event()

    def __call__(self, work: Path) -> dict[str, Any]:
        self.calls += 1
        found = sorted(work.glob("checkpoint-*"))
        self.first = found[-1].read_text() if found else ""
        (work / "checkpoint-1").write_text(f"{self.name} was here")
        self.started.set()
        if self.gate is not None:
            assert self.gate.wait(30)
        for file in work.glob("checkpoint-*"):
            file.unlink()
        (work / "weights").write_bytes(self.name.encode() * 500)
        (work / "deep").mkdir(exist_ok=True)
        (work / "deep" / "note").write_text("a note")
        return {"by": self.name}


def objects(s3: S3) -> dict[str, bytes]:
    """Everything in the bucket by its name below the prefix."""
    fs = fsspec.filesystem("s3", skip_instance_cache=True, use_listings_cache=False)
    root = s3[1].removeprefix("s3://")
    return {name.removeprefix(root + "/"): fs.cat_file(name) for name in fs.find(root)}


def overwrite(s3: S3, name: str, data: bytes) -> None:
    fs = fsspec.filesystem("s3", skip_instance_cache=True)
    fs.pipe_file(f"{s3[1].removeprefix('s3://')}/{name}", data)


def in_thread(action: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    result: list[Any] = []

    def run() -> None:
        try:
            result.append(action())
        except SgmError as error:
            result.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, result


def test_what_one_machine_finishes_the_other_finds(s3: S3, tmp_path: Path) -> None:
    a, b = machine(s3, tmp_path / "a"), machine(s3, tmp_path / "b")
    assert b.find("cells", "k") is None
    built = Builder("a")
    first = a.ensure("cells", "k", built, {"name": "vp"})
    found = b.find("cells", "k")
    assert found is not None and found.manifest == first.manifest
    assert (found.path / "weights").read_bytes() == b"a" * 500
    assert found.path.is_relative_to(tmp_path / "b")
    assert b.ensure("cells", "k", Builder("b"), {}).summary == {"by": "a"}
    assert built.calls == 1
    # Record last and alone: state, manifest, two files by their hashes, no checkpoint.
    names = sorted(objects(s3))
    hashes = sorted(f"cells/k/{e['sha256']}" for e in first.manifest["files"].values())
    assert names == sorted([*hashes, "cells/k/record.json"])
    assert json.loads(objects(s3)["cells/k/record.json"])["state"] == DONE
    # A local entry is damaged: the bucket has it.
    (found.path / "weights").write_bytes(b"?")
    said: list[str] = []
    assert b.ensure("cells", "k", Builder("b"), {}, said.append).summary == {"by": "a"}
    assert "damaged" in said[0]


def test_conditional_writes_let_one_of_many_through(s3: S3) -> None:
    bucket, won = Bucket(s3[1]), []
    assert bucket.get("x") is None and bucket.size("x") is None

    def put(number: int, tag: str | None) -> None:
        with contextlib.suppress(Refused):
            won.append(bucket.put("x", f"{number} {tag}".encode(), tag))

    for tag in (None, "first"):
        won.clear()
        expected = None if tag is None else bucket.get("x")[1]  # type: ignore[index]
        threads = [threading.Thread(target=put, args=(i, expected)) for i in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
    with pytest.raises(Refused):
        bucket.put("nothing", b"1", '"0123"')


def test_a_machine_waits_for_the_other_and_takes_its_result(s3: S3, tmp_path: Path) -> None:
    gate = threading.Event()
    a, b = Builder("a", gate), Builder("b")
    thread, _ = in_thread(lambda: machine(s3, tmp_path / "a").ensure("cells", "k", a, {}))
    assert a.started.wait(30)
    said: list[str] = []
    store = machine(s3, tmp_path / "b")
    other, result = in_thread(lambda: store.ensure("cells", "k", b, {}, said.append))
    time.sleep(3)  # longer than a lease: its beats keep it
    gate.set()
    thread.join()
    other.join()
    assert result[0].summary == {"by": "a"} and b.calls == 0
    assert len(said) == 1 and said[0].startswith("waiting for ")


def test_who_was_cut_off_is_refused_and_throws_its_work_away(
    s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The orphan is silent, its retry goes on from its checkpoint; then it comes back, too late."""
    gate, cut = threading.Event(), threading.Event()
    a, b = Builder("a", gate), Builder("b")
    store_a = machine(s3, tmp_path / "a", seconds=1.0)
    real = store_a.records.bucket.put

    def put(*arguments: Any) -> str:
        if cut.is_set():
            raise Away("no route to host")
        return real(*arguments)

    monkeypatch.setattr(store_a.records.bucket, "put", put)
    said: list[str] = []
    orphan, result = in_thread(lambda: store_a.ensure("cells", "k", a, {}, said.append))
    assert a.started.wait(30)
    record = Records(Bucket(s3[1]))
    while not (record.read("cells", "k") or Record("")).work:
        time.sleep(0.05)
    cut.set()
    retry = machine(s3, tmp_path / "b", seconds=1.0).ensure("cells", "k", b, {})
    assert retry.summary == {"by": "b"} and b.first == "a was here"
    tokens = record.read("cells", "k")
    assert tokens is not None and tokens.token == 2
    cut.clear()
    gate.set()
    orphan.join()
    assert result[0].summary == {"by": "b"}, "it takes the other's"
    assert any("taken over" in text for text in said)
    assert not store_a.work("cells", "k").exists()
    assert sum(data == b"a" * 500 for data in objects(s3).values()) <= 1
    assert record.read("cells", "k") == tokens, "nothing of it was committed"


def test_checkpoints_that_are_replaced_faster_than_sent_are_pushed(
    s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trainer removes an old checkpoint while it is being uploaded."""
    store, step = machine(s3, tmp_path / "a", seconds=1.0), [0]
    work, real = store.work("cells", "k"), store.records.bucket.upload

    def upload(name: str, file: Path) -> None:
        step[0] += 1
        for old in work.glob("checkpoint-*"):
            old.unlink()
        (work / f"checkpoint-{step[0]}").write_text(f"step {step[0]}")
        real(name, file)

    def build(folder: Path) -> dict[str, Any]:
        (folder / "checkpoint-0").write_text("step 0")
        records, deadline = Records(Bucket(s3[1])), time.monotonic() + 30
        while not (records.read("cells", "k") or Record("")).work:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        monkeypatch.setattr(store.records.bucket, "upload", real)
        for file in folder.glob("checkpoint-*"):
            file.unlink()
        return {}

    monkeypatch.setattr(store.records.bucket, "upload", upload)
    store.ensure("cells", "k", build, {})
    assert step[0] >= 1
    assert list((tmp_path / "a" / "cells").glob(".*push-*")) == []


def test_a_superseded_builder_is_told_before_it_is_done(s3: S3, tmp_path: Path) -> None:
    store, gate = machine(s3, tmp_path / "a", seconds=1.0), threading.Event()
    thread, _ = in_thread(lambda: store.ensure("cells", "k", Builder("a", gate), {}))
    records = Records(Bucket(s3[1]))
    while (record := records.read("cells", "k")) is None:
        time.sleep(0.05)
    store.check()
    while True:
        try:
            records.write("cells", "k", record.changed(holder="b", token=2))
            break
        except Refused:  # a beat was faster
            record = records.read("cells", "k")
            assert record is not None
    with pytest.raises(SgmError, match="taken over by somebody else"):
        while True:
            store.check()
            time.sleep(0.1)
    record = records.read("cells", "k")
    assert record is not None
    records.write("cells", "k", record.changed(state="free", holder=""))
    gate.set()
    thread.join()


SCRIPT = """
import sys, time
from pathlib import Path
from sgm_core.store.shared import store_at
def build(work):
    (work / "checkpoint-1").write_text(f"{sys.argv[2]} was here")
    print("started", flush=True)
    time.sleep(float(sys.argv[3]))
    (work / "checkpoint-1").unlink()
    (work / "weights").write_text(sys.argv[2] * 500)
    return {"by": sys.argv[2]}
entry = store_at(Path(sys.argv[1])).ensure("cells", "k", build, {}, print)
print("result", entry.summary["by"], flush=True)
"""


def process(s3: S3, root: Path, name: str, seconds: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(root), name, str(seconds)],
        env={**os.environ, **s3[0], "SGM_STORE": s3[1], "SGM_STORE_LEASE": "2"},
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.slow
def test_a_killed_builder_is_followed_at_once_here_and_after_its_lease_elsewhere(
    s3: S3, tmp_path: Path
) -> None:
    first = process(s3, tmp_path / "a", "one", 100)
    assert first.stdout is not None and first.stdout.readline() == "started\n"
    first.kill()
    first.wait()
    began = time.monotonic()
    here = process(s3, tmp_path / "a", "two", 100)
    assert here.stdout is not None and here.stdout.readline() == "started\n", "no lease to wait for"
    here.send_signal(signal.SIGSTOP)  # neither dead nor alive
    there = process(s3, tmp_path / "b", "three", 0)
    out, _ = there.communicate(timeout=60)
    assert out.splitlines()[-1] == "result three" and "waiting for" in out
    here.kill()
    here.wait()
    assert time.monotonic() - began > 2


@pytest.mark.slow
@pytest.mark.parametrize("what", ["weights", "deep/note", "record.json"])
def test_any_damage_in_the_bucket_is_found_and_built_again(
    s3: S3, tmp_path: Path, what: str
) -> None:
    rng, entry = random.Random(what), None
    for attempt, how in enumerate(("flip", "cut", "remove")):
        builder, said = Builder(f"{attempt}"), list[str]()
        store = machine(s3, tmp_path / f"{attempt}")
        entry = store.ensure("cells", "k", builder, {}, said.append)
        assert builder.calls == 1, "what is damaged is not used"
        assert attempt == 0 or what == "record.json" or "is damaged in s3://" in said[0]
        name = what if what == "record.json" else entry.manifest["files"][what]["sha256"]
        data = bytearray(objects(s3)[f"cells/k/{name}"])
        if how == "flip":
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        overwrite(s3, f"cells/k/{name}", bytes(data[: 1 if how == "cut" else len(data)]))
        if how == "remove":
            Bucket(s3[1]).delete(f"cells/k/{name}")
    last = machine(s3, tmp_path / "last").ensure("cells", "k", Builder("last"), {})
    assert last.summary == {"by": "last"}
    again = machine(s3, tmp_path / "more").find("cells", "k")
    assert again is not None and again.summary == {"by": "last"}


@pytest.mark.slow
def test_an_upload_that_is_interrupted_leaves_nothing_that_looks_finished(
    s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every single request of the commit; the work folder stays, and the next call pushes it."""
    monkeypatch.setattr(claim_module, "AWAY_SECONDS", 0.0)
    failed = 0
    for number in range(1, 10):
        key = f"k{number}"
        store, count, builder = machine(s3, tmp_path / "a"), [0], Builder("a")
        bucket = store.records.bucket

        def counted(name: str, real: Any, number: int = number, count: list[int] = count) -> Any:
            def call(*arguments: Any) -> Any:
                count[0] += 1
                if count[0] >= number:
                    raise Away(f"{name}: connection reset")
                return real(*arguments)

            return call

        for name in ("put", "upload", "size"):
            monkeypatch.setattr(bucket, name, counted(name, getattr(bucket, name)))
        try:
            store.ensure("cells", key, builder, {})
        except Away:
            failed += 1
        else:
            break
        assert machine(s3, tmp_path / "b").find("cells", key) is None
        entry = machine(s3, tmp_path / "a").ensure("cells", key, builder, {})
        assert entry.path.is_dir() and builder.calls == 1
        assert machine(s3, tmp_path / "b").find("cells", key) is not None
    assert failed >= 5


def test_what_was_finished_before_is_pushed_when_it_is_asked_for(s3: S3, tmp_path: Path) -> None:
    Store(tmp_path / "a").ensure("cells", "k", Builder("a"), {})
    assert machine(s3, tmp_path / "a").find("cells", "k") is not None
    found = machine(s3, tmp_path / "b").find("cells", "k")
    assert found is not None and found.summary == {"by": "a"}


def test_a_finished_entry_needs_no_bucket(s3: S3, tmp_path: Path, monkeypatch: Any) -> None:
    machine(s3, tmp_path / "a").ensure("cells", "k", Builder("a"), {})
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert machine(s3, tmp_path / "a").find("cells", "k") is not None
    with pytest.raises(SgmError, match=r"s3://bucket-\w+/cells-of-a-team failed: .*check that"):
        machine(s3, tmp_path / "a").find("cells", "other")


@pytest.mark.parametrize(
    ("url", "seconds", "words"),
    [
        ("gs://bucket/x", "", "write s3://BUCKET/PREFIX"),
        ("s3://key:secret@bucket", "", "credentials belong into"),
        ("s3://bucket", "0.1", "SGM_STORE_LEASE = '0.1' is not valid: write seconds"),
        ("s3://bucket", "soon", "SGM_STORE_LEASE = 'soon' is not valid"),
    ],
)
def test_wrong_settings_say_what_to_write(
    url: str, seconds: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SGM_STORE", url)
    monkeypatch.setenv("SGM_STORE_LEASE", seconds)
    with pytest.raises(UsageError, match=words) as error:
        store_at(tmp_path)
    assert "secret" not in str(error.value)


def test_without_the_setting_there_is_no_bucket(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.delenv("SGM_STORE", raising=False)
    assert type(store_at(tmp_path)) is Store
