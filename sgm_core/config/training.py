"""How a cell is trained and sampled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from sgm_core.config.base import Frozen
from sgm_core.errors import UsageError, did_you_mean
from sgm_core.sample.names import DEFAULT_SAMPLER, SAMPLERS, check_options

Decay = Annotated[float, Field(ge=0, lt=1)]


class TrainingConfig(Frozen):
    """The trainer's settings; every field is part of the cell's key."""

    steps: int = Field(2000, ge=1, le=1_000_000_000, description="optimiser steps")
    batch: int = Field(256, ge=1, description="items per step")
    lr: float = Field(3e-3, gt=0, description="peak learning rate of AdamW")
    betas: tuple[Decay, Decay] = Field((0.9, 0.99), description="AdamW moments")
    weight_decay: float = Field(0.0, ge=0)
    warmup: int = Field(50, ge=0, description="steps of linear warm-up")
    schedule: Literal["cosine", "constant"] = "cosine"
    grad_clip: float = Field(1.0, gt=0, description="largest global gradient norm")
    ema: float = Field(0.99, ge=0, lt=1, description="decay of the weights' moving average")
    parametrisation: Literal["edm", "native", "mixed"] = Field(
        "edm",
        description="edm: preconditioned denoiser; native: the SDE's own noise prediction; "
        "mixed: that noise less its best linear estimate (CLD's mixed score)",
    )
    weighting: Literal["auto", "edm", "epsilon", "min_snr", "likelihood"] = Field(
        "auto",
        description="weight of |D - x_0|^2 over noise levels; auto: 1 on the network's own target "
        "(edm: EDM's weight, native: the papers'); edm: 1/sigma^2 + 1/sigma_data^2; epsilon: SNR; "
        "min_snr: min(SNR, min_snr_gamma); likelihood: SNR / p(ln sigma), maximum likelihood under "
        "any law of training times (least noisy with time_sampling: loguniform)",
    )
    min_snr_gamma: float = Field(
        5.0, gt=0, description="min_snr: the SNR above which weights stop growing"
    )
    time_sampling: Literal["lognormal", "loguniform", "uniform"] = Field(
        "lognormal", description="law of training times: through ln sigma_eff, or uniform in t"
    )
    p_mean: float = Field(-1.2, description="lognormal: mean of ln sigma_eff")
    p_std: float = Field(1.2, gt=0, description="lognormal: standard deviation of ln sigma_eff")
    tails: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of items with twice their level's noise, so that the network knows the way "
        "back from where chance takes a sampler; 0.02 for points of few coordinates, 0 for images",
    )
    label_dropout: float = Field(
        0.1, ge=0, le=1, description="share of items trained without their class label"
    )
    precision: Literal["float32", "bf16"] = Field(
        "float32", description="bf16: autocast where the device has it"
    )
    compile: bool = Field(
        False,
        description="torch.compile a U-Net before it is trained: on a GPU its steps take 0.6 of the time, "
        "after about 40 s; on a CPU a little less is gained, and a C++ compiler has to be there",
    )
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: int = Field(1, ge=1, le=256, description="CPU threads of one cell's process")
    devices: int = Field(
        1,
        ge=1,
        le=64,
        description="GPUs (or processes on the CPU) that share each batch of one cell",
    )

    stack: int = Field(
        1,
        ge=1,
        le=128,
        description="cells of a grid that are trained as one, if they differ in process and seed alone "
        "(networks of points): on a GPU 16 take three times as long as one. Weights then are those of "
        "the cell alone up to rounding, not bit for bit",
    )

    @field_validator("tails")
    @classmethod
    def _exact_likelihood(cls, value: float, info: ValidationInfo) -> float:
        if value and info.data.get("weighting") == "likelihood":
            raise ValueError("weighting: likelihood needs the exact noise; write 0")
        return value

    @field_validator("devices")
    @classmethod
    def _an_item_for_each(cls, value: int, info: ValidationInfo) -> int:
        if value > info.data.get("batch", value):
            raise ValueError(f"each device needs an item of the batch of {info.data['batch']}")
        return value

    @field_validator("stack")
    @classmethod
    def _one_device(cls, value: int, info: ValidationInfo) -> int:
        if value > 1 and info.data.get("devices", 1) > 1:
            raise ValueError("a stack lies on one device; write devices: 1 or stack: 1")
        return value

    checkpoint_every: int = Field(500, ge=1, description="steps between checkpoints")


class SamplingConfig(Frozen):
    """The sampler that the leaderboard and `generate` use by default."""

    sampler: str = Field(DEFAULT_SAMPLER, description=f"one of {', '.join(SAMPLERS)}")
    steps: int = Field(
        25,
        ge=1,
        le=100_000,
        description="solver steps, one network evaluation each (heun, sscs2, predictor_corrector: two, "
        "but for the last one; ode: as many as its tolerance asks for)",
    )

    @field_validator("sampler")
    @classmethod
    def _known_sampler(cls, value: str) -> str:
        if value not in SAMPLERS:
            raise ValueError(f"unknown sampler{did_you_mean(value, SAMPLERS)}")
        return value

    options: dict[str, int | float] = Field(
        {}, description="the sampler's own options, see the table below, e.g. {eta: 0.5}"
    )

    @field_validator("options", mode="before")
    @classmethod
    def _known_options(cls, value: object, info: ValidationInfo) -> object:
        if isinstance(value, Mapping) and "sampler" in info.data:
            value = {str(name): _number(entry) for name, entry in value.items()}
            try:
                check_options(info.data["sampler"], value)
            except UsageError as error:
                raise ValueError(str(error).replace(" is not valid:", ":")) from None
        return value

    grid: Literal["log", "rho", "quadratic", "uniform"] = Field(
        "log", description="spacing of the noise levels"
    )
    sigma_min: float = Field(
        0.002,
        gt=0,
        lt=10,
        description="smallest sigma_eff of the grid, in units of the model space",
    )
    guidance: float = Field(1.0, ge=0, description="classifier-free guidance (1: none)")


def _number(value: object) -> object:
    """YAML reads 1e-3 (without a point) as text; everywhere else in the file it is a number."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value
