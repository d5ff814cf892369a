"""A SQLite database that is changed through a copy: whole at any moment, and only while nobody uses it.

    draft = Draft(file)            # a copy beside it, or nothing yet
    ... change draft.place ...     # by whatever program, which may be killed
    draft.install()                # in one transaction of the database itself
    draft.close()

A migration is no transaction, so that a kill in the middle of one in place would leave neither release a
database. The file itself stays, with its inode, mode and owner: what another process commits to a file
that was replaced is lost, or is taken for the new file's log and destroys it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sgm_core.errors import SgmError

WAIT_SECONDS = 5.0  # for somebody else's transaction


class Draft:
    """What a database is to become.

    Args:
        file: the database; there may be none yet.

    Raises:
        SgmError: it cannot be read; one sentence.

    Attributes:
        place: the copy, of which the caller makes what it wants.
    """

    def __init__(self, file: Path) -> None:
        self.file = file.resolve()
        self.place = self.file.with_name(f"{self.file.name}.new")
        _remove(self.place)  # of one that was killed
        self._source: sqlite3.Connection | None = None
        self._data_version, self._revision = 0, ""
        if self.file.exists():
            with self._told():
                self._copy(self.file)

    def _copy(self, file: Path) -> None:
        source = self._source = sqlite3.connect(file, WAIT_SECONDS, isolation_level=None)
        source.execute("BEGIN")
        self._revision = _revision(source)  # from here on nobody writes before COMMIT
        self._data_version = _data_version(source)
        with closing(sqlite3.connect(self.place)) as copy:
            source.backup(copy)
        source.execute("COMMIT")

    def install(self) -> None:
        """Make the database what the copy is; one whose tables have the same revision stays as it was.

        Raises:
            SgmError: somebody uses it, or has written to it since it was copied; it stays as it was.
        """
        with self._told(), closing(sqlite3.connect(self.place)) as made:
            if self._source is None:
                # Everything in one file, or the move would lose some.
                made.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            elif _revision(made) != self._revision:
                self._take_over(self._source, made)
        if self._source is None:
            self.place.replace(self.file)

    def _take_over(self, source: sqlite3.Connection, made: sqlite3.Connection) -> None:
        source.execute("PRAGMA locking_mode = EXCLUSIVE").fetchall()
        source.execute("BEGIN EXCLUSIVE")
        unchanged = _data_version(source) == self._data_version
        source.execute("COMMIT")  # of nothing; the lock is kept
        if not unchanged:
            raise SgmError(self._in_use)
        made.backup(source)  # all pages in one transaction

    def close(self) -> None:
        """Let go of the database and remove the copy."""
        if self._source is not None:
            self._source.close()
        _remove(self.place)

    @property
    def _in_use(self) -> str:
        return (
            f"{self.file} is in use and cannot be migrated; end what is running in this project "
            "(grids, sgm ui), then run again"
        )

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            self.close()
            name = getattr(error, "sqlite_errorname", "")
            if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
                raise SgmError(self._in_use) from None
            if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
                raise SgmError(
                    f"{self.file} cannot be read ({error}); put a backup in its place, or move it "
                    "away to begin with an empty one"
                ) from None
            raise SgmError(
                f"{self.file} cannot be migrated ({error}); mend that, run again"
            ) from None


def _data_version(connection: sqlite3.Connection) -> int:
    """Return a number that changes in this connection when another one has written."""
    return int(connection.execute("PRAGMA data_version").fetchone()[0])


def _revision(connection: sqlite3.Connection) -> str:
    """Return the revision of the tables as Alembic keeps it; "" without any."""
    listed = "SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'"
    if connection.execute(listed).fetchone() is None:
        return ""
    found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(found[0]) if found else ""


def _remove(database: Path) -> None:
    for end in ("", "-wal", "-shm", "-journal"):
        database.with_name(database.name + end).unlink(missing_ok=True)
