"""What is published beside the weights of a champion, and when a variant is good enough."""

from __future__ import annotations

from pydantic import Field

from sgm_core.config.base import Frozen


class PublishConfig(Frozen):
    """The bundle of a published version: half precision, ONNX, int8 and a pruned network.

    A variant is published only if its loss of quality against the fp32 weights is certain to be
    small: both are sampled with the same seeds and compared as a promotion compares two models.
    """

    bundle: bool = Field(True, description="false: no bundle is made when a champion is published")
    prune: float = Field(
        0.5,
        ge=0,
        lt=1,
        description="share of the channels inside residual blocks that pruning takes out; 0: no "
        "pruned variant",
    )
    tune_steps: int = Field(
        200, ge=1, le=1_000_000, description="steps that the pruned network is tuned for"
    )
    calibration: int = Field(
        512,
        ge=16,
        le=100_000,
        description="items, one noise level each, that int8 is calibrated on",
    )
    samples: int | None = Field(
        None,
        ge=0,
        description="samples of each variant that its quality is measured on; null: "
        "evaluation.samples; 0: none, variants are judged by their output error alone",
    )
    bootstrap: int = Field(
        200, ge=50, le=10_000, description="bootstrap replicates of the paired interval"
    )
    max_loss: float = Field(
        0.25,
        gt=0,
        description="largest relative loss in the ranking metric: the lower end of the paired 95 % "
        "interval of a variant's gain over the fp32 weights must lie above its negative",
    )
    max_rmse: float = Field(
        0.25,
        gt=0,
        description="largest RMSE of a variant's output against the fp32 network over all noise "
        "levels (the network's target has about unit variance)",
    )
