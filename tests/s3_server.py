"""An S3 server for tests: moto, one request at a time, so that its conditional writes are atomic."""

from __future__ import annotations

import logging
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


@contextmanager
def serving(host: str = "127.0.0.1", secret: str = "testing") -> Iterator[dict[str, str]]:
    """A server on a free port; yields the environment that points to it."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server(host, 0, DomainDispatcherApplication(create_backend_app))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield {
        "AWS_ENDPOINT_URL": f"http://{host}:{server.port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    server.shutdown()


def main() -> None:
    """`python s3_server.py HOST PORT`: a server in a process of its own."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    app = DomainDispatcherApplication(create_backend_app)
    make_server(sys.argv[1], int(sys.argv[2]), app).serve_forever()


def new_bucket(variables: dict[str, str]) -> str:
    """The name of a fresh bucket."""
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    file_system(variables).mkdir(name)
    return name


def file_system(variables: dict[str, str]) -> Any:
    """fsspec's view of the server."""
    import fsspec

    return fsspec.filesystem(
        "s3", skip_instance_cache=True, use_listings_cache=False,
        endpoint_url=variables["AWS_ENDPOINT_URL"], key=variables["AWS_ACCESS_KEY_ID"],
        secret=variables["AWS_SECRET_ACCESS_KEY"],
    )  # fmt: skip


@pytest.fixture(scope="session")
def s3_server() -> Iterator[dict[str, str]]:
    """The environment that points to a server."""
    with serving() as variables:
        yield variables


@pytest.fixture
def s3(s3_server: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, str], str]:
    """The server's environment, set for this process too, and the URL of a fresh bucket."""
    for name, value in s3_server.items():
        monkeypatch.setenv(name, value)
    return s3_server, f"s3://{new_bucket(s3_server)}/cells-of-a-team"


if __name__ == "__main__":
    main()
