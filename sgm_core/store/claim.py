"""A claim: the right to build an entry for everybody who shares a bucket.

It is taken in the entry's record (see sgm_core.store.record) and kept by beats: a record that has not
changed for `seconds` is anybody's, and takes a new fencing token. While it is held, checkpoints of the
work folder are pushed now and then, so that whoever takes over goes on from there.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sgm_core.errors import SgmError
from sgm_core.store.files import os_errors, sha256_file
from sgm_core.store.objects import Away, Refused
from sgm_core.store.record import BUILDING, DONE, FREE, Files, Record, Records

CHECKPOINTS = "checkpoint*"  # the files of a work folder that are worth sharing
BEATS = 4  # within the life of a lease
AWAY_SECONDS = 300.0  # that a bucket may be away when an entry is finished


class Superseded(SgmError):
    """Somebody else holds the lease of this entry now."""

    exit_code = 143


class Claim:
    """A claim that this process holds.

    Args:
        records, kind, key: the entry.
        record: as it was written when the claim was taken.
        seconds: after which a silent holder has lost it.
    """

    def __init__(
        self, records: Records, kind: str, key: str, record: Record, seconds: float
    ) -> None:
        self.records, self.kind, self.key = records, kind, key
        self.record, self.seconds = record, seconds
        self.lost = False
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []

    def keep(self, work: Path) -> None:
        """Beat, and push the checkpoints of `work`, until the claim is given up."""
        for left in work.parent.glob(f"{_hidden(work)}*"):  # by one that was killed
            shutil.rmtree(left, ignore_errors=True)
        beat = (self.seconds / BEATS, lambda: self._write(beat=self.record.beat + 1))
        push = (self.seconds, lambda: self.push_checkpoints(work))
        for every, action in (beat, push):
            thread = threading.Thread(target=self._repeat, args=(every, action), daemon=True)
            thread.start()
            self._threads.append(thread)

    def push_checkpoints(self, work: Path) -> None:
        """Upload the checkpoints that are there now, and name them in the record."""
        with (
            os_errors(work),
            tempfile.TemporaryDirectory(dir=work.parent, prefix=_hidden(work)) as held,
        ):
            snapshot = Path(held)
            for file in sorted(work.glob(CHECKPOINTS)):
                _link(file, snapshot / file.name)
            files: Files = {
                file.name: {"sha256": sha256_file(file), "bytes": file.stat().st_size}
                for file in snapshot.iterdir()
            }
            old = self.record.work
            if not files or files == old:
                return
            self.records.push(self.kind, self.key, snapshot, files)
        self._write(work=files)
        self.records.drop(self.kind, self.key, old, but=files)

    def commit(self, folder: Path, manifest: dict[str, Any], anew: bool) -> None:
        """Upload a finished entry and write its manifest last; the claim has ended then.

        Args:
            anew: upload also what seems to be there: it was found damaged.

        Raises:
            Superseded: somebody else has the claim; nothing was committed.
            Away: the bucket does not answer for minutes.
        """
        send = self.records.repair if anew else self.records.push
        files, work = manifest["files"], self.record.work

        def finish() -> None:
            send(self.kind, self.key, folder, files)
            self._write(state=DONE, holder="", work={}, manifest=manifest)

        _patiently(finish)
        self._end()
        with contextlib.suppress(SgmError):
            self.records.drop(self.kind, self.key, work, but=files)

    def close(self, work: Path) -> None:
        """Stop beating. If it is unfinished, push the last checkpoint and let somebody else go on."""
        self._end()
        if self.lost or self.record.state == DONE:
            return
        with contextlib.suppress(SgmError):
            self.push_checkpoints(work)
            self._write(state=FREE, holder="")

    def _end(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _write(self, **fields: Any) -> None:
        with self._lock:
            if self.lost:
                raise _superseded(self)
            try:
                changed = self.record.changed(**fields)
                self.record = self.records.write(self.kind, self.key, changed)
            except Refused:
                self.lost = True
                raise _superseded(self) from None

    def _repeat(self, every: float, action: Callable[[], None]) -> None:
        while not self._ended.wait(every):
            with contextlib.suppress(SgmError):  # whoever comes back in time still has the claim
                try:
                    action()
                except Superseded:
                    return


def take(
    records: Records,
    kind: str,
    key: str,
    holder: str,
    seconds: float,
    waiting: Callable[[str], None] | None,
    over: str = "",
) -> Claim | None:
    """Claim an entry, waiting for a holder that lives; None if it is finished meanwhile.

    Args:
        holder: who asks. A record of the same holder is of a process that has died: its caller
            holds the lease of its own machine.
        waiting: told about the holder that is waited for; None: do not wait.
        over: version of a finished record whose files are damaged.

    Returns:
        The claim; None if the entry is finished, or somebody holds it and waiting is None.
    """
    seen, since = "", time.monotonic()
    while True:
        record = records.read(kind, key) or Record(FREE)
        if record.state == DONE and record.tag != over:
            return None
        if record.tag != seen:
            first, seen, since = not seen, record.tag, time.monotonic()
            told = waiting is not None and first and _held(record, holder)
            if told and waiting is not None:
                waiting(record.holder.split()[0])
        if not _held(record, holder) or time.monotonic() - since > seconds:
            work = {} if record.state == DONE else record.work
            mine = Record(BUILDING, record.token + 1, holder, work=work, tag=record.tag)
            with contextlib.suppress(Refused):  # somebody was faster
                return Claim(records, kind, key, records.write(kind, key, mine), seconds)
        elif waiting is None:
            return None
        time.sleep(min(1.0, seconds / 20))


def _hidden(work: Path) -> str:
    """What folders begin with that hold the checkpoints of `work` while they are sent."""
    return f".{work.name}.push-"


def _link(file: Path, to: Path) -> None:
    """Keep a checkpoint while it is sent: the trainer replaces it by newer ones, and never writes
    into it."""
    with contextlib.suppress(FileNotFoundError):  # just replaced
        try:
            os.link(file, to)
        except FileNotFoundError:
            raise
        except OSError:  # a file system without hard links
            shutil.copyfile(file, to)


def _held(record: Record, by_others_than: str) -> bool:
    return record.state == BUILDING and record.holder != by_others_than


def _superseded(claim: Claim) -> Superseded:
    return Superseded(
        f"{claim.kind} {claim.key[:12]} was taken over by somebody else while this process was cut "
        "off or silent; its work is thrown away"
    )


def _patiently(action: Callable[[], None]) -> None:
    """Try again for minutes while the bucket is away."""
    deadline, pause = time.monotonic() + AWAY_SECONDS, 1.0
    while True:
        try:
            return action()
        except Away:
            if time.monotonic() + pause > deadline:
                raise
            time.sleep(pause)
            pause = min(2 * pause, 30.0)
