"""A store that several machines share without a shared file system: a bucket behind each local one.

    find     local, else pulled from the bucket and verified
    ensure   under the local lease: pulled, else claimed in the bucket, built, pushed, then local

The local store is a cache of the bucket and the place where work happens. An entry is finished when the
bucket has its manifest; a builder that has lost its claim is refused there, throws its work away and
takes the entry of the other. SGM_STORE names the bucket, SGM_STORE_LEASE the seconds after which a
silent builder has lost its claim (60).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import uuid
from pathlib import Path
from typing import Any

from sgm_core.errors import SgmError, UsageError
from sgm_core.store.claim import Claim, Superseded, take
from sgm_core.store.files import fsync_dir, fsync_file, os_errors, write_json
from sgm_core.store.lease import lease
from sgm_core.store.manifest import MANIFEST, Damage, Entry, read_manifest, sealed, verified
from sgm_core.store.objects import VARIABLE, Away, Bucket
from sgm_core.store.record import DONE, Records
from sgm_core.store.store import Build, Log, Store, say

LEASE_VARIABLE, LEASE_SECONDS = "SGM_STORE_LEASE", 60.0
PUSHED = ".pushed"  # an empty file beside an entry that the bucket has


def store_at(root: Path) -> Store:
    """The store of a folder; with SGM_STORE in the environment a bucket is behind it.

    Raises:
        UsageError: SGM_STORE or SGM_STORE_LEASE is not valid.
    """
    url = os.environ.get(VARIABLE, "").strip()
    if not url:
        return Store(root)
    text = os.environ.get(LEASE_VARIABLE, "").strip() or str(LEASE_SECONDS)
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= 86_400:
        raise UsageError(f"{LEASE_VARIABLE} = {text!r} is not valid: write seconds, 1 to 86400")
    if (root, url, seconds) not in _opened:
        _opened[root, url, seconds] = SharedStore(root, Records(Bucket(url)), seconds)
    return _opened[root, url, seconds]


_opened: dict[tuple[Path, str, float], SharedStore] = {}


class SharedStore(Store):
    """See the module's description.

    Args:
        root: folder of the local store.
        records: of the bucket.
        seconds: after which a silent builder has lost its claim.
    """

    def __init__(self, root: Path, records: Records, seconds: float = LEASE_SECONDS) -> None:
        super().__init__(root)
        self.records, self.seconds = records, seconds
        self._claims: dict[tuple[str, str], Claim] = {}
        self._damaged: dict[tuple[str, str], str] = {}  # versions of records with damaged files

    def find(self, kind: str, key: str, log: Log | None = None) -> Entry | None:
        """See `Store.find`; an entry that only one side has is brought to the other."""
        entry = super().find(kind, key, log)
        if entry is not None and self._mark(kind, key).exists():
            return entry
        with self._locally(kind, key) as alone:
            if not alone:  # somebody of this machine builds, pulls or pushes it
                return entry
            if entry is None:
                return self._settled(kind, key, log)
            self._offer(entry)
        return entry

    def check(self) -> None:
        """Raise `Superseded` if a claim of this store was lost: going on would be in vain."""
        for claim in list(self._claims.values()):
            if claim.lost:
                raise Superseded(f"{claim.kind} {claim.key[:12]} was taken over by somebody else")

    def _settled(self, kind: str, key: str, log: Log | None) -> Entry | None:
        return super()._settled(kind, key, log) or self._pulled(kind, key, log)

    def _built(
        self, kind: str, key: str, build: Build, describe: dict[str, Any], tell: Log
    ) -> Entry:
        work, over = self.work(kind, key), self._damaged.get((kind, key), "")

        def waiting(holder: str) -> None:
            tell(f"waiting for {holder}, which is building {kind} {key[:12]}")

        while True:
            claim = take(self.records, kind, key, self._holder(), self.seconds, waiting, over)
            if claim is None:
                pulled = self._pulled(kind, key, tell)
                if pulled is not None:
                    return pulled
                over = self._damaged.get((kind, key), "")
                continue
            self._claims[kind, key] = claim
            try:
                self._restore(claim, work, tell)
                claim.keep(work)
                return super()._built(kind, key, build, describe, tell)
            except Superseded as error:
                if not claim.lost:  # that of another entry, built inside this one's build
                    raise
                tell(str(error))
                shutil.rmtree(work, ignore_errors=True)
            finally:
                del self._claims[kind, key]
                claim.close(work)

    def _publish(self, kind: str, key: str) -> Entry:
        """The commit: the bucket first, whose refusal must leave nothing that looks finished."""
        claim = self._claims.get((kind, key))
        work = self.work(kind, key)
        if claim is None:  # a work folder that a crash left complete
            claim = take(self.records, kind, key, self._holder(), self.seconds, lambda _: None)
            if claim is None:
                shutil.rmtree(work, ignore_errors=True)
                pulled = self._pulled(kind, key, None)
                if pulled is None:
                    raise SgmError(f"{kind} {key[:12]} is damaged in the bucket; run again")
                return pulled
            claim.keep(work)
        try:
            claim.commit(work, read_manifest(work), anew=(kind, key) in self._damaged)
        except SgmError:
            claim.close(work)
            raise
        self._damaged.pop((kind, key), None)
        entry = super()._publish(kind, key)
        self._mark(kind, key).touch()
        return entry

    def _pulled(self, kind: str, key: str, log: Log | None) -> Entry | None:
        """Bring an entry from the bucket, by the holder of the local lease."""
        record = self.records.read(kind, key)
        if record is None or record.state != DONE or not record.manifest:
            return None
        if self._damaged.get((kind, key)) == record.tag:
            return None
        final = self.path(kind, key)
        folder = final.with_name(f"{key}.pull")
        with os_errors(folder):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            try:
                bad = list(self.records.pull(kind, key, folder, record.manifest["files"]))
                if bad:
                    raise Damage(f"{', '.join(bad)} missing or altered")
                for name in record.manifest["files"]:
                    fsync_file(folder / name)
                write_json(folder / MANIFEST, sealed(record.manifest))
                verified(folder, kind, key)
            except (Damage, KeyError, TypeError) as damage:
                shutil.rmtree(folder)
                self._damaged[kind, key] = record.tag
                text = f"{kind} {key[:12]} is damaged in {self.records.bucket.url} ({damage}); "
                (log or say)(f"{text}it will be built again")
                return None
            os.rename(folder, final)
            fsync_dir(final.parent)
            shutil.rmtree(self.work(kind, key), ignore_errors=True)
            self._mark(kind, key).touch()
            return verified(final, kind, key)

    def _offer(self, entry: Entry) -> None:
        """Push an entry that was finished before there was a bucket, or while it was away."""
        kind, key = entry.kind, entry.key
        with contextlib.suppress(Away, Superseded):  # the next look-up tries again
            record = self.records.read(kind, key)
            if record is None or record.state != DONE:
                claim = take(self.records, kind, key, self._holder(), self.seconds, None)
                if claim is None:
                    return
                claim.commit(entry.path, entry.manifest, anew=False)
            self._mark(kind, key).touch()

    def _restore(self, claim: Claim, work: Path, tell: Log) -> None:
        """Bring the checkpoints of the last holder; what is here already stays."""
        with os_errors(work):
            work.mkdir(parents=True, exist_ok=True)
            new = {n: e for n, e in claim.record.work.items() if not (work / n).exists()}
            bad = list(self.records.pull(claim.kind, claim.key, work, new))
        if bad:
            tell(f"checkpoint {', '.join(bad)} is damaged in the bucket; trying the one before")

    def _mark(self, kind: str, key: str) -> Path:
        return self.path(kind, key).with_name(key + PUSHED)

    @contextlib.contextmanager
    def _locally(self, kind: str, key: str) -> Any:
        """Hold the local lease, if it is free."""
        lock = self._lock(kind, key)
        with os_errors(lock):
            lock.parent.mkdir(parents=True, exist_ok=True)
        with lease(lock, wait=False) as alone:
            yield alone

    def _holder(self) -> str:
        """This machine and store, until it is started anew: "host boot store"."""
        file = self.root / "name"
        with os_errors(file):
            with contextlib.suppress(FileExistsError), file.open("x") as stream:
                stream.write(uuid.uuid4().hex)
            name = file.read_text()
        boot = Path("/proc/sys/kernel/random/boot_id")
        return f"{socket.gethostname()} {boot.read_text().strip() if boot.exists() else ''} {name}"
