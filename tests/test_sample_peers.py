"""The samplers against other people's: diffusers and azula, driven over our grid with our noise.

Every peer walks the same times from the same start with the same exact denoiser of a mixture and the
same normals, and has to meet our states at every time of the grid. Schedulers that compute in
float32 agree to 1e-5 or so, the others to 1e-9.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

os.environ["HF_HUB_OFFLINE"] = "1"  # before diffusers is imported
import azula.denoise
import azula.sample
import diffusers.schedulers.deprecated.scheduling_sde_vp as sde_vp
import diffusers.schedulers.scheduling_ddpm as ddpm
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    HeunDiscreteScheduler,
)

from sgm_core.oracle import MixtureDenoiser
from sgm_core.process import make_process
from sgm_core.process.base import Process
from sgm_core.sample import make_sampler
from sgm_core.sample.noise import NoiseStream

SCALAR = ["vp", "subvp", "ve", "edm", "flow"]
STEPS, SEED, SHAPE = 20, 3, (6, 2)
EXACT: dict[str, float] = {"rtol": 1e-9, "atol": 1e-9}
FLOAT32: dict[str, float] = {"rtol": 2e-5, "atol": 1e-5}


def oracle_of(name: str) -> MixtureDenoiser:
    weights = torch.tensor([0.2, 0.5, 0.3])
    means = torch.tensor([[0.5, -0.2], [-0.7, 0.3], [0.1, 0.9]])
    return MixtureDenoiser(weights, means, torch.tensor([0.1, 0.3, 0.05]), make_process(name))


@dataclass
class Walk:
    """What our sampler did: states[i] is at times[i], result is x_0."""

    oracle: MixtureDenoiser
    times: Tensor
    states: list[Tensor]
    result: Tensor

    @property
    def process(self) -> Process:
        return self.oracle.process

    def x0(self, x: Tensor, i: int) -> Tensor:
        return self.oracle(x[:, None], float(self.times[i]))

    def alpha(self) -> Tensor:
        return self.process.mean(self.times)[:, 0]

    def sigma(self) -> Tensor:
        return self.process.cholesky(self.times)[:, 0, 0]

    def normals(self) -> Iterator[Tensor]:
        """Yield the steps' normals, after the one that drew the start."""
        stream, index = NoiseStream(range(SEED, SEED + SHAPE[0])), 0
        while True:
            index += 1
            yield stream.draw(index, (1, SHAPE[1]))[:, 0]

    def meets(self, i: int, x: Tensor, limits: dict[str, float]) -> None:
        torch.testing.assert_close(x.double(), self.states[i], **limits, msg=lambda m: f"{i}: {m}")


def walk(process: str, sampler: str, **options: Any) -> Walk:
    oracle = oracle_of(process)
    settings = {"steps": STEPS, "sigma_min": 0.02, **options}
    run = make_sampler(sampler, **settings)
    seen: list[Tensor] = []
    result = run(oracle, SHAPE, seeds=SEED, callback=lambda i, t, u, x0: seen.append(u[:, 0]))
    noise = NoiseStream(range(SEED, SEED + SHAPE[0])).draw(0, (1, SHAPE[1]))[:, 0]
    start = oracle.process.cholesky(run.times[0]).item() * noise
    return Walk(oracle, run.times, [start, *seen[:-1]], result)


# -- azula: float64, any scalar schedule ---------------------------------------------------------


class AzulaDenoiser(azula.denoise.Denoiser):
    """Our exact denoiser and schedule as azula's; it keeps the states that it is given."""

    def __init__(self, ours: Walk) -> None:
        super().__init__()
        self.oracle, self.seen = ours.oracle, list[Tensor]()

    def schedule(self, t: Tensor) -> tuple[Tensor, Tensor]:
        process = self.oracle.process
        return process.mean(t)[..., 0], process.cholesky(t)[..., 0, 0]

    def forward(self, x_t: Tensor, t: Tensor, **kwargs: Any) -> Any:
        self.seen.append(x_t)
        return azula.denoise.DiracPosterior(self.oracle(x_t[:, None], t))


