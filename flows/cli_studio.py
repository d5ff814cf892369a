"""The command `sgm studio`: registered models drawing in the browser, and over HTTP."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from sgm_core.errors import UsageError

studio_app = typer.Typer()

TOKEN = "SGM_STUDIO_TOKEN"


@studio_app.command()
def studio(
    model: Annotated[
        list[str] | None,
        typer.Option(help="models:/NAME@alias or models:/NAME/3; repeatable (default: all sgm-*)"),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(help="serve the bundles in this folder, not the registry")
    ] = None,
    host: Annotated[str, typer.Option(help="address to bind")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 to 65535; 0: a free one")] = 8000,
    allowed_host: Annotated[
        list[str] | None, typer.Option(help="a further name of this server; repeatable")
    ] = None,
    token_env: Annotated[
        str, typer.Option(help="environment variable with the token that requests must carry")
    ] = TOKEN,
    no_token: Annotated[
        bool, typer.Option("--no-token", help="let everybody who reaches the host use it")
    ] = False,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads of a network (default: cores - 1)")
    ] = None,
    requests: Annotated[
        int, typer.Option(min=1, help="requests at once; more are told to come back")
    ] = 128,
    max_n: Annotated[int, typer.Option(min=1, help="samples of a request")] = 4096,
    max_steps: Annotated[int, typer.Option(min=1, max=100_000, help="steps of a request")] = 1000,
    timeout: Annotated[float, typer.Option(min=1, help="seconds of a request")] = 120.0,
    show: Annotated[bool, typer.Option("--open", help="open the page in a browser")] = False,
) -> None:
    """Serve registered models: a page that draws with them, and an HTTP API."""
    if model and folder:
        raise UsageError(
            "--model names versions of the registry, and --folder bundles; leave one out"
        )
    token = os.environ.get(token_env, "")
    if token_env != TOKEN and not token:
        raise UsageError(f"--token-env: the environment has no {token_env}; set it")
    from studio.access import Access
    from studio.limits import Limits
    from studio.serve import bind, check_exposure, serve
    from studio.studio import Studio, Tuning

    check_exposure(host, token, no_token)
    access = Access.of(host, allowed_host or [], token)
    bound = bind(host, port)
    limits = Limits(n=max_n, steps=max_steps, requests=requests, seconds=timeout)
    from sgm_core.device import cores

    tuning = Tuning(threads=threads or max(1, cores() - 1))
    serve(Studio(_source(model, folder), access, limits, tuning), bound, show)


def _source(models: list[str] | None, folder: Path | None) -> Any:
    if folder is not None:
        from studio.source import FolderSource

        return FolderSource(folder)
    from flows.project import Project
    from flows.studio_source import RegistrySource

    return RegistrySource(Project.find(), models or [])
