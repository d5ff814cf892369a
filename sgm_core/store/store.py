"""The content-addressed store: key -> a folder of files that is complete, verified and built once.

    <root>/<kind>/<key>/        a finished entry: its files and manifest.json (SHA-256 of each)
    <root>/<kind>/<key>.work/   an unfinished one: what its builder resumes from
    <root>/<kind>/<key>.lock    the lease of its builder (see sgm_core.store.lease)
    <root>/<kind>/<key>.corrupt-N/  a damaged one, moved out of the way and kept for inspection

An entry is finished by one rename:

    build in .work -> fsync every file -> manifest.json (the record) -> rename .work -> fsync

so a crash at any point leaves either the entry or the work folder. A work folder that already
holds its manifest was interrupted between the last two steps and is finished without building.
Every read verifies size and SHA-256 of every file, and the manifest's own hash.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import logging
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sgm_core.errors import SgmError
from sgm_core.store.files import (
    TEMPORARY,
    fsync_dir,
    fsync_file,
    os_errors,
    os_failure,
    sha256_file,
    write_json,
)
from sgm_core.store.lease import lease
from sgm_core.store.manifest import (
    FORMAT,
    MANIFEST,
    Damage,
    Entry,
    files_of,
    read_manifest,
    sealed,
    verified,
)

NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")

Log = Callable[[str], None]
Build = Callable[[Path], dict[str, Any]]


class Store:
    """Finished results below one folder; see the module's description.

    Args:
        root: the folder; made when something is built.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root).absolute()

    def path(self, kind: str, key: str) -> Path:
        """Where a finished entry lies."""
        for part in (kind, key):
            if not NAME.fullmatch(part):
                raise SgmError(
                    f"{part!r} is not a name for the store: use letters, digits, - and _"
                )
        return self.root / kind / key

    def work(self, kind: str, key: str) -> Path:
        """Where an unfinished entry lies."""
        return self.path(kind, key).with_name(f"{key}.work")

    def find(self, kind: str, key: str, log: Log | None = None) -> Entry | None:
        """Return a finished entry, or None.

        Every file is read and its hash compared. A damaged entry is reported through `log`
        (default: the log "sgm_core.store"), renamed to `<key>.corrupt-N`, and None is returned.

        Raises:
            SgmError: the entry is there and cannot be read (permission, input/output error).
        """
        path = self.path(kind, key)
        with os_errors(path):
            try:
                return verified(path, kind, key)
            except FileNotFoundError:
                return None
            except Damage:
                pass
        # What looked damaged may have been replaced while it was read: look again, alone. Whoever
        # holds the lease is building it anew and has moved the damaged one already.
        with lease(self._lock(kind, key), wait=False) as alone:
            return self._settled(kind, key, log) if alone else None

    def ensure(
        self,
        kind: str,
        key: str,
        build: Build,
        describe: dict[str, Any],
        log: Log | None = None,
    ) -> Entry:
        """Return the finished entry, building it if there is none; of many callers one builds.

        Args:
            kind: the sub-folder.
            key: the entry's name, a hash of everything that determines it.
            build: fills the folder that it is given and returns a summary (JSON). The folder may
                hold what an earlier, interrupted call left: resume from it.
            describe: what the key stands for, for people (JSON).
            log: told what is waited for, resumed or damaged.

        Raises:
            SgmError: the disk is full, the folder is not writable, ...: one sentence. An error of
                `build` passes through; its work folder stays, and the next call resumes.
        """
        found = self.find(kind, key, log)
        if found is not None:
            return found
        final, tell = self.path(kind, key), log or say
        with os_errors(final.parent):
            final.parent.mkdir(parents=True, exist_ok=True)

        def waiting(holder: str) -> None:
            tell(f"waiting for {holder}, which is building {kind} {key[:12]}")

        with lease(self._lock(kind, key), waiting=waiting):
            found = self._settled(kind, key, log) or self._recovered(kind, key)
            return found or self._built(kind, key, build, describe, tell)

    def check(self) -> None:
        """Raise if somebody else builds meanwhile what this store is building; see SharedStore."""

    def _built(
        self, kind: str, key: str, build: Build, describe: dict[str, Any], tell: Log
    ) -> Entry:
        """Build an entry, by the holder of its lease."""
        work = self.work(kind, key)
        with os_errors(work):
            work.mkdir(exist_ok=True)
            _sweep(work)
        started, spent = time.monotonic(), _cpu_seconds()
        with _disk_errors(work):
            summary = build(work)
        manifest = {
            "format": FORMAT,
            "kind": kind,
            "key": key,
            "describe": describe,
            "summary": summary,
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - started, 3),
            "cpu_seconds": round(_cpu_seconds() - spent, 3),
        }
        return self._commit(kind, key, manifest)

    def _lock(self, kind: str, key: str) -> Path:
        return self.path(kind, key).with_name(f"{key}.lock")

    def _settled(self, kind: str, key: str, log: Log | None) -> Entry | None:
        """`find` by the holder of the lease, who may move a damaged entry out of the way."""
        path = self.path(kind, key)
        with os_errors(path):
            try:
                return verified(path, kind, key)
            except FileNotFoundError:
                return None
            except Damage as damage:
                number = 1
                while (aside := path.with_name(f"{key}.corrupt-{number}")).exists():
                    number += 1
                os.rename(path, aside)
                fsync_dir(path.parent)
                (log or say)(
                    f"{kind} {key[:12]} is damaged ({damage}); moved to {aside.name}, "
                    "it will be built again"
                )
                return None

    def _recovered(self, kind: str, key: str) -> Entry | None:
        """Finish a work folder that a crash left complete, between its manifest and its rename."""
        work = self.work(kind, key)
        with os_errors(work):
            try:
                verified(work, kind, key)
            except (FileNotFoundError, Damage):
                (work / MANIFEST).unlink(missing_ok=True)
                return None
        return self._publish(kind, key)

    def _commit(self, kind: str, key: str, manifest: dict[str, Any]) -> Entry:
        work = self.work(kind, key)
        with os_errors(work):
            _sweep(work)
            files = {}
            for name, file in files_of(work):
                fsync_file(file)
                files[name] = {"sha256": sha256_file(file), "bytes": file.stat().st_size}
            for folder in [p for p in work.rglob("*") if p.is_dir()]:
                fsync_dir(folder)
        manifest = {**manifest, "files": files}
        write_json(work / MANIFEST, sealed(manifest))
        return self._publish(kind, key)

    def _publish(self, kind: str, key: str) -> Entry:
        final = self.path(kind, key)
        with os_errors(final):
            os.rename(self.work(kind, key), final)
            fsync_dir(final.parent)
            return Entry(kind, key, final, read_manifest(final))


def _sweep(work: Path) -> None:
    """Remove the temporary files that a killed writer left."""
    for file in list(work.rglob(f".*{TEMPORARY}*")):
        if file.is_dir():
            shutil.rmtree(file)
        else:
            file.unlink(missing_ok=True)


def _cpu_seconds() -> float:
    """CPU seconds of this process and of those that it has waited for (the ranks of a cell)."""
    return sum(os.times()[:4])


@contextlib.contextmanager
def _disk_errors(work: Path) -> Any:
    """A builder's failure for want of disk becomes a sentence; other errors pass through.

    safetensors and torch report a full disk by exceptions of their own, with the system's words.
    """
    try:
        yield
    except SgmError:
        raise
    except OSError as error:
        raise os_failure(error, error.filename or work) from error
    except Exception as error:
        if os.strerror(errno.ENOSPC).lower() in str(error).lower():
            raise os_failure(OSError(errno.ENOSPC, ""), work) from error
        raise


def say(text: str) -> None:
    """Tell where nobody listens for messages."""
    logging.getLogger(__name__).warning("%s", text)
