r"""Likelihood of a score model: exact through the scalar twin, and the Langevin papers' bound.

Whatever the process, the statistic y = m^T Sigma^-1 u / SNR = x_0 + sigma eps obeys the
probability-flow ODE of one channel, so that its density is exact where the papers on augmented
diffusions have a bound (arXiv 2011.13456 for k = 1; ln sigma is the time here):

    dy / d ln sigma = y - D(y; sigma),    d log p / d ln sigma = -(d - tr dD/dy).

It is solved in the coordinates z = y / sqrt(1 + sigma^2), where Gaussian data does not move at all
and the density's linear part is known, with c = 1 / (1 + sigma^2):

    dz / d ln sigma = c z - sqrt(c) D,
    log p_eps(x) = log p_T(y_T) + d/2 ln (1 + sigma_T^2) / (1 + sigma_eps^2) - int (tr dD/dy - d c).

`bound` is the papers' (arXiv 2112.07068, 2303.01748): log p(x) >= E_q [log p(x, aux) - log q(aux)].
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sgm_core.denoise import DenoiserLike, mix, outer_state, per_item
from sgm_core.divergence import Trace
from sgm_core.errors import SgmError, UsageError
from sgm_core.integrate import MAX_CALLS, Solution, check_tolerances, dopri5, rms
from sgm_core.levels import times_of
from sgm_core.process.base import Process
from sgm_core.sample.noise import NoiseStream, Seeds, seed_list
from sgm_core.sample.ode import flow_coefficients
from sgm_core.terminal import normal, terminal_density, terminal_state_density


@dataclass(frozen=True)
class LogProb:
    """Log densities, and all that decides their accuracy.

    Attributes:
        value: (n,) float64, nats; NaN for an item whose denoiser is not finite or whose solution
            did not end in `integrate.MAX_CALLS` evaluations.
        nfe: denoiser evaluations of the slowest item (in one solution).
        rtol, atol: of the solver.
        t_eps, sigma_eps: where the density is taken: of the data smoothed by sigma_eps.
        divergence: "exact" or "hutchinson"; probes: probe vectors per item (0: exact).
        terminal: "exact" (the denoiser knows its density) or "prior".
        process: kind of the forward process.
        draws: auxiliary states per item (0: no bound, exact).
    """

    value: Tensor
    nfe: int
    rtol: float
    atol: float
    t_eps: float
    sigma_eps: float
    divergence: str
    probes: int
    terminal: str
    process: str
    draws: int = 0


def log_prob(
    denoiser: DenoiserLike,
    x: Tensor,
    *,
    sigma_min: float = 1e-5,
    divergence: str = "auto",
    probes: int = 1,
    rtol: float = 1e-5,
    atol: float = 1e-5,
    seeds: Seeds = 0,
    terminal: str = "auto",
    **cond: Any,
) -> LogProb:
    """Return log p_eps(x), the density of x_0 + sigma_eps eps at x, in model space.

    It is the density that sampling by the probability-flow ODE from N(0, sigma_T^2 I) has. The
    denoiser is asked at u = m_t y, so that one fed with all channels (parametrisation `native`) is
    seen on that line only.

    An item's value does not depend on the other items, up to what a float32 network's rounding does
    to the choice of steps (sgm_core.integrate): about 1e-3 nats at tolerances of 1e-5. In float64
    nothing of that is left.

    Args:
        denoiser: (u, t, **cond) -> x0, differentiable, with attribute `process`.
        x: (n, *shape) in model space.
        sigma_min: sigma_eps, raised to the process's smallest level where that is larger.
        divergence: "exact" (d vector-Jacobian products), "hutchinson" (random signs, fixed for one
            solution; arXiv 1810.01367) or "auto": exact up to d = 16.
        probes: sign vectors per item.
        rtol, atol: tolerances of the local error, of the state and of the log density per number,
            from 1e-10 (float32 networks: 1e-6).
        seeds: item i draws its signs from seeds[i], or seeds + i for a single number.
        terminal: "auto": the density of y_T is `denoiser.log_density` where there is one, else, and
            with "prior", that of sampling's start, N(0, sigma_T^2 I).
        cond: passed on to the denoiser; tensors of n rows are taken to belong to the items.

    Raises:
        UsageError: an option or x is wrong.
        SgmError: not one solution ended in `integrate.MAX_CALLS` evaluations.
    """
    process: Process = denoiser.process  # type: ignore[attr-defined]
    low, high = _levels(process, sigma_min)
    _check(x, rtol, atol, terminal)
    n, d = len(x), x[0].numel()
    stream = NoiseStream(seed_list(seeds, n, "item"))
    trace = Trace(denoiser, d, divergence, probes, stream, 0, cond, n)

    def slope(level: Tensor, state: Tensor, index: Tensor) -> Tensor:
        sigma = level.exp()
        t, shrink = times_of(process, level), 1.0 / (1.0 + sigma.square())
        root, mean = shrink.sqrt().to(state)[:, None], process.mean(t).to(state)
        z = state[:, :d]
        y = (z / root).reshape(-1, *x.shape[1:])
        x0, along = trace(outer_state(mean, y), t, mean, index)
        shrink = shrink.to(state)
        flow = shrink[:, None] * z - root * x0.flatten(1)
        return torch.cat([flow, (along / d - shrink)[:, None]], 1)

    z = x.detach().double().flatten(1) / math.hypot(1.0, low)
    start = torch.cat([z, torch.zeros_like(z[:, :1])], 1)
    with torch.no_grad():
        done = dopri5(
            slope, start, math.log(low), math.log(high),
            rtol=rtol, atol=atol, norm=_both,
        )  # fmt: skip
        _check_ended(done, rtol, atol)
        y = (done.state[:, :d] * math.hypot(1.0, high)).reshape(x.shape)
        end, exact = terminal_density(denoiser, y, high, terminal)
        growth = math.log(math.hypot(1.0, high) / math.hypot(1.0, low))
        value = end + d * (growth - done.state[:, d].cpu())
    value[~done.finished] = torch.nan
    return LogProb(
        value, int(done.calls.max()), rtol, atol, float(process.time_of(low)), low,
        trace.kind, trace.probes, exact, process.kind,
    )  # fmt: skip


def bound(
    denoiser: DenoiserLike,
    x: Tensor,
    *,
    draws: int = 1,
    sigma_min: float = 1e-5,
    divergence: str = "auto",
    probes: int = 1,
    rtol: float = 1e-5,
    atol: float = 1e-5,
    seeds: Seeds = 0,
    terminal: str = "auto",
    **cond: Any,
) -> LogProb:
    r"""Return the augmented processes' lower bound of log p(x), from the flow of the whole state.

    At the smallest time the auxiliary channels a given x_0 = x have the law q = N(m_a x, S) with
    S = Sigma_aa (as t -> 0 their initial variance). The state that belongs to (x, a) has its position
    where the kernel expects it, x_pos = c x + r a, r = Sigma_xa S^-1, c = m_x - r m_a, so that
    (x_pos - r a) / c = x_0 + sigma eps with sigma = (Sigma_xx - r Sigma_ax)^1/2 / c: exactly

        log p_sigma(x) >= E_q [ log p_eps(u(x, a)) + d ln c - log q(a) ],

    the papers' E_q log p(x, a) + H(q), with log q(a) in place of its mean: less variance. The gap
    is E KL(q || p(a | x)), which an exact denoiser closes as t -> 0. log p_eps(u) comes from

        du / d lambda = L u + g D^T,   divergence  d tr L + sum_ci g_c dD_i / du_ci

    (`flow_coefficients`), and int tr L is 1/2 ln det Sigma, in closed form.

    Args:
        draws: auxiliary states per item; the value is their mean.
        others: as in `log_prob`; `sigma_eps` of the result is the sigma above.

    Raises:
        UsageError: the process has no auxiliary channels, or an option or x is wrong.
        SgmError: see `log_prob`.
    """
    process: Process = denoiser.process  # type: ignore[attr-defined]
    if process.k == 1:
        raise UsageError(f"bound: {process.kind!r} has no auxiliary channels; use log_prob")
    low, high = _levels(process, sigma_min)
    _check(x, rtol, atol, terminal)
    if isinstance(draws, bool) or not isinstance(draws, int) or draws < 1:
        raise UsageError(f"draws: {draws!r} is not valid: write a whole number from 1")
    n, d = len(x), x[0].numel()
    stream, t_eps = NoiseStream(seed_list(seeds, n, "item")), process.time_of(low)
    x, place = x.detach().double(), _Place(process, t_eps)
    # ln det Sigma, of both ends, less the part c of tr dD/dy that the integral is relieved of.
    ratio = process.cholesky(process.time_of(high)).logdet() - process.cholesky(t_eps).logdet()
    relieved = math.log(high / math.hypot(1.0, high)) - math.log(low / math.hypot(1.0, low))
    total, nfe = torch.zeros(n, dtype=torch.float64), 0
    for draw in range(draws):
        first = draw * (probes + 1)
        trace = Trace(denoiser, d, divergence, probes, stream, first + 1, cond, n)
        noise = stream.draw(first, (process.k - 1, *x.shape[1:])).to(x)

        def slope(level: Tensor, state: Tensor, index: Tensor, trace: Trace = trace) -> Tensor:
            t, linear, gain = (v.to(state) for v in flow_coefficients(process, -level))
            u = state[:, :-1].reshape(len(state), process.k, *x.shape[1:])
            x0, along = trace(u, t.cpu(), gain, index)
            flow = mix(linear, u) + per_item(gain, u) * x0[:, None]
            shrink = 1.0 / (1.0 + (2.0 * level.to(state)).exp())
            # d lambda = -d ln sigma.
            return torch.cat([-flow.flatten(1), (along / d - shrink)[:, None]], 1)

        u, rest = place.state(x, noise)
        start = torch.cat([u.flatten(1), u.new_zeros(n, 1)], 1)
        with torch.no_grad():
            done = dopri5(
                slope, start, math.log(low), math.log(high),
                rtol=rtol, atol=atol, norm=_both,
            )  # fmt: skip
            _check_ended(done, rtol, atol)
            end = done.state[:, :-1].reshape(u.shape)
            log_end, exact = terminal_state_density(denoiser, end, process, high, terminal)
        integral = done.state[:, -1].cpu() + relieved
        value = log_end + d * (float(ratio) - integral) + rest.cpu()
        value[~done.finished] = torch.nan
        total += value / draws
        nfe = max(nfe, int(done.calls.max()))
    return LogProb(
        total, nfe, rtol, atol, float(t_eps), place.sigma,
        trace.kind, trace.probes, exact, process.kind, draws,
    )  # fmt: skip


class _Place:
    """The state at t_eps that belongs to (x, aux), and the law of aux; see `bound`."""

    def __init__(self, process: Process, t: Tensor) -> None:
        precision, mean = process.precision(t), process.mean(t)
        # By blocks of the precision: Sigma_xx - r Sigma_ax cancels at small t.
        self.pull = -precision[0, 1:] / precision[0, 0]
        self.mean, self.factor = mean[1:], torch.linalg.cholesky(process.covariance(t)[1:, 1:])
        self.scale = float(mean[0] - self.pull @ mean[1:])
        self.sigma = float(precision[0, 0].rsqrt()) / self.scale

    def state(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return u (n, k, *shape) and d ln c - log q(aux) (n,) for standard normals (n, k - 1, ...)."""
        aux = outer_state(self.mean, x) + mix(self.factor[None].to(x), noise)
        position = self.scale * x[:, None] + mix(self.pull[None, None].to(x), aux)
        log_q = normal(noise.flatten(1)) - x[0].numel() * float(self.factor.logdet())
        return torch.cat([position, aux], 1), x[0].numel() * math.log(self.scale) - log_q


def bits_per_dim(log_prob_value: Tensor, d: int, step: float = 1.0) -> Tensor:
    """Return -(log p + d ln step) / (d ln 2), bits per number of an item.

    Args:
        log_prob_value: (n,) nats, density of uniformly dequantised items, x + step U(-1/2, 1/2)^d:
            a value v fills [v - step/2, v + step/2]. The mean is an upper bound of the code length
            of the discrete values (arXiv 1511.01844).
        d: numbers per item.
        step: distance of neighbouring values, in the units that the density is over.
    """
    return -(log_prob_value + d * math.log(step)) / (d * math.log(2.0))


def _check_ended(solution: Solution, rtol: float, atol: float) -> None:
    if not bool(solution.finished.any()):
        n = len(solution.finished)
        raise SgmError(
            f"likelihood: none of {n} items ended in {MAX_CALLS} evaluations at rtol {rtol:g}, "
            f"atol {atol:g}; raise the tolerances"
        )


def _both(ratio: Tensor) -> Tensor:
    """The error of the state (RMS) or that of the log density per number, whichever is larger."""
    return torch.maximum(rms(ratio[:, :-1]), ratio[:, -1].abs())


def _levels(process: Process, sigma_min: float) -> tuple[float, float]:
    low, high = process.sigma_range()
    if not 0 < sigma_min < high:
        raise UsageError(
            f"sigma_min: {sigma_min!r} is not valid: choose between 0 and {high:g}, "
            f"the largest noise level of {process.kind}"
        )
    return max(low, sigma_min), high


def _check(x: Tensor, rtol: float, atol: float, terminal: str) -> None:
    if x.ndim < 2 or not x.numel():
        raise UsageError(f"x: shape {tuple(x.shape)} is not valid: give (n, *shape), all from 1")
    if not bool(torch.isfinite(x).all()):
        raise UsageError("x: holds NaN or infinite values; remove them")
    check_tolerances(rtol, atol)
    if terminal not in ("auto", "prior"):
        raise UsageError(f"terminal: {terminal!r} is not valid: choose auto or prior")
