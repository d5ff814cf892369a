"""The record of an entry in a bucket: its lease, its checkpoints and, at last, its manifest.

    <kind>/<key>/record.json   {state, token, holder, beat, work, manifest}
    <kind>/<key>/<sha256>      the content of a file, by its hash

All that two builders could disagree on is this one object, and every write of it is conditional on the
version that was read before (compare and swap), so that each step happens for one of them:

    free --If-None-Match--> building --beat, checkpoint: If-Match--> done (with the manifest)

`token` is the fencing token: it grows with every new holder. Who was cut off and comes back finds
another version, so that its next beat, checkpoint or commit is refused, however late it is.

A holder is alive while the record changes. Whether it did is seen by the waiting side's own monotonic
clock: no two clocks are compared.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from sgm_core.store.files import json_bytes, sha256_file
from sgm_core.store.objects import Bucket, Refused

Files = dict[str, dict[str, Any]]  # name -> {sha256, bytes}

BUILDING, FREE, DONE = "building", "free", "done"


@dataclass(frozen=True)
class Record:
    """What the bucket knows of an entry; `tag` is the version that was read or written."""

    state: str
    token: int = 0
    holder: str = ""
    beat: int = 0
    work: Files = field(default_factory=dict)
    manifest: dict[str, Any] | None = None
    tag: str = ""

    def changed(self, **fields: Any) -> Record:
        """The record with other values."""
        return replace(self, **fields)


class Records:
    """The entries of a bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self.bucket = bucket

    def read(self, kind: str, key: str) -> Record | None:
        """Return the record of an entry, or None; one that is not readable is free."""
        found = self.bucket.get(_name(kind, key))
        if found is None:
            return None
        try:
            return Record(**json.loads(found[0]), tag=found[1])
        except (ValueError, TypeError):
            return Record(FREE, tag=found[1])

    def write(self, kind: str, key: str, record: Record) -> Record:
        """Write a record over the version that its `tag` names ("": there was none).

        Raises:
            Refused: somebody else has written it since.
        """
        fields = asdict(record)
        tag = fields.pop("tag")
        data = json_bytes(fields)
        try:
            new = self.bucket.put(_name(kind, key), data, tag or None)
        except Refused:
            # A repeated request may find its own first attempt, whose answer was lost.
            found = self.bucket.get(_name(kind, key))
            if found is None or found[0] != data:
                raise
            new = found[1]
        return record.changed(tag=new)

    def push(self, kind: str, key: str, folder: Path, files: Files) -> None:
        """Upload files that are not there yet; each one by its hash."""
        for name, entry in files.items():
            blob = _blob(kind, key, entry)
            if self.bucket.size(blob) != entry["bytes"]:
                self.bucket.upload(blob, folder / name)

    def pull(self, kind: str, key: str, folder: Path, files: Files) -> Iterator[str]:
        """Download files into a folder; yield the names of those that are missing or damaged."""
        for name, entry in files.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            try:
                self.bucket.download(_blob(kind, key, entry), file)
            except FileNotFoundError:
                yield name
                continue
            if file.stat().st_size != entry["bytes"] or sha256_file(file) != entry["sha256"]:
                file.unlink()
                yield name

    def repair(self, kind: str, key: str, folder: Path, files: Files) -> None:
        """Upload files whatever is there: their objects may be damaged."""
        for name, entry in files.items():
            self.bucket.upload(_blob(kind, key, entry), folder / name)

    def drop(self, kind: str, key: str, files: Files, but: Files) -> None:
        """Remove the content of files, except for what others need."""
        kept = {entry["sha256"] for entry in but.values()}
        for entry in files.values():
            if entry["sha256"] not in kept:
                self.bucket.delete(_blob(kind, key, entry))


def _name(kind: str, key: str) -> str:
    return f"{kind}/{key}/record.json"


def _blob(kind: str, key: str, entry: dict[str, Any]) -> str:
    return f"{kind}/{key}/{entry['sha256']}"
