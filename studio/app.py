"""The application: the routes of the API, the page, and errors as one sentence."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Path, Request, Security
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.security import HTTPBearer
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from sgm_core import __version__
from sgm_core.errors import SgmError, UsageError
from studio import describe
from studio.complaint import complaint
from studio.document import EVENTS, document
from studio.guard import Guard
from studio.metrics import TYPE
from studio.page import Page
from studio.schemas import Asked, Health, Models, Problem
from studio.stream import Stream
from studio.studio import Busy, Studio

PROBLEMS = {
    401: "no token, or a wrong one",
    403: "the host, or the origin, is not the server's",
    404: "there is no such thing",
    408: "the body did not arrive in time",
    413: "the body is too large",
    422: "something that was asked for is not valid",
    429: "the server is busy; see the header Retry-After",
    503: "the server is shutting down; see the header Retry-After",
}


def create_app(studio: Studio) -> Guard:
    """Return the ASGI application of a server that was started."""
    app = FastAPI(
        title="sgm studio",
        version=__version__,
        description="Draws samples from registered score models.",
        docs_url=None,
        redoc_url=None,
    )
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _unreadable)
    app.add_exception_handler(SgmError, _refused)
    app.add_exception_handler(Exception, _defect)
    bearer = [Security(HTTPBearer(auto_error=False))] if studio.access.token else []
    own, health = list(app.routes), _health(studio)
    app.include_router(router := _router(studio), dependencies=bearer)
    app.include_router(health)
    app.mount("/", Page([*own, *router.routes, *health.routes]))
    app.openapi = lambda: document(app, studio)  # type: ignore[method-assign]
    return Guard(app, studio.access, studio.limits.body, studio.metrics)


def _router(studio: Studio) -> APIRouter:
    router = APIRouter(responses=_problems(401, 403))

    @router.get("/api/models")
    def models() -> Models:
        """List what can be drawn from, champions first."""
        return describe.models(studio.catalogue.shelf, studio.limits)

    @router.get(
        "/api/models/{name}/{version}/files/{path:path}",
        response_class=FileResponse,
        responses={
            200: {"content": {"application/octet-stream": {}}, "description": "the file"},
            304: {"description": "the file is the one that If-None-Match names"},
            **_problems(404, 422),
        },
    )
    def files(
        request: Request,
        name: str,
        version: Annotated[int, Path(ge=0, description="number")],
        path: Annotated[str, Path(description="as bundle.json lists it")],
    ) -> Response:
        """Return a file of a version, as bundle.json lists it."""
        return _file(studio, request, name, version, path)

    @router.post(
        "/api/generate",
        response_class=Response,
        responses={
            200: {
                "content": {EVENTS: {}},
                "description": "Server-Sent Events; the last one is `done` or `error`",
            },
            **_problems(408, 413, 422, 429, 503),
        },
    )
    async def generate(asked: Asked) -> Response:
        """Draw samples, and stream how they come about."""
        studio.admit()
        try:
            stream = Stream(studio.held)
            chosen = await run_in_threadpool(studio.answer, asked, stream)
            return studio.draw(chosen, stream)
        except BaseException:
            studio.requests -= 1
            raise

    @router.get(
        "/metrics",
        response_class=Response,
        responses={
            200: {
                "content": {"text/plain": {"schema": {"type": "string"}}},
                "description": "Prometheus' text format",
            }
        },
    )
    def metrics() -> Response:
        """Return counters for Prometheus."""
        return Response(studio.metrics.text(), media_type=TYPE)

    return router


def _health(studio: Studio) -> APIRouter:
    router = APIRouter(responses=_problems(403))

    @router.get("/api/health")
    async def health(request: Request) -> Health:
        """Tell how the server is: `degraded` where a version cannot be served, and why."""
        shelf, trusted = studio.catalogue.shelf, request.state.trusted
        status = "closing" if studio.closing else "degraded" if shelf.problems else "ok"
        return Health(
            status=status,
            models=describe.served(shelf) if trusted else [],
            problems=describe.troubles(shelf) if trusted else [],
            requests=studio.requests,
        )

    return router


def _file(studio: Studio, request: Request, name: str, version: int, path: str) -> Response:
    """Return a file that the version's bundle lists."""
    try:
        opened = studio.catalogue.shelf.find(name, version).opened
    except UsageError as error:
        return JSONResponse({"detail": str(error)}, 404)
    files = opened.manifest["files"]
    if path == "bundle.json" and (opened.folder / path).is_file():
        return FileResponse(opened.folder / path, headers={"cache-control": "no-cache"})
    if path not in files:
        detail = f"{name} version {version} has no file {path!r}; its files are: {', '.join(files)}"
        return JSONResponse({"detail": detail}, 404)
    tag = f'"{files[path]["sha256"]}"'
    headers = {"etag": tag, "cache-control": "private, max-age=31536000, immutable"}
    known = [part.strip() for part in request.headers.get("if-none-match", "").split(",")]
    if tag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return FileResponse(opened.folder / path, headers=headers)


def _problems(*codes: int) -> dict[int | str, dict[str, Any]]:
    """Return the documentation of some errors."""
    return {code: {"model": Problem, "description": PROBLEMS[code]} for code in codes}


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    """Say in one sentence what does not fit the schema."""
    assert isinstance(error, RequestValidationError)
    errors = error.errors()
    if errors[0]["loc"] == ("body",) and isinstance(errors[0]["input"], bytes):
        # FastAPI leaves a body as it came where the header does not say that it is JSON.
        given = request.headers.get("content-type", "")
        detail = f"content-type: {given[:80]!r} is not valid: send application/json"
        return JSONResponse({"detail": detail}, 422)
    return JSONResponse({"detail": complaint(errors)}, 422)


async def _unreadable(request: Request, error: Exception) -> JSONResponse:
    """Answer with the error's own sentence; FastAPI has a status of its own for a body that is no text."""
    assert isinstance(error, HTTPException)
    if error.status_code == 400:
        return JSONResponse({"detail": "body: is not JSON in UTF-8"}, 422)
    return JSONResponse({"detail": error.detail}, error.status_code, error.headers)


async def _refused(request: Request, error: Exception) -> JSONResponse:
    """Say what is wrong, or that the server is busy."""
    if isinstance(error, Busy):
        status = 503 if error.seconds > 1 else 429
        headers = {"retry-after": str(error.seconds)}
        return JSONResponse({"detail": str(error)}, status, headers)
    return JSONResponse({"detail": str(error)}, 422 if isinstance(error, UsageError) else 500)


async def _defect(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": "internal error of the server; its log says more"}, 500)
