"""What is served: versions that were opened, replaced while requests go on.

A thread asks the source every few seconds. A version that is new is fetched into a folder of ours,
verified file by file and tried out; only then the shelf is replaced, in one assignment. A request
keeps the version it began with. A version that cannot be opened is a problem that `/api/health`
tells, and its predecessor stays where it was, as champion too.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

from sgm_core.errors import SgmError, UsageError, unknown
from studio.source import CHAMPION, Source, Version
from studio.version import Networks, Opened

log = logging.getLogger("studio")

RETRY = 60.0  # seconds until a version that could not be opened is tried again


@dataclass(frozen=True)
class Entry:
    """A version on the shelf."""

    version: Version
    opened: Opened

    @property
    def champion(self) -> bool:
        """Whether it is what a request gets that names no version."""
        return CHAMPION in self.version.aliases


@dataclass(frozen=True)
class Problem:
    """What is wrong with a model; `version` is None where it is not about one."""

    model: str
    version: int | None
    detail: str

    def sentence(self) -> str:
        """Return it with what it is about."""
        number = "" if self.version is None else f" version {self.version}"
        return f"{self.model}{number}: {self.detail}" if self.model else self.detail


@dataclass(frozen=True)
class Shelf:
    """What is served at one moment; never changed, only replaced. Champions stand first."""

    entries: tuple[Entry, ...] = ()
    problems: tuple[Problem, ...] = ()

    def names(self) -> list[str]:
        """Return the models."""
        return list(dict.fromkeys(entry.version.name for entry in self.entries))

    def find(self, name: str, version: int | str | None = None) -> Entry:
        """Return a version by number or alias; None: the champion, or the newest if there is none.

        Raises:
            UsageError: there is no such model, or no such version of it.
        """
        mine = [entry for entry in self.entries if entry.version.name == name]
        if not mine:
            raise unknown("model", name, self.names())
        if version is None:
            return next((entry for entry in mine if entry.champion), mine[0])
        for entry in mine:
            if version == entry.version.number or version in entry.version.aliases:
                return entry
        raise UsageError(
            f"version: {name} has no version {version!r}; choose one of: {', '.join(_choices(mine))}"
        )


class Catalogue:
    """The shelf, and the thread that keeps it up to date.

    Args:
        source: where versions come from.
        networks: where their networks are held.
        seconds: between two looks at the source.

    Raises:
        SgmError: from `start`; nothing can be served.
    """

    def __init__(self, source: Source, networks: Networks, seconds: float = 5.0) -> None:
        self.source, self.networks, self.seconds = source, networks, seconds
        self.shelf = Shelf()
        self.loads = {"opened": 0, "refused": 0}
        self._folder = Path(tempfile.mkdtemp(prefix="sgm-studio-"))
        self._known: dict[tuple[str, int, str], Opened] = {}
        self._refused: dict[tuple[str, int, str], tuple[float, str]] = {}
        self._looking = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Open the champions, and go on with everything else in a thread.

        Raises:
            UsageError: the source holds no model.
            SgmError: none of its models can be opened, or it cannot be reached.
        """
        listing = self.source.listing()
        if not listing.versions:
            why = next(iter(listing.problems.values()), "there is no model to serve")
            raise UsageError(why)
        newest = list({version.name: version for version in listing.versions[::-1]}.values())
        self._update([*(v for v in listing.versions if CHAMPION in v.aliases), *newest], {})
        if not self.shelf.entries:
            self._update(listing.versions, {})
        if not self.shelf.entries:
            raise SgmError(self.shelf.problems[0].sentence())
        self._thread = threading.Thread(target=self._watch, name="studio-catalogue", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread and remove the files."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(10)
        shutil.rmtree(self._folder, ignore_errors=True)

    def look(self) -> None:
        """Ask the source, and replace the shelf if something changed."""
        try:
            with self._looking:
                listing = self.source.listing()
                self._update(listing.versions, dict(listing.problems))
        except Exception as error:  # the thread goes on, and so does what is served
            self.shelf = replace(self.shelf, problems=(Problem("", None, _told(error)),))

    def _watch(self) -> None:
        while True:
            self.look()
            if self._stop.wait(self.seconds):
                return

    def _update(self, versions: list[Version], problems: dict[str, str]) -> None:
        """Open what is new, then serve what there is."""
        entries: list[Entry] = []
        found = [Problem(name, None, why) for name, why in problems.items()]
        for version in dict.fromkeys(versions):
            if self._stop.is_set():
                return
            try:
                entries.append(Entry(version, self._opened(version)))
            except SgmError as error:
                found.append(Problem(version.name, version.number, str(error)))
        hurt = {problem.model for problem in found}
        entries = _kept(entries, [e for e in self.shelf.entries if e.version.name in hurt])
        entries.sort(key=lambda e: (not e.champion, e.version.name, -e.version.number))
        self.shelf = Shelf(tuple(entries), tuple(found))
        self._tidy()
        for entry in self.shelf.entries:
            if entry.champion:
                entry.opened.warm()

    def _opened(self, version: Version) -> Opened:
        key = version.name, version.number, version.digest
        if key in self._known:
            return self._known[key]
        when, why = self._refused.get(key, (-RETRY, ""))
        if time.monotonic() - when < RETRY:
            raise SgmError(why)
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        try:
            self.source.fetch(version, folder)
            opened = Opened(folder, version.name, version.number, self.networks)
            opened.try_out()
        except Exception as error:
            shutil.rmtree(folder, ignore_errors=True)
            why = _told(error).replace(str(folder), "its folder")
            self._refused[key] = time.monotonic(), why
            self.loads["refused"] += 1
            log.error("%s", Problem(version.name, version.number, why).sentence())
            raise SgmError(why) from None
        self._refused.pop(key, None)
        self._known[key] = opened
        self.loads["opened"] += 1
        return opened

    def _tidy(self) -> None:
        """Let go of versions that are served no longer."""
        served = {id(entry.opened) for entry in self.shelf.entries}
        for key, opened in list(self._known.items()):
            if id(opened) not in served:
                del self._known[key]
                self.networks.forget(opened)
                shutil.rmtree(opened.folder, ignore_errors=True)


def _kept(new: list[Entry], old: list[Entry]) -> list[Entry]:
    """Return the new entries and, of models that have a problem, the old ones which no new entry
    replaces; they keep those of their aliases that nothing new has."""
    taken = {(entry.version.name, alias) for entry in new for alias in entry.version.aliases}
    kept = {(entry.version.name, entry.version.number): entry for entry in new}
    for entry in old:
        name, number = entry.version.name, entry.version.number
        own = [alias for alias in entry.version.aliases if (name, alias) not in taken]
        now = kept.get((name, number), Entry(replace(entry.version, aliases=()), entry.opened))
        aliases = tuple(dict.fromkeys([*own, *now.version.aliases]))
        kept[name, number] = Entry(replace(now.version, aliases=aliases), now.opened)
    return list(kept.values())


def _choices(entries: list[Entry]) -> list[str]:
    return [str(choice) for e in entries for choice in (*e.version.aliases, e.version.number)]


def _told(error: Exception) -> str:
    """Return an error as a sentence."""
    if isinstance(error, SgmError):
        return str(error)
    return " ".join(f"it cannot be read ({type(error).__name__}: {error})".split())[:400]
