"""Bind, say where, serve until a signal, and end every stream cleanly."""

from __future__ import annotations

import logging
import signal
import socket
import webbrowser
from types import FrameType

import torch
import uvicorn

from sgm_core.errors import SgmError, UsageError
from studio.access import is_loopback
from studio.app import create_app
from studio.studio import Studio

PORTS = 2**16 - 1
GRACE = 4.0  # seconds that running requests have after a signal
END = 8  # seconds after which connections are cut


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens, so that a port in use is known before models are loaded.

    Raises:
        UsageError: there is no such host, or no such port.
        SgmError: the port is in use, or not permitted.
    """
    if not 0 <= port <= PORTS:
        raise UsageError(f"--port: {port} is not valid: write 1 to {PORTS}, or 0 for a free one")
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError):
        raise UsageError(f"--host: {host!r} is not an address of this machine") from None
    bound = socket.socket(family, kind)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(address)
        bound.listen(1024)  # without it a second server could bind the same port
    except OSError as error:
        bound.close()
        raise SgmError(
            f"--port: {host}:{port}: {error.strerror}; choose another with --port (0: a free one)"
        ) from None
    return bound


def check_exposure(host: str, token: str, open_to_all: bool) -> None:
    """Refuse to serve other machines without a token.

    Raises:
        UsageError: it would be done.
    """
    if not is_loopback(host) and not token and not open_to_all:
        raise UsageError(
            f"--host: {host} is reached by other machines; set a token in SGM_STUDIO_TOKEN, or write "
            "--no-token if everybody may use this server"
        )


def serve(studio: Studio, bound: socket.socket, show: bool = False) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        studio: is started here.
        bound: the socket.
        show: open the page in a browser.

    Raises:
        SgmError: there is nothing to serve.
    """
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s: %(message)s")
    torch.set_num_threads(studio.tuning.threads)
    try:
        studio.start()
        config = uvicorn.Config(
            create_app(studio),
            lifespan="on",
            ws="none",
            log_config=None,
            access_log=False,  # addresses may hold a token
            server_header=False,
            timeout_graceful_shutdown=END,
        )
        address = _address(bound)
        print(f"{address} (Ctrl-C ends it)", flush=True)
        for problem in studio.catalogue.shelf.problems:
            print(f"not served: {problem.sentence()}", flush=True)
        if show:
            webbrowser.open(address)
        _Server(config, studio).run(sockets=[bound])
    finally:
        studio.stop()
        bound.close()


class _Server(uvicorn.Server):
    """uvicorn, whose requests learn of a signal before their connections are cut."""

    def __init__(self, config: uvicorn.Config, studio: Studio) -> None:
        super().__init__(config)
        self.studio = studio

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.studio.close(GRACE)
        self.force_exit = self.should_exit and sig == signal.SIGINT  # the second Ctrl-C
        self.should_exit = True


def _address(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}"
