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

# The best at 10 to 50 evaluations with trained networks, under every process.
DEFAULT_SAMPLER = "multistep_sde"
