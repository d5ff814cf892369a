"""A Prefect server of this process's own, where there is no other: it starts while we go on.

    server = Embedded(project)     # returns at once
    import ...                     # what is needed meanwhile
    with server.ready():           # now Prefect can be used
        flow()

It is Prefect's own ephemeral server, started by us: before Prefect is imported, in a session of its own,
and without the import of the whole server into this process that Prefect's way needs. It ends with the
process, after Prefect's own last words; after kill -9 of the process it notices, and ends within seconds.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from flows.project import Project, make_folder
from sgm_core.code import ROOT
from sgm_core.errors import SgmError

ADDRESS = "PREFECT_API_URL"
APPLICATION = "prefect.server.api.server:create_app"
# `python -m uvicorn`, whose imports need no search for garbage (see sgm_core.renew).
SERVE = """
import gc, sys
from sgm_core.ending import watch_parent
watch_parent(int(sys.argv.pop(1)))
gc.disable()
import prefect.server.api.server, uvicorn.main
gc.freeze()
gc.enable()
uvicorn.main.main()
"""
# What nobody asks this server for: its page, types of blocks (stored at each start), automations, events.
# The states of tasks are written a batch at a time, within seconds and before it ends.
LEAN = {
    "PREFECT_UI_ENABLED": "0",
    "PREFECT_API_BLOCKS_REGISTER_ON_START": "0",
    "PREFECT_MEMOIZE_BLOCK_AUTO_REGISTRATION": "0",  # it loads the types to see whether they are new
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "0",
    "PREFECT_SERVER_EVENTS_STREAM_OUT_ENABLED": "0",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED": "0",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "64",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "2",
}
# A process that finds all homes of embedded Prefect servers taken waits for the first one.
HOMES = 16
STARTS = 3  # its port may be taken between the look and the start
START_SECONDS = 120.0
END_SECONDS = 5.0


class Embedded:
    """The embedded server of this process; does nothing where PREFECT_API_URL names a server.

    One process per home: two servers on one database block each other.
    """

    def __init__(self, project: Project) -> None:
        self._lock: IO[str] | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._starts = 0
        if not os.environ.get(ADDRESS):
            self._reserve(project)
            atexit.register(self._end)
            self._start()

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Wait until it answers.

        Raises:
            SgmError: it does not.
        """
        if self._server is None:
            yield
            return
        self._wait()
        from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

        # Nobody listens to heartbeats here, and every flow would wait a second for the end of its own.
        with temporary_settings(updates={PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
            yield

    def _reserve(self, project: Project) -> None:
        for number in range(HOMES):
            home = make_folder(project.state / (f"prefect-{number}" if number else "prefect"))
            handle = open(home / "embedded.lock", "a", encoding="utf-8")  # noqa: SIM115
            try:
                last = number == HOMES - 1
                fcntl.flock(handle, fcntl.LOCK_EX | (0 if last else fcntl.LOCK_NB))
            except BlockingIOError:
                handle.close()
                continue
            if number:
                os.environ["PREFECT_HOME"] = str(home)
            self._lock = handle
            return

    def _start(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self._starts += 1
        assert self._lock is not None
        serve = ["-c", SERVE, str(os.getpid()), "--factory", APPLICATION, "--host", "127.0.0.1"]
        serve += ["--port", str(port), "--log-level", "error", "--lifespan", "on"]
        variables = {
            **LEAN,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
            "PREFECT__SERVER_EPHEMERAL": "1",
            "PREFECT__SERVER_FINAL": "1",
        }
        # A session of its own: Ctrl-C in a terminal reaches a whole process group, and without its
        # server the run that is interrupted could not say so. It is ended by us instead.
        self._server = subprocess.Popen(
            [sys.executable, *serve],
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            pass_fds=[self._lock.fileno()],  # the home is taken as long as its server lives
            start_new_session=True,
        )
        os.environ[ADDRESS] = f"http://127.0.0.1:{port}/api"
        _own.add(os.environ[ADDRESS])

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not _answers(f"{os.environ[ADDRESS]}/health"):
            assert self._server is not None
            code = self._server.poll()
            if code is not None and self._starts < STARTS:
                self._start()
            elif code is not None or time.monotonic() > deadline:
                how = "does not answer" if code is None else f"ended with code {code}"
                raise SgmError(f"the embedded Prefect server {how}; its words are above, run again")
            time.sleep(0.05)

    def _end(self) -> None:
        if self._server is None:
            return
        self._server.terminate()
        try:
            self._server.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._server.kill()
            self._server.wait()


def is_embedded(url: str) -> bool:
    """Return whether this address is of an embedded server, which has no work pools."""
    return url in _own


_own: set[str] = set()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
