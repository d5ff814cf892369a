"""The store: verified reads, one builder, crash-safe commits, clear sentences."""

from __future__ import annotations

import errno
import json
import os
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sgm_core.errors import SgmError
from sgm_core.store import Store
from sgm_core.store import files as files_module
from sgm_core.store import manifest as manifest_module
from sgm_core.store import store as store_module
from sgm_core.store.files import read_json, sha256_file, write_atomic, write_json


class Builder:
    """Fills a folder with three files and counts how often it did."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, work: Path) -> dict[str, Any]:
        self.calls += 1
        (work / "weights.bin").write_bytes(bytes(range(256)) * 20)
        (work / "history.json").write_text('[{"step": 1}]\n')
        (work / "deep").mkdir(exist_ok=True)
        (work / "deep" / "x.txt").write_text("x")
        return {"loss": 0.5}


def test_an_entry_is_built_once_and_then_found(tmp_path: Path) -> None:
    store, build = Store(tmp_path / "store"), Builder()
    assert store.find("cells", "k1") is None
    entry = store.ensure("cells", "k1", build, {"name": "vp"})
    assert entry == store.find("cells", "k1") == store.ensure("cells", "k1", build, {})
    assert build.calls == 1
    assert entry.summary == {"loss": 0.5}
    assert entry.manifest["describe"] == {"name": "vp"}
    assert sorted(entry.manifest["files"]) == ["deep/x.txt", "history.json", "weights.bin"]
    assert entry.manifest["files"]["weights.bin"]["sha256"] == sha256_file(
        entry.path / "weights.bin"
    )
    assert not store.work("cells", "k1").exists()


@pytest.mark.parametrize("damage", ["flip", "truncate", "append", "remove"])
@pytest.mark.parametrize("name", ["weights.bin", "history.json", "deep/x.txt", "manifest.json"])
def test_damage_to_any_file_is_found_and_rebuilt(tmp_path: Path, name: str, damage: str) -> None:
    store, build, said = Store(tmp_path), Builder(), list[str]()
    file = store.ensure("cells", "k1", build, {}).path / name
    _damage(file, damage, random.Random(f"{name}{damage}"))
    assert store.find("cells", "k1", said.append) is None
    assert len(said) == 1
    assert "damaged" in said[0]
    assert (tmp_path / "cells" / "k1.corrupt-1").is_dir()
    assert store.ensure("cells", "k1", build, {}).path.is_dir()
    assert build.calls == 2
    _damage(file, damage, random.Random(1))
    assert store.ensure("cells", "k1", build, {}, said.append)
    assert build.calls == 3
    assert (tmp_path / "cells" / "k1.corrupt-2").is_dir()


def test_any_flipped_bit_is_found(tmp_path: Path) -> None:
    store, rng = Store(tmp_path), random.Random(0)
    folder = store.ensure("cells", "k1", Builder(), {}).path
    for _ in range(60):
        file = folder / rng.choice(["weights.bin", "history.json", "deep/x.txt", "manifest.json"])
        before = file.read_bytes()
        _damage(file, "flip", rng)
        with pytest.raises(manifest_module.Damage):
            manifest_module.verified(folder, "cells", "k1")
        file.write_bytes(before)
    assert store.find("cells", "k1") is not None


def test_an_entry_under_another_key_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    os.rename(store.ensure("cells", "k1", Builder(), {}).path, tmp_path / "cells" / "k2")
    said: list[str] = []
    assert store.find("cells", "k2", said.append) is None
    assert "another entry" in said[0]


def test_a_failed_build_keeps_its_work_folder_and_is_resumed(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def fail(work: Path) -> dict[str, Any]:
        write_json(work / "checkpoint.json", {"step": 7})
        (work / ".checkpoint.json.tmp-abc").write_text("half a file of a killed writer")
        raise ValueError("NaN")

    with pytest.raises(ValueError, match="NaN"):
        store.ensure("cells", "k1", fail, {})
    assert store.find("cells", "k1") is None

    def resume(work: Path) -> dict[str, Any]:
        assert [f.name for f in work.iterdir()] == ["checkpoint.json"]
        return dict(read_json(work / "checkpoint.json"))

    assert store.ensure("cells", "k1", resume, {}).summary == {"step": 7}


@pytest.mark.parametrize("point", ["before", "after"])
def test_a_crash_around_the_commit_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    store, build = Store(tmp_path), Builder()
    rename = os.rename

    def crash(source: Any, target: Any) -> None:
        if point == "after":
            rename(source, target)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store_module.os, "rename", crash)
        with pytest.raises(KeyboardInterrupt):
            store.ensure("cells", "k1", build, {})
    assert store.ensure("cells", "k1", build, {}).summary == {"loss": 0.5}
    assert build.calls == 1


def test_a_damaged_complete_work_folder_is_built_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, build = Store(tmp_path), Builder()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(store_module.os, "rename", _interrupt)
        store.ensure("cells", "k1", build, {})
    _damage(store.work("cells", "k1") / "weights.bin", "flip", random.Random(0))
    assert store.ensure("cells", "k1", build, {})
    assert build.calls == 2
    assert store.find("cells", "k1") is not None


def test_write_atomic_leaves_the_old_file_on_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "a.json"
    write_json(target, {"old": 1})
    monkeypatch.setattr(files_module.os, "fsync", _full)
    with pytest.raises(SgmError, match=r"a\.json: the disk is full; free some space"):
        write_json(target, {"new": 2})
    assert [f.name for f in tmp_path.iterdir()] == ["a.json"]
    assert read_json(target) == {"old": 1}


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_while_building_is_one_sentence_and_resumed(
    tmp_path: Path, error: Exception
) -> None:
    store, build = Store(tmp_path), Builder()

    def fail(work: Path) -> dict[str, Any]:
        build(work)
        raise error

    with pytest.raises(SgmError, match="the disk is full; free some space and run again"):
        store.ensure("cells", "k1", fail, {})
    assert store.find("cells", "k1") is None
    assert (store.work("cells", "k1") / "weights.bin").exists()
    assert store.ensure("cells", "k1", build, {})


def test_a_full_disk_at_the_commit_leaves_no_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, build = Store(tmp_path), Builder()
    with monkeypatch.context() as patch:
        patch.setattr(files_module.os, "fsync", _full)
        with pytest.raises(SgmError, match="disk is full"):
            store.ensure("cells", "k1", build, {})
    assert store.find("cells", "k1") is None
    assert store.ensure("cells", "k1", build, {}).path.is_dir()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small file system")
def test_a_really_full_file_system(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        store = Store(disk / "store")
        good = store.ensure("cells", "k1", Builder(), {})

        def big(work: Path) -> dict[str, Any]:
            write_atomic(work / "big.bin", bytes(1 << 20))
            return {}

        with pytest.raises(SgmError, match="the disk is full"):
            store.ensure("cells", "k2", big, {})
        assert store.find("cells", "k1") == good
        assert store.find("cells", "k2") is None
        assert store.ensure("cells", "k2", Builder(), {})
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_folder_that_is_a_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("not a folder")
    with pytest.raises(SgmError, match=r"store.*is a file, not a folder|store.*File exists"):
        Store(tmp_path / "store").ensure("cells", "k1", Builder(), {})


def test_an_unwritable_folder_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "cells"))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(
        SgmError, match="cells: permission denied; make it writable or set SGM_HOME"
    ):
        Store(tmp_path).ensure("cells", "k1", Builder(), {})


def test_an_unreadable_entry_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    store.ensure("cells", "k1", Builder(), {})

    def refuse(path: Path) -> str:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(manifest_module, "sha256_file", refuse)
    with pytest.raises(SgmError, match="permission denied"):
        store.find("cells", "k1")
    assert (tmp_path / "cells" / "k1").is_dir()


@pytest.mark.parametrize("key", ["", "../x", "a/b", ".", "a b"])
def test_a_key_cannot_leave_the_store(tmp_path: Path, key: str) -> None:
    with pytest.raises(SgmError, match="not a name"):
        Store(tmp_path).find("cells", key)


def test_manifest_is_plain_json(tmp_path: Path) -> None:
    folder = Store(tmp_path).ensure("cells", "k1", Builder(), {}).path
    text = (folder / "manifest.json").read_text()
    assert text == json.dumps(json.loads(text), sort_keys=True, indent=1) + "\n"


def _damage(file: Path, how: str, rng: random.Random) -> None:
    data = bytearray(file.read_bytes())
    if how == "flip":
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif how == "truncate":
        del data[rng.randrange(len(data)) :]
    elif how == "append":
        data += b" "
    if how == "remove":
        file.unlink()
    else:
        file.write_bytes(data)


def _full(*_: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt
