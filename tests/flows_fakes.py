"""Stand-ins for Prefect around a grid."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any
from uuid import uuid4

from prefect.futures import PrefectConcurrentFuture
from prefect.states import Failed


class Pool:
    """Prefect's pool: a task runs when it is submitted, or dies in Prefect itself ("state")."""

    def __init__(self, max_workers: int) -> None:
        assert max_workers > 1  # the next cell is worked on while one is told of

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def submit(self, task: Any, parameters: dict[str, Any], _: set[Any]) -> Any:
        future: Future[Any] = Future()
        try:
            if parameters["name"] == "state":
                future.set_result(Failed(message="the server went away"))
            else:
                future.set_result(task.fn(**parameters))
        except Exception as error:
            future.set_exception(error)
        return PrefectConcurrentFuture(uuid4(), future)
