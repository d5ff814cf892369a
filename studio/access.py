"""Who may ask: the names that the server answers to, pages of other origins, and the token.

A browser that was tricked into resolving a stranger's name to this machine (DNS rebinding) sends
that name as its host; a page of another site that posts here sends its own origin. Both are refused.
The token comes as `Authorization: Bearer TOKEN`, or in the cookie that opening the page with
`?token=TOKEN` sets. It is compared in constant time, and written nowhere.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers

from sgm_core.errors import UsageError

LOOPBACK = ("localhost", "127.0.0.1", "::1")
COOKIE = "sgm_studio_token"
SHORTEST = 16


@dataclass(frozen=True)
class Access:
    """The rules of one server.

    Args:
        hosts: names it answers to.
        addresses: whether it also answers to any literal IP address, which no rebinding can forge.
        token: what requests must carry; "" for none.
    """

    hosts: frozenset[str]
    addresses: bool = False
    token: str = ""

    @classmethod
    def of(cls, host: str, allowed: Sequence[str], token: str) -> Access:
        """Return the rules of a server that is bound to `host`.

        Raises:
            UsageError: the token is too weak.
        """
        if token and not re.fullmatch(rf"[A-Za-z0-9._~+/=-]{{{SHORTEST},}}", token):
            raise UsageError(
                f"the token has to be {SHORTEST} or more letters, digits and ._~+/=-; make one: "
                'python -c "import secrets; print(secrets.token_urlsafe())"'
            )
        names = {_bare(name) for name in (*LOOPBACK, *allowed)}
        return cls(frozenset({*names, _bare(host)}), not is_loopback(host), token)

    def refused_host(self, headers: Headers) -> str:
        """Return why the host that a request names is refused; "" if it is not."""
        name = _bare(_without_port(headers.get("host", "")))
        if name in self.hosts or (self.addresses and _is_address(name)):
            return ""
        return (
            f"host {name!r} is not a name of this server; start it with --allowed-host {name}"
            if name
            else "the request names no host; send the header Host"
        )

    def refused_origin(self, headers: Headers) -> str:
        """Return why a request that changes something is refused; "" if it comes from our page."""
        origin = headers.get("origin")
        if origin is None or urlsplit(origin).netloc.lower() == headers.get("host", "").lower():
            return ""
        return f"origin {origin!r} is not this server's page; open the page at its own address"

    def knows(self, headers: Headers) -> bool:
        """Tell whether a request carries the token (or none is needed)."""
        if not self.token:
            return True
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            given = _cookie(headers.get("cookie", ""))
        return self.same(given.strip())

    def same(self, given: str) -> bool:
        """Compare with the token, in constant time."""
        return hmac.compare_digest(given.encode(), self.token.encode())

    def entrance(self, query: str) -> tuple[str, bool] | None:
        """Return the query without its token, and whether that was right; None: it has none."""
        pairs = parse_qsl(query, keep_blank_values=True)
        given = [value for key, value in pairs if key == "token"]
        if not given or not self.token:
            return None
        rest = [(key, value) for key, value in pairs if key != "token"]
        return urlencode(rest), self.same(given[-1])

    def cookie(self) -> str:
        """Return the header that makes a browser remember the token, out of reach of scripts."""
        return f"{COOKIE}={self.token}; HttpOnly; SameSite=Strict; Path=/"


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches a server that is bound to `host`."""
    name = _bare(host)
    return name == "localhost" or (_is_address(name) and ipaddress.ip_address(name).is_loopback)


def _bare(host: str) -> str:
    return host.strip().strip("[]").rstrip(".").lower()


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _cookie(header: str) -> str:
    try:
        morsel = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return ""
    return morsel.value if morsel else ""