def walk_azula(ours: Walk, sampler: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Carry azula's sampler along the grid; yields the step's number before each step."""
    normals = ours.normals()
    monkeypatch.setattr(torch, "randn_like", lambda x: next(normals))
    x = ours.states[0]
    for i in range(STEPS - 1):
        yield i
        x = sampler.step(x, ours.times[i], ours.times[i + 1])
        ours.meets(i + 1, x, EXACT)


@pytest.mark.parametrize("process", SCALAR)
@pytest.mark.parametrize(
    ("sampler", "options", "peer"),
    [
        ("ddim", {}, azula.sample.EulerSampler),
        ("ddim", {}, azula.sample.DDIMSampler),
        ("ancestral", {}, azula.sample.DDPMSampler),
        ("heun", {}, azula.sample.HeunSampler),
        ("heun", {"grid": "rho"}, azula.sample.HeunSampler),
    ],
)
def test_azula_one_step_samplers(
    process: str, sampler: str, options: Any, peer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = walk(process, sampler, **options)
    for _ in walk_azula(ours, peer(AzulaDenoiser(ours), silent=True), monkeypatch):
        pass


@pytest.mark.parametrize("process", SCALAR)
def test_azula_ddim_with_noise(process: str, monkeypatch: pytest.MonkeyPatch) -> None:
    r"""DDIM's eta and ours agree at 0 and 1 and differ between: other members of the same family.

    Theirs (2010.02502) adds the variance eta^2 tau of the ancestral step's tau. Ours is the exact
    solution of the reverse SDE whose noise is scaled by eta, which adds 1 - (1 - tau)^(eta^2); the
    two are equal to first order in tau. With DDIM's eta chosen at every step so that the variances
    are equal, the steps are equal as well.
    """
    eta = 0.6
    ours = walk(process, "ddim", eta=eta)
    peer = azula.sample.DDIMSampler(AzulaDenoiser(ours), silent=True)
    ratio = ours.alpha() / ours.sigma()
    for i in walk_azula(ours, peer, monkeypatch):
        tau = 1 - float(ratio[i] / ratio[i + 1]) ** 2
        peer.eta = (1 - (1 - tau) ** eta**2) / tau


@pytest.mark.parametrize("process", SCALAR)
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_azula_exponential_adams_bashforth(process: str, order: int) -> None:
    """Our multistep of any order is azula's xEAB, whose integrals are in closed form."""
    ours = walk(process, "multistep", order=order)
    denoiser = AzulaDenoiser(ours)

    class OnOurGrid(azula.sample.xEABSampler):  # type: ignore[misc]
        timesteps = ours.times

    last = OnOurGrid(denoiser, order=order, silent=True)(ours.states[0])
    for i, x in enumerate([*denoiser.seen, last]):
        ours.meets(i, x, EXACT)
    assert len(denoiser.seen) == STEPS - 1


@pytest.mark.parametrize("process", SCALAR)
def test_azula_predictor_corrector(process: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our step is an ancestral step, then azula's corrector at the new time with 1 - delta = a^2.

    azula's own predictor comes after the corrector and is DDIM's; from a time to itself it does
    nothing, which leaves the corrector alone.
    """
    ours = walk(process, "predictor_corrector", corrector=0.5)
    denoiser = AzulaDenoiser(ours)
    predict = azula.sample.DDPMSampler(denoiser, silent=True)
    correct = azula.sample.PCSampler(denoiser, silent=True)
    level = ours.process.sigma_eff(ours.times).log()
    normals = ours.normals()
    monkeypatch.setattr(torch, "randn_like", lambda x: next(normals))
    x = ours.states[0]
    for i in range(STEPS - 1):
        x = predict.step(x, ours.times[i], ours.times[i + 1])
        correct.delta = 1 - float(torch.exp(-2 * 0.5 * (level[i] - level[i + 1])))
        x = correct.step(x, ours.times[i + 1], ours.times[i + 1])
        ours.meets(i + 1, x, EXACT)


# -- diffusers -----------------------------------------------------------------------------------


def discrete(scheduler: Any, ours: Walk) -> Any:
    """Give our levels to a scheduler that counts its times n - 1, ..., 0 and looks alpha^2 up."""
    scheduler.alphas_cumprod = ours.alpha().square().flip(0)
    scheduler.set_timesteps(STEPS)
    assert scheduler.timesteps.tolist() == list(range(STEPS))[::-1]
    return scheduler


@pytest.mark.parametrize(("sampler", "eta"), [("ddim", 0.0), ("ddim", 0.6), ("ancestral", 1.0)])
def test_diffusers_ddim(sampler: str, eta: float) -> None:
    """For eta between 0 and 1 see test_azula_ddim_with_noise."""
    ours = walk("vp", sampler, **({"eta": eta} if sampler == "ddim" else {}))
    config = {"num_train_timesteps": STEPS, "clip_sample": False, "prediction_type": "sample"}
    peer = discrete(DDIMScheduler(**config), ours)
    normals, ratio = ours.normals(), ours.alpha() / ours.sigma()
    x = ours.states[0]
    for i, t in enumerate(peer.timesteps.tolist()):
        tau = 1 - float(ratio[i] / ratio[i + 1]) ** 2 if i + 1 < STEPS else 1.0
        theirs = ((1 - (1 - tau) ** eta**2) / tau) ** 0.5
        noise = next(normals) if i + 1 < STEPS else torch.zeros(SHAPE)
        x0 = ours.x0(x, i)
        x = peer.step(x0, t, x, eta=theirs, variance_noise=noise).prev_sample
        if i + 1 < STEPS:
            ours.meets(i + 1, x, EXACT)
    # The last step ends at zero noise; for 0 < eta < 1 its variance is zero as well.
    torch.testing.assert_close(x, ours.result, **EXACT)


def test_diffusers_ddpm(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = walk("vp", "ancestral")
    config = {"num_train_timesteps": STEPS, "clip_sample": False, "prediction_type": "sample"}
    peer = discrete(DDPMScheduler(**config), ours)
    normals = ours.normals()
    monkeypatch.setattr(ddpm, "randn_tensor", lambda *args, **kwargs: next(normals))
    x = ours.states[0]
    for i, t in enumerate(peer.timesteps):
        x = peer.step(ours.x0(x, i), int(t), x).prev_sample
        if i + 1 < STEPS:
            ours.meets(i + 1, x, EXACT)
    torch.testing.assert_close(x, ours.result, **EXACT)


class ThirdOrder(DPMSolverMultistepScheduler):  # type: ignore[misc]
    """DPM-Solver++ of order 3 with the whole of its quadratic term.

    With r the distances of the last evaluations in units of the step, the polynomial through them is
    D0 + D1 s + D2 s^2, and the integral of the last term is -2 alpha ((e^-h - 1 + h) / h^2 - 1/2) D2.
    DPM-Solver's published code, and diffusers, give half of it (D2 is taken for a second derivative,
    which is twice the divided difference), so that their third order is not the Adams method.
    """

    def multistep_dpm_solver_third_order_update(
        self, outputs: list[Tensor], *args: Any, **kwargs: Any
    ) -> Tensor:
        published = super().multistep_dpm_solver_third_order_update(outputs, *args, **kwargs)
        levels = self.sigmas[self.step_index - 2 : self.step_index + 2]
        alphas, sigmas = self._sigma_to_alpha_sigma_t(levels)
        lam = alphas.log() - sigmas.log()
        h = lam[3] - lam[2]
        first, second = (lam[2] - lam[1]) / h, (lam[1] - lam[0]) / h
        slopes = (outputs[-1] - outputs[-2]) / first, (outputs[-2] - outputs[-3]) / second
        quadratic = (slopes[0] - slopes[1]) / (first + second)
        return published - alphas[3] * ((torch.exp(-h) - 1 + h) / h**2 - 0.5) * quadratic


def dpm_solver(ours: Walk, cls: Any = DPMSolverMultistepScheduler, **config: Any) -> list[Tensor]:
    """Return the states of DPM-Solver at the grid's times, and its x_0 last."""
    flow = ours.process.kind == "flow"
    peer = cls(prediction_type="sample", lower_order_final=False, use_flow_sigmas=flow, **config)
    peer.set_timesteps(STEPS)
    levels = ours.sigma() if flow else ours.process.sigma_eff(ours.times)
    peer.sigmas = torch.cat([levels, torch.zeros(1)])
    normals, states = ours.normals(), [ours.states[0]]
    for i, t in enumerate(peer.timesteps):
        noise = next(normals) if i + 1 < STEPS else torch.zeros(SHAPE)
        x0 = ours.x0(states[-1], i)
        states.append(peer.step(x0, t, states[-1], variance_noise=noise).prev_sample)
    return states


@pytest.mark.parametrize("grid", ["log", "rho"])
@pytest.mark.parametrize("process", ["vp", "flow"])
@pytest.mark.parametrize(
    ("sampler", "options", "algorithm", "cls"),
    [
        ("multistep", {"order": 1}, "dpmsolver++", DPMSolverMultistepScheduler),
        ("multistep", {"order": 2}, "dpmsolver++", DPMSolverMultistepScheduler),
        ("multistep", {"order": 3}, "dpmsolver++", ThirdOrder),
        ("multistep_sde", {"order": 1}, "sde-dpmsolver++", DPMSolverMultistepScheduler),
        ("multistep_sde", {"order": 2}, "sde-dpmsolver++", DPMSolverMultistepScheduler),
    ],
)
def test_diffusers_dpm_solver_multistep(
    process: str, grid: str, sampler: str, options: Any, algorithm: str, cls: Any
) -> None:
    r"""Our order 2 is 2M with solver_type "heun": the integral of the linear extrapolation, exactly.

    The default, "midpoint", has (1 - e^-h) / 2 in place of 1 - (1 - e^-h) / h: h^2 / 12 less, which
    leaves the order alone. Of the third order's SDE form nothing is compared: a constant has the wrong
    sign there, so that diffusers' coefficient of the quadratic term does not vanish with h.
    """
    ours = walk(process, sampler, grid=grid, **options)
    config = {"solver_order": options["order"], "algorithm_type": algorithm, "solver_type": "heun"}
    found = dpm_solver(ours, cls, **config)
    for i in range(STEPS):
        ours.meets(i, found[i], FLOAT32)
    torch.testing.assert_close(found[-1].double(), ours.result, **FLOAT32)


@pytest.mark.parametrize(
    ("order", "config"), [(2, {"solver_type": "midpoint"}), (3, {"solver_type": "heun"})]
)
def test_what_differs_in_dpm_solver_is_seen(order: int, config: dict[str, str]) -> None:
    """The comparison above can tell "midpoint" and the halved quadratic term from ours."""
    ours = walk("vp", "multistep", order=order)
    found = dpm_solver(ours, solver_order=order, algorithm_type="dpmsolver++", **config)
    assert (found[-1] - ours.result).abs().max() > 1e-4


@pytest.mark.parametrize("process", ["vp", "edm"])
def test_diffusers_heun(process: str) -> None:
    """EDM's second-order sampler; theirs walks y = u / m, two calls of step for one of ours."""
    ours = walk(process, "heun", grid="rho")
    peer = HeunDiscreteScheduler(prediction_type="sample")
    peer.set_timesteps(STEPS)
    levels = ours.process.sigma_eff(ours.times)
    peer.sigmas = torch.cat([levels[:1], levels[1:].repeat_interleave(2), torch.zeros(1)])
    peer.set_begin_index(0)
    alpha = ours.alpha()
    y = ours.states[0] / alpha[0]
    for i in range(STEPS - 1):
        for j in (i, i + 1):
            y = peer.step(ours.x0(alpha[j] * y, j), peer.timesteps[0], y).prev_sample
        ours.meets(i + 1, alpha[i + 1] * y, EXACT)
    x0 = ours.x0(alpha[-1] * y, STEPS - 1)
    torch.testing.assert_close(peer.step(x0, 0, y).prev_sample, ours.result, **EXACT)


def test_diffusers_flow_matching() -> None:
    """Under the flow our DDIM is Euler's method in the flow's own time, v = eps - x_0."""
    ours = walk("flow", "ddim")
    peer = FlowMatchEulerDiscreteScheduler()
    peer.set_timesteps(sigmas=ours.times.tolist())
    peer.sigmas = torch.cat([ours.times, torch.zeros(1)])
    x = ours.states[0]
    for i, t in enumerate(peer.timesteps):
        velocity = (x - ours.x0(x, i)) / ours.times[i]
        x = peer.step(velocity, t, x).prev_sample
        if i + 1 < STEPS:
            ours.meets(i + 1, x, FLOAT32)
    torch.testing.assert_close(x, ours.result, **FLOAT32)


def test_diffusers_euler_maruyama(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reverse VP-SDE in steps of 1 / n, from 1 to 1 / n (Song et al.'s Euler-Maruyama)."""
    last = make_process("vp").sigma_eff(1 / STEPS).item()
    ours = walk("vp", "euler_maruyama", grid="uniform", sigma_min=last)
    peer = sde_vp.ScoreSdeVpScheduler()
    peer.set_timesteps(STEPS)
    normals = ours.normals()
    monkeypatch.setattr(sde_vp, "randn_tensor", lambda *args, **kwargs: next(normals))
    x, alpha, sigma = ours.states[0], ours.alpha(), ours.sigma()
    for i in range(STEPS - 1):
        eps = (x - alpha[i] * ours.x0(x, i)) / sigma[i]
        x, _ = peer.step_pred(eps, x, ours.times[i])
        ours.meets(i + 1, x, EXACT)
