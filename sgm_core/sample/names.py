"""The samplers' registry: one line each. No torch is imported here."""

from __future__ import annotations

SAMPLERS = {
    "euler_maruyama": "sgm_core.sample.euler_maruyama:EulerMaruyama",
    "ancestral": "sgm_core.sample.exponential:Ancestral",
    "ddim": "sgm_core.sample.exponential:DDIM",
    "multistep": "sgm_core.sample.exponential:Multistep",
    "multistep_sde": "sgm_core.sample.exponential:MultistepSDE",
    "heun": "sgm_core.sample.heun:Heun",
    "ode": "sgm_core.sample.ode:ProbabilityFlowODE",
    "sscs": "sgm_core.sample.sscs:SSCS",
}

# Samplers for one kind of process only: Heun's method is written for one channel, SSCS splits
# Langevin dynamics.
SCALAR_ONLY = {"heun"}
LANGEVIN_ONLY = {"sscs"}


def sampler_fits(name: str, langevin: bool) -> bool:
    """Return whether a sampler can run under a Langevin process (or under a scalar one)."""
    return name not in (SCALAR_ONLY if langevin else LANGEVIN_ONLY)


# The best at 10 to 50 evaluations with trained networks, under every process.
DEFAULT_SAMPLER = "multistep_sde"
