"""The page's files, built by `npm run build` in studio/web and shipped with the package."""

from __future__ import annotations

import mimetypes
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Match
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

STATIC = Path(__file__).with_name("static")
# As the browser's loaders demand them, whatever this machine's own table says.
TYPES = {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".wasm": "application/wasm",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
    ".webmanifest": "application/manifest+json",
}
MISSING = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Studio</title></head>
<body><h1>The page's files are missing</h1>
<p>The server itself works: see <a href="/openapi.json">/openapi.json</a>. The page is built with
<code>npm ci --ignore-scripts &amp;&amp; npm run build</code> in <code>studio/web</code>; an installed
package has it already.</p></body></html>
"""


class Page:
    """Everything that is no route of the API.

    Args:
        routes: those of the API, for which a wrong method is another error than a wrong address.
        folder: the built files.
    """

    def __init__(self, routes: list[BaseRoute], folder: Path = STATIC) -> None:
        self.routes, self.folder = routes, folder
        for ending, kind in TYPES.items():
            mimetypes.add_type(kind, ending)
        self.files = StaticFiles(directory=folder, html=True, check_dir=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if allowed := self._methods(scope):
            raise HTTPException(
                405,
                f"{scope['method']} is not possible here; use {' or '.join(allowed)}",
                {"allow": ", ".join(allowed)},
            )
        path = scope["path"]
        if path.startswith("/api/"):
            raise HTTPException(404, f"there is no {path}; see /openapi.json")
        if scope["method"] not in ("GET", "HEAD"):
            raise HTTPException(
                405, f"{scope['method']} is not possible here; use GET", {"allow": "GET, HEAD"}
            )
        answer = await self._answer(path, scope)
        await answer(scope, receive, send)

    async def _answer(self, path: str, scope: Scope) -> Response:
        if not (self.folder / "index.html").is_file():
            return HTMLResponse(MISSING, 503)
        try:
            answer = await self.files.get_response(self.files.get_path(scope), scope)
        except HTTPException as error:
            if error.status_code == 404:
                raise HTTPException(404, f"there is no {path}") from None
            raise
        # Built files keep their names: ask each time whether they are still the same.
        answer.headers["cache-control"] = "no-cache"
        return answer

    def _methods(self, scope: Scope) -> list[str]:
        """Return the methods of the API's route at this address, if there is one."""
        partial = (r for r in self.routes if r.matches(scope)[0] == Match.PARTIAL)
        return sorted({m for route in partial for m in getattr(route, "methods", None) or ()})
