"""MLflow as this project reaches it, and the versions that people name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from flows.project import SQLITE, Project, mlflow_failed, mlflow_is_away
from flows.setup import initialise
from sgm_core.errors import SgmError, UsageError

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

ADDRESS = re.compile(r"models:/([^/@]+)(?:@([^/@]+)|/(\d+))/?")


class Registry:
    """MLflow as this project reaches it.

    Args:
        project: the project; its tracking URI is used.

    Raises:
        SgmError: MLflow cannot be reached.
    """

    advice = ""  # what follows a failure

    def __init__(self, project: Project) -> None:
        # A fresh database that MLflow makes itself breaks if somebody else opens it meanwhile.
        initialise(project, prefect=False)
        from mlflow import MlflowClient

        self.project = project
        with self.errors():
            self.client = MlflowClient(project.tracking_uri, project.tracking_uri)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Within this block a failure of MLflow becomes one sentence."""
        from mlflow.exceptions import MlflowException

        try:
            yield
        except Exception as error:
            # MLflow lets errors of a database through that it opens itself.
            database = type(error).__module__.startswith("sqlalchemy.")
            if not (database or isinstance(error, MlflowException | OSError)):
                raise
            why = mlflow_failed(self.project.tracking_uri, error)
            raise SgmError(why + self.advice) from error


def open_ahead(project: Project) -> None:
    """Have MLflow open the project's own database, which it keeps open; whoever asks for it next will
    say what is wrong with it."""
    if project.tracking_uri.startswith(SQLITE):
        with suppress(Exception):
            Registry(project)


def version_of(registry: Registry, uri: str) -> ModelVersion:
    """Return the version behind models:/NAME@alias or models:/NAME/3.

    Raises:
        UsageError: the address is not of this form, or there is no such version.
        SgmError: MLflow cannot be reached.
    """
    from mlflow.exceptions import MlflowException

    found = ADDRESS.fullmatch(uri)
    if found is None:
        raise UsageError(
            f"model: {uri!r} is not valid; write models:/NAME@champion or models:/NAME/3"
        )
    name, alias, number = found.groups()
    try:
        if alias:
            return registry.client.get_model_version_by_alias(name, alias)
        return registry.client.get_model_version(name, number)
    except (MlflowException, OSError) as error:
        if mlflow_is_away(error):
            raise SgmError(mlflow_failed(registry.project.tracking_uri, error)) from None
        text = " ".join(str(error).split())[:200]
        raise UsageError(f"model: {uri} is not in the registry ({text}); see: sgm ui") from None
