"""A PostgreSQL server for tests: Debian's package, its own port and data folder, gone afterwards."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

BINARIES = "/usr/lib/postgresql"
OPTIONS = "-c fsync=off -c full_page_writes=off -c max_connections=200"


class Postgres:
    """A cluster that runs; its user `sgm` may make databases and has a password."""

    def __init__(
        self, folder: Path, host: str, port: int, password: str, prefix: tuple[str, ...]
    ) -> None:
        self.binaries, self.folder, self.prefix = _binaries(), folder, prefix
        self.host, self.port, self.password = host, port, password

    def url(self, database: str, scheme: str = "postgresql") -> str:
        """Without the password: libpq and asyncpg take it from PGPASSWORD."""
        return f"{scheme}://sgm@{self.host}:{self.port}/{database}"

    def run(self, program: str, *arguments: str, text: str | None = None) -> str:
        """A program of PostgreSQL as the database's user; `text` is its input."""
        command = [str(self.binaries / program), "-h", self.host, "-p", str(self.port), "-U", "sgm"]
        return subprocess.run(
            [*command, *arguments],
            env={**os.environ, "PGPASSWORD": self.password},
            check=True, capture_output=True, text=True, input=text,
        ).stdout  # fmt: skip

    def create(self, *databases: str) -> None:
        for database in databases:
            self.run("createdb", database)

    def dump(self, database: str) -> str:
        """The whole database as SQL."""
        return self.run("pg_dump", "--no-owner", database)

    def restore(self, database: str, text: str) -> None:
        """What `dump` gave, into an empty database."""
        self.run("psql", "-q", "-v", "ON_ERROR_STOP=1", "-d", database, text=text)

    def restart(self) -> None:
        """Every connection is cut."""
        self.control("restart", "-m", "fast")

    def control(self, *arguments: str) -> None:
        """`pg_ctl`, as the user postgres."""
        where = f"-p {self.port} -k {self.folder} -c listen_addresses={self.host} {OPTIONS}"
        command = [str(self.binaries / "pg_ctl"), "-D", str(self.folder / "data"), "-w"]
        command += ["-l", str(self.folder / "log"), "-o", where, *arguments]
        _as_postgres(command, self.folder, self.prefix)


@contextmanager
def postgres(
    password: str, host: str = "127.0.0.1", prefix: tuple[str, ...] = ()
) -> Iterator[Postgres]:
    """A fresh cluster.

    Args:
        host: the address it listens on.
        prefix: what its start is put behind (`ip netns exec NAME`).
    """
    folder = Path(tempfile.mkdtemp(prefix="sgm-postgres-"))
    if os.getuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    secret = folder / "password"
    secret.write_text(password)
    secret.chmod(0o644)
    cluster = Postgres(folder, host, _free_port(), password, prefix)
    try:
        initialise = [str(cluster.binaries / "initdb"), "-D", str(folder / "data"), "-U", "sgm"]
        initialise += [
            "-A",
            "scram-sha-256",
            "--pwfile",
            str(secret),
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
        ]
        _as_postgres(initialise, folder)
        secret.unlink()
        with (folder / "data" / "pg_hba.conf").open("a") as rules:
            rules.write("host all all 10.0.0.0/8 scram-sha-256\n")
        cluster.control("start")
        yield cluster
    finally:
        if (folder / "data" / "postmaster.pid").exists():
            cluster.control("stop", "-m", "immediate")
        shutil.rmtree(folder, ignore_errors=True)


def _binaries() -> Path:
    """The newest installed PostgreSQL; installed first where that is possible."""
    found = sorted(Path(BINARIES).glob("*/bin/initdb"))
    if not found and os.getuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "install", "-y", "-q", "postgresql"], check=False)
        found = sorted(Path(BINARIES).glob("*/bin/initdb"))
    if not found:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    return found[-1].parent


def _as_postgres(command: list[str], folder: Path, prefix: tuple[str, ...] = ()) -> None:
    """Run a command that refuses root; what it leaves running must hold no pipe of ours."""
    user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    with (folder / "output").open("w") as output:
        done = subprocess.run(
            [*prefix, *user, *command], cwd=folder, stdout=output, stderr=output, check=False,
            timeout=120,
        )  # fmt: skip
    assert done.returncode == 0, (folder / "output").read_text()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
