"""The JSON that goes in and out, as the OpenAPI document states it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SEEDS = 2**64
PACKED = "base64 of little-endian float32, C order"


class Problem(BaseModel):
    """Every error: what was wrong, its value and the fix, in one sentence."""

    detail: str


Seed = Annotated[int, Field(ge=0, lt=SEEDS)]


class Asked(BaseModel):
    """What `POST /api/generate` takes. Types are exact: "3" is no number, and true is none."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    model: str = Field(description="name of a model, see GET /api/models")
    version: int | str | None = Field(None, description="number or alias; default: the champion")
    n: int = Field(1, ge=1, description="samples")
    seed: int = Field(0, ge=0, lt=SEEDS, description="sample i uses seed + i")
    steps: int | None = Field(None, ge=1, description="solver steps; default: the model's")
    sampler: str | None = Field(None, description="default: the model's")
    options: dict[str, int | float] | None = Field(None, description="the sampler's own")
    label: int | str | None = Field(
        None, description="class, by index or name; -1: none; default: all classes in turn"
    )
    guidance: float | None = Field(None, ge=0, le=100, description="1: none")
    process: str | None = Field(
        None, description="forward process to sample under; default: the one trained under"
    )
    variant: str | None = Field(None, description="default: onnx where there is one, else fp32")
    frames: bool = Field(True, description="send x_t and the predicted x_0 while drawing")
    every: int = Field(1, ge=1, description="send each so many steps; the last one always")
    image: str | None = Field(
        None,
        description="base64 of float32: an item to complete or to change, in the data's range",
    )
    mask: str | None = Field(
        None, description="base64 of uint8: 1 where the item is known, 0 where it is to be drawn"
    )
    strength: float | None = Field(
        None, gt=0, le=1, description="change the image: the share of the steps that is walked"
    )
    path: Annotated[list[Seed], Field(min_length=2, max_length=2)] | None = Field(
        None, description="two seeds: n samples from one's to the other's, the two included"
    )


class Start(BaseModel):
    """Event `start`: what will be drawn; steps of the sampler, shape of an item."""

    model: str
    version: int
    variant: str
    device: str
    n: int
    steps: int
    shape: list[int]


class Frame(BaseModel):
    """Event `frame`: a step; arrays (n, *shape) in the data's range."""

    step: int = Field(ge=1, description="from 1 to steps")
    steps: int
    t: float = Field(description="time of the process")
    sigma: float = Field(description="noise level sigma_eff, in model space")
    x_t: str = Field(description=f"{PACKED}: what is seen at t, rescaled to x_0 + sigma eps")
    x_0: str = Field(description=f"{PACKED}: the prediction of the end")


class Done(BaseModel):
    """Event `done`: the samples (n, *shape), in the data's range."""

    nfe: int = Field(description="network evaluations per sample")
    seconds: float = Field(description="of the run in which they were drawn")
    x: str = Field(description=PACKED)
    labels: list[int] | None = Field(description="class of each sample; null: a model without")


class SamplerOption(BaseModel):
    """A sampler's option; `low` or `high` is null where it has no end on that side."""

    default: int | float | None
    low: float | None
    high: float | None
    text: str


class Variant(BaseModel):
    """A form of the network, as bundle.json lists it."""

    file: str
    format: Literal["safetensors", "onnx"]
    status: str
    reason: str | None = None
    metrics: dict[str, Any] = {}


class Model(BaseModel):
    """A version that can be drawn from."""

    name: str
    version: int
    aliases: list[str]
    kind: Literal["points", "image"]
    shape: list[int]
    labels: list[str]
    process: dict[str, Any] = Field(description="kind and parameters")
    net: dict[str, Any] = Field(description="kind and parameters")
    data: dict[str, Any] = Field(description="range, center, scale, labels, ... of the data")
    defaults: dict[str, Any] = Field(description="sampling settings where a request has none")
    samplers: dict[str, dict[str, SamplerOption]]
    processes: list[str] = Field(description="it can be sampled under, its own first")
    fits: dict[str, list[str]] = Field(description="process -> the samplers that it takes")
    variants: dict[str, Variant]
    variant: str = Field(description="the variant that the server uses by default")
    fills: list[str] = Field(description="variants that complete an image")
    most: int = Field(description="samples of a request, at most")
    browser: bool = Field(description="whether the page's own engine can draw from it")
    reason: str | None = Field(None, description="why it cannot")
    files: str = Field(description="where its files are")


class Caps(BaseModel):
    """Limits of a request."""

    n: int
    steps: int
    numbers: int = Field(description="n times the numbers of an item")
    frame_numbers: int = Field(description="frames times n times the numbers of an item")
    seconds: float


class Models(BaseModel):
    """What is served, champions first."""

    models: list[Model]
    limits: Caps


class Served(BaseModel):
    """A model's champion (or its newest version), as it is served."""

    name: str
    version: int


class Trouble(BaseModel):
    """Why a version is not served, or its source cannot be reached (`model` is empty then)."""

    model: str
    version: int | None
    detail: str


class Health(BaseModel):
    """State of the server; with a token, `models` and `problems` are shown to those who have it."""

    status: Literal["ok", "degraded", "closing"]
    models: list[Served]
    problems: list[Trouble]
    requests: Annotated[int, Field(ge=0, description="drawn or waiting")]
