"""A database that is changed through a copy: whole at any moment, whatever others do to it meanwhile."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from flows_checkout import ROOT

from flows.database import Draft
from sgm_core.errors import SgmError

MODES = ("DELETE", "WAL")
INSTALL = """
import sqlite3, sys
from pathlib import Path
from flows.database import Draft
draft = Draft(Path(sys.argv[1]))
with sqlite3.connect(draft.place) as made:
    made.execute("UPDATE alembic_version SET version_num = 'new'")
    made.execute("UPDATE rows SET value = zeroblob(4000)")
print("made", flush=True)
sys.stdin.readline()
draft.install()
"""


@pytest.fixture(params=MODES)
def file(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A database of revision `old`, in a mode of journal; nobody waits long for a lock."""
    monkeypatch.setattr("flows.database.WAIT_SECONDS", 0.1)
    place = tmp_path / "some.db"
    make(place, request.param)
    yield place
    left = {path.name for path in tmp_path.iterdir()} - {
        "some.db",
        "some.db-wal",
        "some.db-shm",
        "link",
    }
    assert not left


def make(place: Path, mode: str, rows: int = 100) -> None:
    with closing(sqlite3.connect(place)) as connection:
        assert connection.execute(f"PRAGMA journal_mode = {mode}").fetchone()[0].upper() == mode
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("INSERT INTO alembic_version VALUES ('old')")
        connection.execute("CREATE TABLE rows (value BLOB)")
        connection.executemany("INSERT INTO rows VALUES (?)", [(b"x" * 4000,)] * rows)
        connection.commit()


def migrate(draft: Draft) -> None:
    with closing(sqlite3.connect(draft.place)) as made:
        made.execute("CREATE TABLE extra (name TEXT)")
        made.execute("UPDATE alembic_version SET version_num = 'new'")
        made.commit()


def state(place: Path) -> tuple[str, int, bool]:
    """Revision, rows, and whether the new table is there."""
    with closing(sqlite3.connect(place)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        (rows,) = connection.execute("SELECT count(*) FROM rows").fetchone()
        listed = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'extra'").fetchone()
        return revision, rows, listed is not None


def test_it_becomes_what_the_copy_is_and_stays_the_file(file: Path) -> None:
    link = file.parent / "link"
    link.symlink_to(file)
    file.chmod(0o660)
    before = file.stat()
    with closing(Draft(link)) as draft:
        migrate(draft)
        assert state(file) == ("old", 100, False)
        draft.install()
    assert state(file) == ("new", 100, True)
    assert link.is_symlink()
    assert (file.stat().st_ino, file.stat().st_mode) == (before.st_ino, before.st_mode)


def test_one_that_was_not_there_is_moved_there_whole(tmp_path: Path) -> None:
    with closing(Draft(tmp_path / "new.db")) as draft:
        make(draft.place, "WAL")
        draft.install()
    assert state(tmp_path / "new.db") == ("old", 100, False)
    assert [path.name for path in tmp_path.iterdir()] == ["new.db"]


def test_an_unfinished_copy_changes_nothing(file: Path) -> None:
    with closing(Draft(file)) as draft:
        migrate(draft)
    assert state(file) == ("old", 100, False)


def test_the_same_revision_is_left_alone(file: Path) -> None:
    with closing(sqlite3.connect(file)) as other, closing(Draft(file)) as draft:
        other.execute("SELECT count(*) FROM rows").fetchone()
        draft.install()
        with other:
            other.execute("INSERT INTO rows VALUES (1)")
    assert state(file) == ("old", 101, False)


def test_what_was_written_meanwhile_is_kept(file: Path) -> None:
    with closing(Draft(file)) as draft:
        migrate(draft)
        with closing(sqlite3.connect(file)) as other, other:
            other.execute("INSERT INTO rows VALUES (1)")
        with pytest.raises(SgmError, match=r"some\.db is in use .*; end what is running"):
            draft.install()
    assert state(file) == ("old", 101, False)


def test_what_is_about_to_be_written_is_kept(file: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        with closing(Draft(file)) as draft:
            migrate(draft)
            other.execute("BEGIN IMMEDIATE")
            other.execute("INSERT INTO rows VALUES (1)")
            with pytest.raises(SgmError, match="is in use"):
                draft.install()
        other.execute("COMMIT")
    assert state(file) == ("old", 101, False)


def test_who_has_it_open_loses_nothing(file: Path) -> None:
    """Idle in rollback mode it sees the new tables; in WAL its log is part of the database: refused."""
    with closing(sqlite3.connect(file)) as other:
        other.execute("SELECT count(*) FROM rows").fetchone()
        wal = other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        with closing(Draft(file)) as draft:
            migrate(draft)
            if wal:
                with pytest.raises(SgmError, match="is in use"):
                    draft.install()
            else:
                draft.install()
        with other:
            other.execute("INSERT INTO rows VALUES (1)")
        if not wal:
            assert other.execute("SELECT count(*) FROM extra").fetchone() == (0,)
    assert state(file) == (("old", 101, False) if wal else ("new", 101, True))


def test_one_that_is_locked_is_in_use_and_not_damaged(file: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(SgmError, match="is in use"):
            Draft(file)
        other.execute("COMMIT")


def test_what_is_no_database_is_named_and_kept(tmp_path: Path) -> None:
    (tmp_path / "some.db").write_bytes(b"not a database" * 1000)
    with pytest.raises(SgmError, match="cannot be read .*; put a backup in its place"):
        Draft(tmp_path / "some.db")
    assert [path.name for path in tmp_path.iterdir()] == ["some.db"]
    assert (tmp_path / "some.db").read_bytes().startswith(b"not a database")


@pytest.mark.parametrize("mode", MODES)
def test_killed_while_it_takes_its_place(tmp_path: Path, mode: str) -> None:
    """At moments all over the transaction: it is the old one or the new one, and whole."""
    place, found = tmp_path / "some.db", set()
    seconds = 0.0
    while "new" not in found:
        for path in tmp_path.iterdir():
            path.unlink()
        make(place, mode, 10_000)
        process = subprocess.Popen(
            [sys.executable, "-c", INSTALL, str(place)], env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdin and process.stdout and process.stdout.readline()
        process.stdin.write(b"\n")
        process.stdin.flush()
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        revision, rows, _ = state(place)
        assert rows == 10_000
        found.add(revision)
        seconds = max(0.01, 1.7 * seconds)
    assert found == {"old", "new"}, "at least one kill fell before its end"
