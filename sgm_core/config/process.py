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
    beta_min: float = Field(0.1, gt=0, description="noise rate at t = 0 (linear)")
    beta_max: float = Field(20.0, gt=0, description="noise rate at t = 1 (linear)")
    schedule: Literal["linear", "cosine"] = Field(
        "linear", description="linear: beta grows linearly; cosine: arXiv 2102.09672"
    )
    s: float = Field(0.008, gt=0, lt=1, description="offset of the cosine schedule")

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
        _check_levels(self.sigma_min, self.sigma_max)
        return self


class EDMParams(ProcessParams):
    """EDM: m = 1, Sigma = t^2, time is the noise level (arXiv 2206.00364)."""

    kind: ClassVar[str] = "edm"
    target: ClassVar[str] = "sgm_core.process.edm:EDM"
    sigma_min: float = Field(0.002, gt=0, description="smallest time")
    sigma_max: float = Field(80.0, gt=0, description="largest time, where sampling starts")

    @model_validator(mode="after")
    def _ordered(self) -> EDMParams:
        _check_levels(self.sigma_min, self.sigma_max)
        return self


class FlowParams(ProcessParams):
    """Rectified flow with Gaussian noise: m = 1 - t, Sigma = t^2 (arXiv 2209.03003)."""

    kind: ClassVar[str] = "flow"
    target: ClassVar[str] = "sgm_core.process.flow:Flow"
    eps: float = Field(1e-3, gt=0, le=0.1, description="sampling starts at t = 1 - eps")


class LangevinParams(ProcessParams):
    """Base of the critically damped processes."""

    langevin: ClassVar[bool] = True
    objective: Literal["hsm", "dsm"] = Field(
        "hsm",
        description="hsm: the auxiliary initial values are integrated out; dsm: they are drawn",
    )


class CLDParams(LangevinParams):
    """Critically-damped Langevin diffusion: position and velocity (arXiv 2112.07068)."""

    kind: ClassVar[str] = "cld"
    target: ClassVar[str] = "sgm_core.process.cld:CLD"
    m_inv: float = Field(4.0, gt=0, description="inverse mass M^-1")
    beta: float = Field(4.0, gt=0, description="rate of the whole process")
    gamma: float = Field(0.04, gt=0, description="initial velocity variance is gamma M")


class PSLDParams(LangevinParams):
    """Phase-space Langevin diffusion: noise on position and velocity (arXiv 2303.01748).

    Critically damped: M^-1 = (gamma - nu)^2 / 4.
    """

    kind: ClassVar[str] = "psld"
    target: ClassVar[str] = "sgm_core.process.psld:PSLD"
    gamma: float = Field(0.01, ge=0, description="friction Gamma of the position")
    nu: float = Field(4.01, gt=0, description="friction of the velocity")
    beta: float = Field(8.0, gt=0, description="rate of the whole process")
    kappa: float = Field(0.04, gt=0, description="initial velocity variance is kappa M")

    @model_validator(mode="after")
    def _underdamped(self) -> PSLDParams:
        if self.nu <= self.gamma:
            raise ValueError(f"nu = {self.nu} is not above gamma = {self.gamma}; raise nu")
        return self


class HOLD3Params(LangevinParams):
    """Third-order Langevin diffusion: noise two derivatives away from the data (arXiv 2404.12814)."""

    kind: ClassVar[str] = "hold3"
    target: ClassVar[str] = "sgm_core.process.hold3:HOLD3"
    omega: float = Field(2.0, gt=0, description="the threefold rate of decay")
    beta: float = Field(4.0, gt=0, description="rate of the whole process")
    aux_variance: float = Field(
        0.04, gt=0, description="initial variance of both auxiliary channels"
    )


def _check_levels(low: float, high: float) -> None:
    if high <= low:
        raise ValueError(f"sigma_max = {high} is not above sigma_min = {low}; raise it")


PROCESSES: dict[str, type[ProcessParams]] = {
    p.kind: p
    for p in (
        VPParams,
        SubVPParams,
        VEParams,
        EDMParams,
        FlowParams,
        CLDParams,
        PSLDParams,
        HOLD3Params,
    )
}
