"""Objects of a bucket with conditional writes: what a store without a shared file system needs.

    put(name, data, expected=None)   only if there is no such object     If-None-Match: *
    put(name, data, expected=tag)    only if it is still that version    If-Match: tag

Amazon S3, MinIO, Ceph and R2 do both in one step of the server, so that of two writers exactly one
succeeds. Other protocols of fsspec have no such write and are refused. Credentials, region and endpoint
come from the environment alone (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL, ...) or
from what botocore finds by itself (a role of the machine).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from sgm_core.errors import SgmError, UsageError

VARIABLE = "SGM_STORE"
URL = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._=/-]*)?")
REFUSED = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")
MISSING = ("NoSuchKey", "404")

T = TypeVar("T")


class Refused(Exception):
    """The object is another version than the one that was to be replaced."""


class Away(SgmError):
    """The bucket does not answer, or refuses us."""


class Bucket:
    """Objects below a URL.

    Args:
        url: "s3://bucket/prefix".

    Raises:
        UsageError: it is no such URL, or s3fs is not installed.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        if not URL.fullmatch(url):
            shown = re.sub("//.*@", "//...@", url)  # a password may stand there
            raise UsageError(
                f"{VARIABLE} = {shown!r} is not valid: write s3://BUCKET/PREFIX (other protocols have "
                "no conditional writes; credentials belong into AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY)"
            )
        try:
            import fsspec
            import s3fs  # noqa: F401
        except ImportError:
            raise UsageError(
                f"{VARIABLE} = {url!r} needs s3fs; run: pip install -c constraints.txt -e '.[s3]'"
            ) from None
        self._fs: Any = fsspec.filesystem("s3", use_listings_cache=False, skip_instance_cache=True)
        self._root = self.url.removeprefix("s3://")

    def get(self, name: str) -> tuple[bytes, str] | None:
        """Return an object and its version, or None."""
        from fsspec.asyn import sync

        bucket, key, _ = self._fs.split_path(f"{self._root}/{name}")

        async def read() -> tuple[bytes, str]:
            answer = await self._fs._call_s3("get_object", Bucket=bucket, Key=key)
            async with answer["Body"] as body:
                return await body.read(), str(answer["ETag"])

        try:
            return self._tried(name, lambda: sync(self._fs.loop, read))
        except FileNotFoundError:
            return None

    def put(self, name: str, data: bytes, expected: str | None) -> str:
        """Write an object that is new, or still the version `expected`; return its version.

        Raises:
            Refused: it is not.
        """
        condition = {"IfMatch": expected} if expected else {"IfNoneMatch": "*"}
        path = f"{self._root}/{name}"
        try:
            answer = self._tried(name, lambda: self._fs.pipe_file(path, data, **condition))
        except FileNotFoundError:  # If-Match on what was deleted
            raise Refused(name) from None
        return str(answer["ETag"])

    def upload(self, name: str, file: Path) -> None:
        """Write a file; an upload that is interrupted leaves no object."""
        self._tried(name, lambda: self._fs.put_file(str(file), f"{self._root}/{name}"))

    def download(self, name: str, file: Path) -> None:
        """Read an object into a file.

        Raises:
            FileNotFoundError: there is none.
        """
        self._tried(name, lambda: self._fs.get_file(f"{self._root}/{name}", str(file)))

    def size(self, name: str) -> int | None:
        """Return the size of an object, or None."""
        try:
            info = self._tried(name, lambda: self._fs.info(f"{self._root}/{name}"))
        except FileNotFoundError:
            return None
        return int(info["size"])

    def delete(self, name: str) -> None:
        """Remove an object, if there is one."""
        try:
            self._tried(name, lambda: self._fs.rm_file(f"{self._root}/{name}"))
        except FileNotFoundError:
            return

    def _tried(self, name: str, action: Callable[[], T]) -> T:
        """Do it; say in one sentence what failed."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return action()
        except (OSError, BotoCoreError, ClientError) as error:
            answer = getattr(error, "response", None) or getattr(error.__cause__, "response", {})
            code = str(answer.get("Error", {}).get("Code", ""))
            if code in REFUSED or isinstance(error, FileExistsError):
                raise Refused(name) from None
            if code in MISSING or (isinstance(error, FileNotFoundError) and code != "NoSuchBucket"):
                raise FileNotFoundError(name) from None
            why = " ".join(str(error).split())[:200] or type(error).__name__
            raise Away(
                f"{self.url} failed: {why}; check that the bucket exists and is reached, and the "
                "credentials in the environment"
            ) from None
