"""Which cells are trained in full, which one wins, and what it takes to replace the champion."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from sgm_core.config.base import Frozen
from sgm_core.errors import did_you_mean
from sgm_core.evaluate.names import METRICS, cannot_rank

Share = Annotated[float, Field(gt=0, lt=1)]


class SelectionConfig(Frozen):
    """Which cell wins, and what it takes to replace the champion.

    Cells are chosen on the validation split; the decision falls on the test split, with fresh samples
    from seeds that no cell was chosen by, the same for the new model and for the champion.
    """

    metric: str = Field("auto", description="auto: sliced_w2 for points, fd for images")

    @field_validator("metric")
    @classmethod
    def _known_metric(cls, value: str) -> str:
        if value != "auto" and value not in METRICS:
            raise ValueError(f"unknown metric{did_you_mean(value, METRICS)}")
        if value != "auto" and not METRICS[value].ranks:
            raise ValueError(cannot_rank(value))
        return value

    min_effect: float = Field(
        0.0,
        ge=0,
        description="relative gain over the champion that a promotion needs: the lower end of the "
        "gain's paired 95 % interval must lie above it",
    )
    decision_samples: int | None = Field(
        None, ge=10, description="fresh samples of each model; null: four times evaluation.samples"
    )
    decision_bootstrap: int = Field(
        400, ge=50, le=10_000, description="bootstrap replicates of the paired interval"
    )
    max_memorised: float = Field(
        0.25, ge=0, le=1, description="largest share of samples that copy training items"
    )
    min_coverage: float = Field(
        0.5, ge=0, le=1, description="smallest coverage, as a share of what real items reach"
    )
    min_class_share: float = Field(
        0.3, ge=0, le=1, description="smallest share of any class (mode), relative to real items"
    )
    max_nfe: int | None = Field(
        None, ge=1, description="largest number of network evaluations per sample; null: any"
    )
    max_seconds_per_sample: float | None = Field(
        None, gt=0, description="longest time per sample, on the machine that decides; null: any"
    )


class SearchConfig(Frozen):
    """Successive halving over the grid: every pair of process and network is tried cheaply, and the
    best are trained in full with every seed. Without this section every cell is trained in full."""

    rungs: tuple[Share, ...] = Field(
        (0.25,),
        min_length=1,
        max_length=8,
        description="shares of training.steps of the cheap rungs, ascending; the first rung trains "
        "every pair with the first seed",
    )
    budget: float = Field(
        10.0,
        gt=0,
        description="what the whole search may cost, in full trainings (training.steps each); as "
        "many finalists are trained, with every seed, as it pays for",
    )

    @field_validator("rungs")
    @classmethod
    def _ascending(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if list(value) != sorted(set(value)):
            raise ValueError("write ascending shares, each once, such as [0.1, 0.3]")
        return value
