"""Parameters of the forward processes, and the registry by name.

A new process is one class here (its parameters, with defaults and ranges) and one file with its
kernel in `sgm_core/process/`; `target` ties the two together. No torch is imported here, so that a
cell's key is known in milliseconds.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from sgm_core.config.base import Frozen


class ProcessParams(Frozen):
    """Base of all process parameters."""

    kind: ClassVar[str]
    target: ClassVar[str]
    langevin: ClassVar[bool] = False


class VPParams(ProcessParams):
    """Variance preserving: m = exp(-B/2), Sigma = 1 - exp(-B), B = int beta (arXiv 2011.13456)."""

    kind: ClassVar[str] = "vp"
    target: ClassVar[str] = "sgm_core.process.vp:VP"
    beta_min: float = Field(0.1, gt=0, description="noise rate at t = 0")
    beta_max: float = Field(20.0, gt=0, description="noise rate at t = 1")

    @model_validator(mode="after")
    def _ordered(self) -> VPParams:
        if self.beta_max < self.beta_min:
            raise ValueError(
                f"beta_max = {self.beta_max} is below beta_min = {self.beta_min}; raise beta_max"
            )
        return self


class SubVPParams(VPParams):
    """Sub-variance preserving: the mean of VP, Sigma = (1 - exp(-B))^2 (arXiv 2011.13456)."""

    kind: ClassVar[str] = "subvp"
    target: ClassVar[str] = "sgm_core.process.subvp:SubVP"


class VEParams(ProcessParams):
    """Variance exploding: m = 1, Sigma = sigma(t)^2, sigma geometric in t (arXiv 2011.13456)."""

    kind: ClassVar[str] = "ve"
    target: ClassVar[str] = "sgm_core.process.ve:VE"
    sigma_min: float = Field(0.01, gt=0, description="noise level at t = 0")
    sigma_max: float = Field(50.0, gt=0, description="noise level at t = 1")

    @model_validator(mode="after")
    def _ordered(self) -> VEParams:
        if self.sigma_max <= self.sigma_min:
            raise ValueError(
                f"sigma_max = {self.sigma_max} is not above sigma_min = {self.sigma_min}; raise it"
            )
        return self


class CLDParams(ProcessParams):
    """Critically-damped Langevin diffusion: position and velocity (arXiv 2112.07068)."""

    kind: ClassVar[str] = "cld"
    target: ClassVar[str] = "sgm_core.process.cld:CLD"
    langevin: ClassVar[bool] = True
    m_inv: float = Field(4.0, gt=0, description="inverse mass M^-1")
    beta: float = Field(4.0, gt=0, description="rate of the whole process")
    gamma: float = Field(0.04, gt=0, description="initial velocity variance is gamma M")
    objective: Literal["hsm", "dsm"] = Field(
        "hsm",
        description="hsm: the kernel has the initial velocity integrated out; dsm: it is drawn",
    )


PROCESSES: dict[str, type[ProcessParams]] = {
    p.kind: p for p in (VPParams, SubVPParams, VEParams, CLDParams)
}
