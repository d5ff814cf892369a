"""What every request passes first: host, token, origin, size of its body; and what every answer has.

Written against ASGI itself: a streamed answer must not be held back, and the end of a connection
has to reach the route that draws.
"""

from __future__ import annotations

import asyncio
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.access import Access
from studio.metrics import Metrics

BODY_SECONDS = 30.0  # for a body to arrive
CSP = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; img-src 'self' data: blob:; "
    "worker-src 'self' blob:; connect-src 'self'; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
# Without a token there are the page itself, which holds no data, and whether the server is well.
OPEN = ("/api/health",)
CLOSED = ("/api/", "/metrics", "/openapi.json")


class TooLarge(Exception):
    """A body is larger than the limit."""


class Guard:
    """The outermost layer of the application.

    Args:
        app: what requests reach that may pass.
        access: who may.
        body: bytes of a body, at most.
        metrics: counts every answer.
    """

    def __init__(self, app: ASGIApp, access: Access, body: int, metrics: Metrics) -> None:
        self.app, self.access, self.body, self.metrics = app, access, body, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        start, status = time.monotonic(), 500

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            refusal = self._refusal(scope)
            if refusal is not None:
                return await refusal(scope, receive, sending)
            try:
                receive = await self._received(scope, receive)
            except TooLarge:
                return await _problem(
                    413, f"the body is larger than {self.body} bytes; send a smaller one"
                )(scope, receive, sending)
            except TimeoutError:
                answer = _problem(408, f"the body did not arrive within {BODY_SECONDS:g} s")
                return await answer(scope, receive, sending)
            await self.app(scope, receive, sending)
        finally:
            other = "none" if scope["path"].startswith(CLOSED) else "page"
            route = getattr(scope.get("route"), "path", None) or other
            self.metrics.answered(route, status, time.monotonic() - start)

    def _refusal(self, scope: Scope) -> Response | None:
        """Return the answer to a request that must not pass."""
        headers, path = Headers(scope=scope), scope["path"]
        if why := self.access.refused_host(headers):
            return _problem(403, why)
        scope.setdefault("state", {})["trusted"] = trusted = self.access.knows(headers)
        if path.startswith(CLOSED):
            if not trusted and path not in OPEN:
                answer = _problem(401, "a token is needed; send Authorization: Bearer TOKEN")
                answer.headers["www-authenticate"] = "Bearer"
                return answer
        elif (entered := self.access.entrance(scope["query_string"].decode("latin-1"))) is not None:
            return self._entered(path, *entered)
        if scope["method"] not in ("GET", "HEAD") and (why := self.access.refused_origin(headers)):
            return _problem(403, why)
        return None

    def _entered(self, path: str, query: str, right: bool) -> Response:
        """Answer the page's address with a token: the same without it, which a cookie replaces."""
        if not right:
            return _problem(401, "the token in this address is not the server's")
        # One slash: an address that began with two would be another host's.
        place = "/" + path.lstrip("/") + (f"?{query}" if query else "")
        return RedirectResponse(place, 303, {"set-cookie": self.access.cookie()})

    async def _received(self, scope: Scope, receive: Receive) -> Receive:
        """Read the body, as far as the limit; return a `receive` that gives it once more."""
        if scope["method"] in ("GET", "HEAD"):
            return receive
        length = Headers(scope=scope).get("content-length", "0")
        if length.isdecimal() and int(length) > self.body:
            raise TooLarge
        parts, size, more = [], 0, True
        async with asyncio.timeout(BODY_SECONDS):
            while more:
                message = await receive()
                if message["type"] != "http.request":
                    break
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > self.body:
                    raise TooLarge
                more = message.get("more_body", False)
        waiting: list[Message] = [{"type": "http.request", "body": b"".join(parts)}]
        if more:
            waiting = [{"type": "http.disconnect"}]

        async def again() -> Message:
            return waiting.pop() if waiting else await receive()

        return again


def _problem(status: int, detail: str) -> JSONResponse:
    return JSONResponse({"detail": detail}, status)
