"""What is measured on a finished cell, and what it is held against."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from sgm_core.config.base import Frozen, build
from sgm_core.config.custom import ALL_PROCESSES, check_kind
from sgm_core.errors import UsageError, did_you_mean, unknown
from sgm_core.sample.names import SAMPLERS

Count = Annotated[int, Field(ge=1)]


class EvaluationConfig(Frozen):
    """What is measured on a finished cell."""

    samples: int = Field(10_000, ge=10, description="samples drawn for the metrics")
    seed: int = Field(1234, ge=0, description="first of the per-sample seeds, common to all cells")
    bootstrap: int = Field(100, ge=10, le=10_000, description="bootstrap replicates per interval")
    nfe_curve: tuple[Count, ...] = Field(
        (5, 10, 25, 50), description="steps at which quality against NFE is measured"
    )
    curve_samples: int = Field(
        2000,
        ge=10,
        description="samples per point of that curve; floors are measured at 100, 500, 1000, 2000, "
        "5000, 10000, 50000, and a number of these compares like with like",
    )
    batch: int = Field(1000, ge=1, description="samples drawn at once")
    likelihood_items: int = Field(
        64,
        ge=0,
        description="first items of the validation and the test split whose likelihood is measured "
        "(nll, bits_per_dim; labels are left out); 0: none",
    )
    samplers: tuple[str, ...] | None = Field(
        None,
        description="samplers under which the chosen cell's quality against NFE is measured; null: "
        "every one that its process can have; []: none",
    )

    @field_validator("samplers")
    @classmethod
    def _known_samplers(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for name in value or ():
            if name not in SAMPLERS:
                raise ValueError(f"unknown sampler {name!r}{did_you_mean(name, SAMPLERS)}")
        return value

    under: tuple[str, ...] = Field(
        (),
        description="processes that each checkpoint is also sampled under, curve_samples from each "
        "of three blocks of seeds; names, or module:Class for one of your own; any will do for any "
        "checkpoint",
    )

    @field_validator("under")
    @classmethod
    def _known_processes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            _check_under(name)
        if len(set(value)) < len(value):
            raise ValueError("a process is named twice; name each once")
        return value


def _check_under(name: str) -> None:
    """Refuse a process that does not exist, or that cannot be built with its defaults."""
    try:
        check_kind(name)
        if name not in ALL_PROCESSES:
            raise unknown("process", name, ALL_PROCESSES)
        # Imports the module of a custom process, and no other.
        params = ALL_PROCESSES[name]
        for field, info in params.model_fields.items():
            if info.is_required():
                raise ValueError(
                    f"{name} has no default for {field!r}, and processes here have their defaults; "
                    "give it one in its class"
                )
        build(params, {}, [name])
    except UsageError as error:
        raise ValueError(str(error)) from None


class ReferenceConfig(Frozen):
    """What images are compared in; a distance between features is one under these features only."""

    extractor: Literal["own", "inception"] = Field(
        "own",
        description="own: a small network trained on the dataset; inception: Inception-v3 of the "
        "literature (needs torch-fidelity: the extra `fidelity`)",
    )
    weights: str = Field(
        "", description="inception: file of its weights, weights-inception-2015-12-05-6726825d.pth"
    )

    @model_validator(mode="after")
    def _weights_of_inception(self) -> Self:
        if self.extractor == "inception" and not self.weights:
            raise ValueError("extractor inception needs weights; name their file")
        return self
