"""Who may ask, how the command refuses to start, and how a server ends."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.datastructures import Headers
from studio_server import Client, parsed, points, serving

from flows.cli_studio import studio
from sgm_core.errors import SgmError, UsageError
from studio.access import Access, is_loopback
from studio.serve import check_exposure

TOKEN = "correct-horse-battery-staple"
BEARER = {"authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("plain") / "rolls"
    points().save(place)
    return place


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[Client]:
    with serving(
        "--folder", str(folder), "--allowed-host", "Studio.Example", SGM_STUDIO_TOKEN=TOKEN
    ) as client:
        yield client


# -- the token ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/api/models", "/metrics", "/openapi.json", "/api/models/rolls/1/files/config.json"]
)
def test_nothing_is_told_without_the_token(client: Client, path: str) -> None:
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": TOKEN}):
        status, given, content = client.ask(path, headers=headers)
        assert (status, given["www-authenticate"]) == (401, "Bearer")
        assert b"rolls" not in content
    assert client.ask(path, headers=BEARER)[0] == 200


def test_nothing_is_drawn_without_the_token(client: Client) -> None:
    asked = {"model": "rolls", "steps": 1}
    assert client.ask("/api/generate", asked)[0] == 401
    assert client.ask("/api/generate", asked, headers=BEARER)[0] == 200


def test_health_without_the_token_says_only_that_it_is_well(client: Client) -> None:
    told = client.json("/api/health")
    assert told == {"status": "ok", "models": [], "problems": [], "requests": 0}
    known = json.loads(client.ask("/api/health", headers=BEARER)[2])
    assert known["models"] == [{"name": "rolls", "version": 1}]


def test_the_page_remembers_the_token_of_its_address(client: Client) -> None:
    assert client.ask("/")[0] == 200
    status, headers, _ = client.ask(f"/?seed=3&token={TOKEN}&model=a%20b")
    assert (status, headers["location"]) == (303, "/?seed=3&model=a+b")
    cookie = headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
    kept = {"cookie": cookie.partition(";")[0]}
    assert client.ask("/api/models", headers=kept)[0] == 200
    assert client.ask("/?token=wrong")[0] == 401
    assert client.ask(f"//evil.example/?token={TOKEN}")[1]["location"].startswith("/evil.example")


def test_a_further_name_is_answered(client: Client) -> None:
    for host, status in (("studio.example:1", 200), ("studio.example.evil", 403), ("", 403)):
        assert client.ask("/api/models", headers={**BEARER, "host": host})[0] == status


# -- rules without a server -----------------------------------------------------------------------


def test_a_name_is_checked_and_an_address_where_others_reach_it() -> None:
    here, there = Access.of("127.0.0.1", [], ""), Access.of("0.0.0.0", ["lab.example"], TOKEN)
    for host, at_home, open_ in (
        ("localhost", True, True), ("LOCALHOST:8000", True, True), ("[::1]:8000", True, True),
        ("127.0.0.1:80", True, True), ("lab.example:80", False, True), ("10.1.2.3", False, True),
        ("evil.example", False, False), ("127.0.0.1.evil.example", False, False),
    ):  # fmt: skip
        headers = Headers({"host": host})
        assert (not here.refused_host(headers), not there.refused_host(headers)) == (at_home, open_)


def test_a_server_that_others_reach_needs_a_token() -> None:
    assert is_loopback("127.0.0.1") and is_loopback("::1") and is_loopback("localhost")
    check_exposure("127.0.0.1", "", False)
    check_exposure("0.0.0.0", TOKEN, False)
    check_exposure("0.0.0.0", "", True)
    for host in ("0.0.0.0", "::", "192.168.0.1", "lab.example"):
        with pytest.raises(UsageError, match="set a token in SGM_STUDIO_TOKEN"):
            check_exposure(host, "", False)
    for weak in ("short", "x" * 15, "with spaces in it, long", "ümlaut-ümlaut-ümlaut"):
        with pytest.raises(UsageError, match="16 or more"):
            Access.of("127.0.0.1", [], weak)


# -- the command ----------------------------------------------------------------------------------


def test_a_port_in_use_is_one_sentence(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SgmError, match=f"127.0.0.1:{port}: Address already in use; choose"):
            studio(folder=folder, port=port)


def test_wrong_arguments_are_one_sentence(folder: Path, tmp_path: Path) -> None:
    given: list[tuple[dict[str, Any], str]] = [
        ({"folder": tmp_path / "none"}, "--folder: .* is not a folder"),
        ({"folder": folder, "model": ["models:/a/1"]}, "leave one out"),
        ({"folder": folder, "token_env": "NOT_THERE"}, "--token-env: .* has no NOT_THERE"),
        ({"folder": folder, "host": "0.0.0.0"}, "--host: 0.0.0.0 is reached by other machines"),
        (
            {"folder": folder, "host": "no such host", "no_token": True},
            "--host: 'no such host' is not an address",
        ),
    ]
    for arguments, told in given:
        with pytest.raises(UsageError, match=told):
            studio(port=0, **arguments)


def test_a_signal_ends_streams_cleanly_and_no_token_is_logged(client: Client) -> None:
    """The last test of this file: the server is gone afterwards."""
    connection = client.connect()
    body = json.dumps({"model": "rolls", "n": 4000, "steps": 1000, "frames": False}).encode()
    connection.request(
        "POST", "/api/generate", body, {"content-type": "application/json", **BEARER}
    )
    answer = connection.getresponse()
    first = answer.readline()
    assert first == b"event: start\n" and client.process is not None
    client.process.send_signal(signal.SIGTERM)
    name, fields = parsed(first + answer.read())[-1]
    assert name == "done" or "shutting down" in fields["detail"]
    assert client.process.wait(60) == 0
    assert client.process.stdout is not None
    said = client.process.stdout.read()
    assert said == "", "no token, and no trace of threads that were cut off"
