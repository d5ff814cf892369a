"""The OpenAPI document: what FastAPI knows of the routes, and what it does not know of this server."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from sgm_core.sample.names import SAMPLERS
from studio.schemas import Done, Frame, Problem, Start
from studio.studio import Studio

EVENTS = "text/event-stream"
BY_NAME: dict[str, type[BaseModel]] = {
    "start": Start,
    "frame": Frame,
    "done": Done,
    "error": Problem,
}
PLACE = "#/components/schemas/"


def document(app: FastAPI, studio: Studio) -> dict[str, Any]:
    """Return the document, with this server's limits, models and samplers, and the stream's events."""
    made = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    schemas = made["components"]["schemas"]
    fields = schemas["Asked"]["properties"]
    fields["n"]["maximum"] = studio.limits.n
    fields["steps"]["anyOf"][0]["maximum"] = studio.limits.steps
    fields["sampler"]["anyOf"][0]["enum"] = list(SAMPLERS)
    fields["model"]["examples"] = studio.catalogue.shelf.names()
    _, events = models_json_schema(
        [(model, "serialization") for model in BY_NAME.values()], ref_template=PLACE + "{model}"
    )
    schemas |= events["$defs"]
    content = made["paths"]["/api/generate"]["post"]["responses"]["200"]["content"]
    content[EVENTS] = {"itemSchema": {"oneOf": [_event(name) for name in BY_NAME]}}
    return made


def _event(name: str) -> dict[str, Any]:
    """Return the schema of an event: its name, and JSON as its data."""
    model = {"$ref": PLACE + BY_NAME[name].__name__}
    data = {"type": "string", "contentMediaType": "application/json", "contentSchema": model}
    return {
        "type": "object",
        "properties": {"event": {"const": name}, "data": data},
        "required": ["event", "data"],
    }
