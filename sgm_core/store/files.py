"""Files that are either the old ones or the new ones, whatever happens in between.

A write goes to a temporary name in the same folder, is flushed to the disk, renamed over the
target, and the folder is flushed too. rename(2) is atomic, so a reader, a crash or a full disk
sees the old content or the new content and never a part of it.

    write -> fsync(file) -> rename -> fsync(folder)

What the operating system refuses (disk full, no permission, ...) becomes one sentence that names
the file and the fix.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sgm_core.errors import SgmError

CHUNK = 1 << 20
TEMPORARY = ".tmp-"  # part of the name of every file that is not finished yet

HOME = "set SGM_HOME to a folder that is (if this is the state folder)"
FIXES = {
    errno.ENOSPC: "the disk is full; free some space and run again",
    errno.EDQUOT: "the disk quota is used up; free some space of it and run again",
    errno.EFBIG: "a file of this size is not allowed here; use fewer or smaller items",
    errno.EACCES: f"permission denied; make it writable or {HOME}",
    errno.EPERM: f"permission denied; make it writable or {HOME}",
    errno.EROFS: f"the file system is read-only; use a writable disk or {HOME}",
    errno.EEXIST: "a file with this name is in the way; move that file away",
    errno.ENOTDIR: "a part of this path is a file, not a folder; move that file away",
    errno.EMFILE: "too many open files; raise the limit (ulimit -n) and run again",
    errno.EIO: "the disk reports an input/output error; check it before running again",
}
FULL = (errno.ENOSPC, errno.EDQUOT)


def os_failure(error: OSError, path: str | os.PathLike[str]) -> SgmError:
    """Turn what the operating system refused into one sentence: the path, the cause, the fix."""
    reason = f"{error.strerror or error}; make sure that it can be read and written"
    return SgmError(f"{path}: {FIXES.get(error.errno or 0, reason)}")


@contextlib.contextmanager
def os_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Within this block an OSError becomes an `SgmError` about `path` (or the file it names)."""
    try:
        yield
    except OSError as error:
        # A copy to a full disk names its source, which is not to blame.
        where = path if error.errno in FULL else error.filename or path
        raise os_failure(error, where) from error


def fsync_dir(path: str | os.PathLike[str]) -> None:
    """Flush a folder, so that a rename or a new name in it survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def fsync_file(path: str | os.PathLike[str]) -> None:
    """Flush a file that something else has written."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomic(path: str | os.PathLike[str], data: bytes) -> None:
    """Replace `path` by `data` in one step; missing parent folders are made.

    A file that is replaced keeps its mode.

    Raises:
        SgmError: disk full, no permission, ...; the old file is untouched and no temporary
            file is left behind.
    """
    target = Path(path)
    with os_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        # mkstemp makes 0600 files; the result gets the old mode or what open() would have given.
        mode = target.stat().st_mode & 0o7777 if target.exists() else 0o666 & ~_umask()
        descriptor, temporary = tempfile.mkstemp(
            dir=target.parent, prefix=f".{target.name}{TEMPORARY}"
        )
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fchmod(stream.fileno(), mode)
                os.fsync(stream.fileno())
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        fsync_dir(target.parent)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write JSON atomically: sorted keys, indent 1, trailing newline; NaN is refused."""
    write_atomic(path, json_bytes(value))


def json_bytes(value: Any) -> bytes:
    """The bytes that `write_json` writes."""
    text = json.dumps(value, sort_keys=True, indent=1, allow_nan=False, ensure_ascii=False)
    return (text + "\n").encode()


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file.

    Raises:
        SgmError: the file cannot be read, or is not JSON.
    """
    with os_errors(path):
        data = Path(path).read_bytes()
    try:
        return json.loads(data)
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError
        raise SgmError(f"{path}: not valid JSON ({error}); delete it and run again") from None


def sha256_bytes(data: bytes) -> str:
    """SHA-256 of some bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's content, in hexadecimal, read in pieces of 1 MiB."""
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as stream:
        while piece := stream.read(CHUNK):
            digest.update(piece)
    return digest.hexdigest()


def canonical_json(value: Any) -> bytes:
    """The one JSON text of a value, for hashing: sorted keys, no spaces, ASCII, no NaN."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True
    ).encode()


def _umask() -> int:
    """The process's umask, without changing it where /proc tells it."""
    with contextlib.suppress(OSError, ValueError), open("/proc/self/status") as stream:
        for line in stream:
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    return 0o022
