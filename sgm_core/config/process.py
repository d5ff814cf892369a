"""Parameters of the forward processes, and the registry by name.

A new process is one class here (its parameters, with defaults and ranges) and one file with its
kernel in `sgm_core/process/`; `target` ties the two together. No torch is imported here, so that a
cell's key is known in milliseconds. `largest_level` is sigma_eff(t_max) in closed form, held against
the kernels by the tests: a process that keeps the data, or overflows, is refused before training.
`smallest_level` is sigma_eff(t_min), where that is simple.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from sgm_core.config.base import Frozen
from sgm_core.config.critical import second_order, third_order

# Sampling starts from noise alone: at level 2, unit data is a fifth of the variance that is seen.
# Above the upper limit the grids spend their steps where nothing happens, and float64 runs out.
FORGOTTEN, LARGEST = 2.0, 1e6
# The least sigma_min of processes that start with noise.
SMALLEST = 1e-6
# The smallest time of processes whose noise begins at t = 0, as in sgm_core.process.base.
T_MIN = 1e-7

# An initial variance of auxiliary channels, relative to the stationary one.
Auxiliary = Annotated[float, Field(ge=1e-6, le=100)]


class ProcessParams(Frozen, ABC):
    """Base of all process parameters."""

    kind: ClassVar[str]
    target: ClassVar[str]
    langevin: ClassVar[bool] = False
    # The fields that the largest level grows with (or falls with).
    level_fields: ClassVar[tuple[str, ...]] = ()
    level_falls: ClassVar[bool] = False

    @abstractmethod
    def largest_level(self) -> float:
        """Return sigma_eff(t_max), the noise level that sampling starts from."""

    def smallest_level(self) -> float | None:
        """Return sigma_eff(t_min), or None where nobody has written it down."""
        return None

    @model_validator(mode="after")
    def _works(self) -> ProcessParams:
        self._check_fields()
        if self.level_fields:
            self._check_level()
        return self

    def _check_fields(self) -> None:
        """Refuse fields that do not fit each other."""

    def _check_level(self) -> None:
        """Refuse parameters under which the data is not forgotten, or the kernel overflows."""
        names, falling = self.level_fields, self.level_falls
        try:
            level = self.largest_level()
        except OverflowError:
            level = math.inf
        if FORGOTTEN <= level <= LARGEST:
            return
        values = ", ".join(f"{name} = {getattr(self, name)}" for name in names)
        them = "it" if len(names) == 1 else " or ".join(names)
        if level < FORGOTTEN:
            why, grow = f"which keeps the data; reach at least {FORGOTTEN:g}:", not falling
        else:
            why, grow = f"which cannot be computed with; stay below {LARGEST:g}:", falling
        fix = "raise" if grow else "lower"
        end = "ends" if len(names) == 1 else "end"
        raise ValueError(f"{values} {end} at noise level {level:.3g}, {why} {fix} {them}")


class VPParams(ProcessParams):
    """Variance preserving: m = exp(-B/2), Sigma = 1 - exp(-B), B = int beta (arXiv 2011.13456)."""

    kind: ClassVar[str] = "vp"
    target: ClassVar[str] = "sgm_core.process.vp:VP"
    level_fields: ClassVar[tuple[str, ...]] = ("beta_min", "beta_max")
    beta_min: float = Field(0.1, gt=0, description="noise rate at t = 0 (linear)")
    beta_max: float = Field(20.0, gt=0, description="noise rate at t = 1 (linear)")
    schedule: Literal["linear", "cosine"] = Field(
        "linear", description="linear: beta grows linearly; cosine: arXiv 2102.09672"
    )
    s: float = Field(0.008, gt=0, lt=1, description="offset of the cosine schedule")

    def _check_fields(self) -> None:
        for name in ("beta_min", "beta_max") if self.schedule == "cosine" else ("s",):
            value = getattr(self, name)
            if value != type(self).model_fields[name].default:
                raise ValueError(
                    f"{name} = {value} has no part in schedule: {self.schedule}; leave it out"
                )
        if self.beta_max < self.beta_min:
            raise ValueError(
                f"beta_max = {self.beta_max} is below beta_min = {self.beta_min}; raise beta_max"
            )

    def _rate_integral(self, t: float | None = None) -> float:
        """Return B(t); None: at t_max."""
        if self.schedule == "linear":
            t = 1.0 if t is None else t
            return self.beta_min * t + 0.5 * (self.beta_max - self.beta_min) * t * t
        times = (0.0, 0.999 if t is None else t)
        first, last = (0.5 * math.pi * (t + self.s) / (1 + self.s) for t in times)
        return 2.0 * math.log(math.cos(first) / math.cos(last))

    def largest_level(self) -> float:
        """Return sqrt(exp(B) - 1)."""
        return math.sqrt(math.expm1(self._rate_integral()))

    def smallest_level(self) -> float:
        """Return the same at T_MIN."""
        return math.sqrt(math.expm1(self._rate_integral(T_MIN)))


class SubVPParams(VPParams):
    """Sub-variance preserving: the mean of VP, Sigma = (1 - exp(-B))^2 (arXiv 2011.13456)."""

    kind: ClassVar[str] = "subvp"
    target: ClassVar[str] = "sgm_core.process.subvp:SubVP"

    def largest_level(self) -> float:
        """Return 2 sinh(B/2)."""
        return 2.0 * math.sinh(0.5 * self._rate_integral())

    def smallest_level(self) -> float:
        """Return the same at T_MIN."""
        return 2.0 * math.sinh(0.5 * self._rate_integral(T_MIN))


class VEParams(ProcessParams):
    """Variance exploding: m = 1, Sigma = sigma(t)^2, sigma geometric in t (arXiv 2011.13456)."""

    kind: ClassVar[str] = "ve"
    target: ClassVar[str] = "sgm_core.process.ve:VE"
    level_fields: ClassVar[tuple[str, ...]] = ("sigma_max",)
    sigma_min: float = Field(0.01, gt=0, description="noise level at t = 0")
    sigma_max: float = Field(50.0, gt=0, description="noise level at t = 1")

    def _check_fields(self) -> None:
        _check_order(self.sigma_min, self.sigma_max)

    def largest_level(self) -> float:
        """Return sigma_max."""
        return self.sigma_max

    def smallest_level(self) -> float:
        """Return sigma_min."""
        return self.sigma_min


class EDMParams(ProcessParams):
    """EDM: m = 1, Sigma = t^2, time is the noise level (arXiv 2206.00364)."""

    kind: ClassVar[str] = "edm"
    target: ClassVar[str] = "sgm_core.process.edm:EDM"
    level_fields: ClassVar[tuple[str, ...]] = ("sigma_max",)
    sigma_min: float = Field(0.002, gt=0, description="smallest time")
    sigma_max: float = Field(80.0, gt=0, description="largest time, where sampling starts")

    def _check_fields(self) -> None:
        _check_order(self.sigma_min, self.sigma_max)

    def largest_level(self) -> float:
        """Return sigma_max."""
        return self.sigma_max

    def smallest_level(self) -> float:
        """Return sigma_min."""
        return self.sigma_min


class FlowParams(ProcessParams):
    """Rectified flow with Gaussian noise: m = 1 - t, Sigma = t^2 (arXiv 2209.03003)."""

    kind: ClassVar[str] = "flow"
    target: ClassVar[str] = "sgm_core.process.flow:Flow"
    level_fields: ClassVar[tuple[str, ...]] = ("eps",)
    level_falls: ClassVar[bool] = True
    eps: float = Field(1e-3, gt=0, le=0.1, description="sampling starts at t = 1 - eps")

    def largest_level(self) -> float:
        """Return (1 - eps) / eps."""
        return (1.0 - self.eps) / self.eps

    def smallest_level(self) -> float:
        """Return t / (1 - t) at T_MIN."""
        return T_MIN / (1.0 - T_MIN)


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
    level_fields: ClassVar[tuple[str, ...]] = ("m_inv", "beta")
    m_inv: float = Field(4.0, ge=1e-6, le=1e6, description="inverse mass M^-1")
    beta: float = Field(4.0, gt=0, description="rate of the whole process")
    gamma: Auxiliary = Field(0.04, description="initial velocity variance is gamma M")

    def largest_level(self) -> float:
        """Return the level of order 2 at lambda tau = sqrt(m_inv) beta."""
        decay = math.sqrt(self.m_inv) * self.beta
        return second_order(decay, decay, self.gamma)


class PSLDParams(LangevinParams):
    """Phase-space Langevin diffusion: noise on position and velocity (arXiv 2303.01748).

    Critically damped: M^-1 = (gamma - nu)^2 / 4.
    """

    kind: ClassVar[str] = "psld"
    target: ClassVar[str] = "sgm_core.process.psld:PSLD"
    level_fields: ClassVar[tuple[str, ...]] = ("gamma", "nu", "beta")
    gamma: float = Field(0.01, ge=0, description="friction Gamma of the position")
    nu: float = Field(4.01, gt=0, description="friction of the velocity")
    beta: float = Field(8.0, gt=0, description="rate of the whole process")
    kappa: Auxiliary = Field(0.04, description="initial velocity variance is kappa M")

    def _check_fields(self) -> None:
        if self.nu <= self.gamma:
            raise ValueError(f"nu = {self.nu} is not above gamma = {self.gamma}; raise nu")
        if not 1e-6 <= (self.nu - self.gamma) ** 2 / 4 <= 1e6:
            raise ValueError(
                f"nu - gamma = {self.nu - self.gamma:.3g} gives the inverse mass "
                f"{(self.nu - self.gamma) ** 2 / 4:.3g}; choose nu - gamma from 0.002 to 2000"
            )

    def largest_level(self) -> float:
        """Return the level of order 2 at lambda tau = (gamma + nu) beta / 4."""
        decay, turn = self.gamma + self.nu, self.nu - self.gamma
        return second_order(decay * self.beta / 4, turn * self.beta / 4, self.kappa)


class HOLD3Params(LangevinParams):
    """Third-order Langevin diffusion: noise two derivatives away from the data (arXiv 2404.12814)."""

    kind: ClassVar[str] = "hold3"
    target: ClassVar[str] = "sgm_core.process.hold3:HOLD3"
    level_fields: ClassVar[tuple[str, ...]] = ("omega", "beta")
    omega: float = Field(2.0, ge=1e-6, le=1e6, description="the threefold rate of decay")
    beta: float = Field(4.0, gt=0, description="rate of the whole process")
    aux_variance: Auxiliary = Field(0.04, description="initial variance of both auxiliary channels")

    def largest_level(self) -> float:
        """Return the level of order 3 at lambda tau = omega beta."""
        return third_order(self.omega * self.beta, self.aux_variance)


def _check_order(low: float, high: float) -> None:
    if low < SMALLEST:
        raise ValueError(f"sigma_min = {low} is no noise at all; raise it to {SMALLEST:g} or more")
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
