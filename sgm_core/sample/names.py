"""The samplers' registry and their options: one line each. No torch is imported here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sgm_core.errors import UsageError, did_you_mean, unknown

SAMPLERS = {
    "euler_maruyama": "sgm_core.sample.euler_maruyama:EulerMaruyama",
    "predictor_corrector": "sgm_core.sample.predictor_corrector:PredictorCorrector",
    "ancestral": "sgm_core.sample.exponential:Ancestral",
    "ddim": "sgm_core.sample.exponential:DDIM",
    "multistep": "sgm_core.sample.exponential:Multistep",
    "multistep_sde": "sgm_core.sample.exponential:MultistepSDE",
    "heun": "sgm_core.sample.heun:Heun",
    "ode": "sgm_core.sample.ode:ProbabilityFlowODE",
    "sscs": "sgm_core.sample.sscs:SSCS",
    "sscs2": "sgm_core.sample.sscs:SSCS2",
}

# Samplers for one kind of process only: Heun's method is written for one channel, SSCS splits
# Langevin dynamics.
SCALAR_ONLY = {"heun"}
LANGEVIN_ONLY = {"sscs", "sscs2"}


def sampler_fits(name: str, langevin: bool) -> bool:
    """Return whether a sampler can run under a Langevin process (or under a scalar one)."""
    return name not in (SCALAR_ONLY if langevin else LANGEVIN_ONLY)


# The best at 10 to 50 evaluations with trained networks, under every process.
DEFAULT_SAMPLER = "multistep_sde"


@dataclass(frozen=True)
class Option:
    """An option of a sampler: a number from `low` to `high` (whole, if the default is)."""

    default: float
    low: float
    high: float
    text: str


# What every sampler takes beside its own options.
COMMON = ("steps", "grid", "sigma_min", "sigma_max", "dtype")

# Where these are set instead: by the command line, params.yaml or Python.
_ELSEWHERE = {
    "steps": "write --steps, sampling.steps or steps=",
    "grid": "write sampling.grid or grid=",
    "sigma_min": "write sampling.sigma_min or sigma_min=",
    "sigma_max": "write sigma_max= in Python",
    "dtype": "write dtype= to make_sampler",
}

_ETA = Option(0.0, 0.0, 1.0, "noise: 0 probability-flow ODE, 1 reverse SDE")
_ORDER = Option(2, 1, 4, "evaluations that a step extrapolates")
_TOLERANCE = Option(1e-3, 1e-10, 1.0, "tolerance of the local error")

OPTIONS: dict[str, dict[str, Option]] = {
    "euler_maruyama": {},
    "predictor_corrector": {
        "corrector": Option(0.5, 0.0, 10.0, "Langevin time per unit of ln sigma_eff")
    },
    "ancestral": {},
    "ddim": {"eta": _ETA},
    "multistep": {"order": _ORDER, "eta": _ETA},
    "multistep_sde": {"order": _ORDER},
    "heun": {
        "s_churn": Option(0.0, 0.0, 1000.0, "EDM's churn over all steps"),
        "s_tmin": Option(0.0, 0.0, math.inf, "churn from this noise level"),
        "s_tmax": Option(math.inf, 0.0, math.inf, "churn up to this noise level"),
        "s_noise": Option(1.0, 0.0, 2.0, "factor of the churn's noise"),
    },
    "ode": {"rtol": _TOLERANCE, "atol": _TOLERANCE},
    "sscs": {},
    "sscs2": {},
}


def check_options(sampler: str, options: Mapping[str, object], also: Sequence[str] = ()) -> None:
    """Refuse options that a sampler does not have, or values out of their range.

    Args:
        sampler: a name of SAMPLERS.
        options: its own, name -> value.
        also: further names that the caller takes, for the suggestion in the message.

    Raises:
        UsageError: one sentence that names the option, the value and the fix.
    """
    if sampler not in SAMPLERS:
        raise unknown("sampler", sampler, SAMPLERS)
    valid = OPTIONS[sampler]
    for name, value in options.items():
        if name not in valid:
            hint = did_you_mean(name, [*valid, *also]) or "; leave it out"
            if name in _ELSEWHERE:
                hint = f": it belongs to all samplers; {_ELSEWHERE[name]}"
            raise UsageError(f"sampler {sampler!r} has no option {name!r}{hint}")
        option = valid[name]
        whole = isinstance(option.default, int)
        number = isinstance(value, int) or (isinstance(value, float) and not whole)
        if isinstance(value, bool) or not number or not option.low <= value <= option.high:  # type: ignore[operator]
            kind = "whole number" if whole else "number"
            raise UsageError(
                f"{name}: {value!r} is not valid: write a {kind} from {option.low:g} to "
                f"{option.high:g} ({sampler}: {option.text})"
            )
