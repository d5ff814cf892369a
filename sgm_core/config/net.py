"""Parameters of the score networks, and the registry by name (no torch is imported here)."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from sgm_core.config.base import Frozen

Width = Annotated[int, Field(ge=1, le=65536)]


class NetParams(Frozen):
    """Base of all network parameters. `data_rank` is 1 for points (d,) and 3 for images (C, H, W)."""

    kind: ClassVar[str]
    target: ClassVar[str]
    data_rank: ClassVar[int]


class MLPParams(NetParams):
    """Residual multi-layer perceptron on Fourier features, for points."""

    kind: ClassVar[str] = "mlp"
    target: ClassVar[str] = "sgm_core.nets.mlp:MLP"
    data_rank: ClassVar[int] = 1
    width: int = Field(128, ge=4, le=8192, description="hidden units")
    depth: int = Field(3, ge=1, le=64, description="residual blocks")
    fourier: int = Field(
        32,
        ge=0,
        le=4096,
        description="Fourier features of the position (0: none), faded with noise",
    )
    fourier_scale: float = Field(4.0, gt=0, description="standard deviation of their frequencies")
    inner: tuple[Width, ...] = Field(
        (), description="hidden units inside each residual block, in order; []: `width`"
    )

    @model_validator(mode="after")
    def _consistent(self) -> MLPParams:
        _check_inner(self.inner, self.depth)
        return self


class UNetParams(NetParams):
    """U-Net with GroupNorm, SiLU, optional attention and class conditioning, for images."""

    kind: ClassVar[str] = "unet"
    target: ClassVar[str] = "sgm_core.nets.unet:UNet"
    data_rank: ClassVar[int] = 3
    channels: int = Field(32, ge=4, le=2048, description="channels at the finest resolution")
    multipliers: tuple[Annotated[int, Field(ge=1, le=64)], ...] = Field(
        (1, 2), min_length=1, max_length=8, description="channels per level"
    )
    blocks: int = Field(1, ge=1, le=16, description="residual blocks per level")
    attention: tuple[int, ...] = Field((), description="levels (0 = finest) with self-attention")
    heads: int = Field(4, ge=1, le=64, description="attention heads")
    dropout: float = Field(0.0, ge=0, lt=1)
    inner: tuple[Width, ...] = Field(
        (),
        description="channels inside each residual block, in order (down, middle, up), as pruning "
        "leaves them; []: as many as the block's output",
    )
    patch: int = Field(
        1,
        ge=1,
        le=16,
        description="side of the blocks of pixels that become channels; 2 works on half the height "
        "and width, at a quarter of the cost",
    )
    group: int = Field(
        0,
        ge=0,
        description="channels per group of the normalisation (0: at most 8 groups); 16 is the "
        "fastest on CPUs",
    )

    @model_validator(mode="after")
    def _consistent(self) -> UNetParams:
        _check_inner(self.inner, len(self.multipliers) * (2 * self.blocks + 1) + 1)
        if self.group and self.channels % self.group:
            raise ValueError(
                f"group = {self.group} does not divide channels = {self.channels}; "
                "write a divisor, or 0"
            )
        for level in self.attention:
            if not 0 <= level < len(self.multipliers):
                raise ValueError(
                    f"attention level {level} does not exist; choose from 0 to "
                    f"{len(self.multipliers) - 1}"
                )
            if (self.channels * self.multipliers[level]) % self.heads:
                raise ValueError(
                    f"heads = {self.heads} does not divide the "
                    f"{self.channels * self.multipliers[level]} channels of level {level}"
                )
        return self


def _check_inner(inner: tuple[int, ...], blocks: int) -> None:
    if inner and len(inner) != blocks:
        raise ValueError(
            f"inner has {len(inner)} entries and the network {blocks} residual blocks; write one for "
            "each, or []"
        )


NETS: dict[str, type[NetParams]] = {p.kind: p for p in (MLPParams, UNetParams)}
