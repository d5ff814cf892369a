"""Draws one picture per process: forward paths from data to noise, reverse paths back to the data.

Data: a mixture of three Gaussians on a line, of unit variance, so that every marginal is known. The
axis is the noise level sigma_eff, which all processes share; behind the paths is the exact density of
the channel, each column scaled to its own maximum.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from sgm_core.oracle import MixtureDenoiser
from sgm_core.process import make_process
from sgm_core.process.base import Process
from sgm_core.report.canvas import COOL, DARK, MADE, REAL, WARM, figure, frame, heading, text
from sgm_core.report.words import plain
from sgm_core.sample import make_sampler
from sgm_core.sample.base import symmetric_root

WEIGHTS = torch.tensor([0.3, 0.45, 0.25], dtype=torch.float64)
MEANS = torch.tensor([-1.32, 0.1, 1.41], dtype=torch.float64)
STDS = torch.tensor([0.10, 0.18, 0.08], dtype=torch.float64)
LOW, HIGH = 0.02, 40.0  # sigma_eff at the ends of the axis
TICKS = (0.02, 0.1, 0.5, 2, 10, 40)
STEPS, DRAWN, SAMPLES = 300, 16, 20_000

# Reverse paths: a sampler that suits the process, and its options.
REVERSE = {
    "vp": "ancestral",
    "subvp": "multistep_sde",
    "ve": "predictor_corrector",
    "edm": "heun",
    "flow": "ddim",
    "cld": "sscs",
    "psld": "multistep_sde",
    "hold3": "multistep",
}
CHANNELS = ("position", "velocity", "acceleration")
# Their variance grows without bound: positions are shown in units of their standard deviation.
SCALED = ("ve", "edm")


@dataclass(frozen=True)
class Paths:
    """States (times, paths, k) at noise levels, and the law that they have there."""

    levels: np.ndarray
    states: np.ndarray


def oracle_of(process: Process) -> MixtureDenoiser:
    """Return the exact denoiser of the three Gaussians."""
    return MixtureDenoiser(WEIGHTS, MEANS[:, None], STDS, process)


def data(n: int, generator: torch.Generator) -> Tensor:
    """Return n exact draws of the data, (n,)."""
    which = torch.multinomial(WEIGHTS, n, replacement=True, generator=generator)
    noise = torch.randn(n, generator=generator, dtype=torch.float64)
    return MEANS[which] + STDS[which] * noise


def forward(process: Process) -> Paths:
    """Walk the SDE's exact transitions u_t = Psi u_s + N^1/2 z up the levels."""
    generator = torch.Generator().manual_seed(5)
    levels = torch.logspace(math.log10(LOW), math.log10(HIGH), 420, dtype=torch.float64)
    times = process.time_of(levels)
    psi = process.transition(times[:-1], times[1:])
    covariance = process.covariance(times)
    kicks = symmetric_root(covariance[1:] - psi @ covariance[:-1] @ psi.mT)
    noise = torch.randn(len(levels), DRAWN, process.k, generator=generator, dtype=torch.float64)
    start = data(DRAWN, generator)[:, None] * process.mean(times[0])
    states = [start + noise[0] @ process.cholesky(times[0]).mT]
    for i in range(len(levels) - 1):
        states.append(states[-1] @ psi[i].mT + noise[i + 1] @ kicks[i].mT)
    return Paths(levels.numpy(), torch.stack(states).numpy())


def reverse(process: Process, sampler: str) -> tuple[Paths, np.ndarray]:
    """Walk a sampler with the exact denoiser down the levels; return some paths, all samples."""
    run = make_sampler(sampler, steps=STEPS, sigma_min=LOW, sigma_max=HIGH)
    seen: list[tuple[float, Tensor]] = []

    def watch(i: int, t: float, u: Tensor, x0: Tensor) -> None:
        seen.append((float(process.sigma_eff(t)), u[:DRAWN, :, 0]))

    samples = run(oracle_of(process), (SAMPLES, 1), seeds=100, callback=watch)
    levels, states = zip(*seen[:-1], strict=True)
    return Paths(np.array(levels), torch.stack(states).numpy()), samples[:, 0].numpy()


def unit(process: Process, levels: np.ndarray) -> np.ndarray:
    """Return what positions are divided by at each level."""
    if process.kind not in SCALED:
        return np.ones(len(levels))
    return np.sqrt(1 + levels**2)


def density(process: Process, channel: int, levels: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the exact density of a channel, (y, levels), each level's maximum being 1."""
    times = process.time_of(torch.from_numpy(levels))
    mean = process.mean(times)[:, channel, None]
    variance = process.covariance(times)[:, channel, channel, None] + (mean * STDS) ** 2
    at = torch.from_numpy(y[:, None, None] * unit(process, levels)[:, None])
    terms = WEIGHTS * torch.exp(-0.5 * (at - mean * MEANS) ** 2 / variance) / variance.sqrt()
    values = terms.sum(-1).numpy()
    return values / values.max(axis=0, keepdims=True)


def reach(process: Process, channel: int) -> float:
    """Return half of a row's height: 3.3 standard deviations of the widest marginal."""
    if process.kind in SCALED:
        return 3.3
    levels = torch.logspace(math.log10(LOW), math.log10(HIGH), 60, dtype=torch.float64)
    times = process.time_of(levels)
    variance = process.covariance(times)[:, channel, channel]
    variance = variance + process.mean(times)[:, channel] ** 2
    return 3.3 * float(variance.sqrt().max())


def picture(name: str) -> Figure:
    """Draw one process."""
    process = make_process(name).marginal
    sampler = REVERSE[name]
    there, (back, samples) = forward(process), reverse(process, sampler)
    heights = [2.35] + [1.15] * (process.k - 1)
    tall = sum(heights) + 0.08 * (process.k - 1) + 1.62
    made = figure(11.0, tall, DARK)
    heading(made, DARK, TITLES[name], SUBTITLES[name], 0.055)
    top = tall - 1.0
    columns = ((0.055, 0.052), (0.111, 0.387), (0.502, 0.387), (0.893, 0.052))
    for channel, height in enumerate(heights):
        bottom = top - height
        rows = [(x, bottom / tall, width, height / tall) for x, width in columns]
        axes = [made.add_axes(box) for box in rows[1:3]]
        half = reach(process, channel)
        y = np.linspace(-half, half, 300)
        for place, paths, shades, colour, flip in (
            (axes[0], there, COOL, "#d9f2ff", False),
            (axes[1], back, WARM, "#ffe6c4", True),
        ):
            band(place, process, channel, y, shades, flip)
            lines(place, process, channel, paths, colour)
            place.set_ylim(-half, half)
        place = (0.03, (bottom + height / 2) / tall)
        words = CHANNELS[channel] + (" / sd" if name in SCALED else "")
        text(made, *place, words, DARK, size=10.5, colour=DARK.muted, rotation=90, ha="center",
             va="center")  # fmt: skip
        if channel == 0:
            ends = [made.add_axes(rows[0]), made.add_axes(rows[3])]
            margins(ends, samples, y)
            above = (bottom + height + 0.09) / tall
            text(made, 0.081, above, "data", DARK, size=9.5, colour=REAL, ha="center")
            text(made, 0.902, above, "samples", DARK, size=9.5, colour=MADE)
            text(made, 0.111, above, "forward: the SDE, exactly", DARK, size=10.5, colour=REAL)
            words = f"reverse: {sampler}, {STEPS} steps"
            text(made, 0.889, above, words, DARK, size=10.5, colour=MADE, ha="right")
        top = bottom - 0.08
    for (x, width), flip in ((columns[1], False), (columns[2], True)):
        scale(made, x, width, (top - 0.13) / tall, flip)
    text(made, 0.5, 0.2 / tall, "noise level \N{GREEK SMALL LETTER SIGMA}_eff", DARK, size=10.5,
         colour=DARK.muted, ha="center")  # fmt: skip
    return made


def place_of(level: float | np.ndarray) -> float | np.ndarray:
    """Return the place of a level on the axis, 0 to 1."""
    return np.log(level / LOW) / math.log(HIGH / LOW)


def band(
    axes: Axes, process: Process, channel: int, y: np.ndarray, shades: object, flip: bool
) -> None:
    """Paint the exact marginal of a channel over the levels."""
    frame(axes, DARK)
    levels = LOW * (HIGH / LOW) ** np.linspace(0, 1, 400)
    image = density(process, channel, levels, y) ** 0.8 * 0.62
    left, right = (1, 0) if flip else (0, 1)
    if flip:
        image = image[:, ::-1]
    axes.imshow(
        image, extent=(min(left, right), max(left, right), y[0], y[-1]), aspect="auto",
        origin="lower", cmap=shades, vmin=0, vmax=1, interpolation="bilinear",
    )  # fmt: skip
    axes.set_xlim(0, 1)


def lines(axes: Axes, process: Process, channel: int, paths: Paths, colour: str) -> None:
    """Draw the paths; the reverse ones run from right to left on the axis, which is mirrored."""
    where = place_of(paths.levels)
    if paths.levels[0] > paths.levels[-1]:
        where = 1 - where
    values = paths.states[:, :, channel] / unit(process, paths.levels)[:, None]
    width, alpha = (0.85, 0.6) if channel == 0 else (0.5, 0.5)
    axes.plot(where, values, color=colour, linewidth=width, alpha=alpha, solid_joinstyle="round")


def margins(ends: list[Axes], samples: np.ndarray, y: np.ndarray) -> None:
    """The data's density on the left, the histogram of the samples and the density on the right."""
    variance = STDS.numpy() ** 2
    offset = y[:, None] - MEANS.numpy()
    exact = (WEIGHTS.numpy() * np.exp(-0.5 * offset**2 / variance) / np.sqrt(variance)).sum(1)
    exact = exact / math.sqrt(2 * math.pi)
    counts, edges = np.histogram(samples, bins=150, range=(y[0], y[-1]), density=True)
    for axes, side in zip(ends, ("left", "right"), strict=True):
        frame(axes, DARK)
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.set_facecolor(DARK.paper)
        axes.set_ylim(y[0], y[-1])
        most = 1.12 * max(exact.max(), counts.max())
        axes.set_xlim((most, 0) if side == "left" else (0, most))
        if side == "left":
            axes.fill_betweenx(y, exact, color=REAL, alpha=0.35, linewidth=0)
            axes.plot(exact, y, color=REAL, linewidth=1.2)
        else:
            axes.stairs(counts, edges, orientation="horizontal", fill=True, color=MADE, alpha=0.55)
            axes.plot(exact, y, color=REAL, linewidth=1.2)


def scale(made: Figure, x: float, width: float, y: float, flip: bool) -> None:
    """Write the ticks below a column of panels."""
    for level in TICKS:
        share = float(place_of(level))
        if level == TICKS[-1] and flip:
            continue  # written once, under the forward panel
        at = x + width * (1 - share if flip else share)
        text(made, at, y, plain(level), DARK, size=9.5, colour=DARK.muted, ha="center", va="center")


TITLES = {
    "vp": "VP: data shrinks while noise grows, the variance stays 1",
    "subvp": "sub-VP: the drift of VP with less noise on the way",
    "ve": "VE: noise is added, geometric in time",
    "edm": "EDM: noise is added, time is the noise level",
    "flow": "Rectified flow: from data to noise on a straight line",
    "cld": "CLD: noise enters the velocity, the position follows smoothly",
    "psld": "PSLD: noise on the velocity and a little on the position",
    "hold3": "HOLD3: noise enters two derivatives away from the data",
}
SUBTITLES = {
    "vp": "One channel. The reverse paths are DDPM's ancestral steps.",
    "subvp": "One channel. At the same noise level mean and noise are those of VP, both smaller.",
    "ve": "One channel, in units of its standard deviation. A Langevin correction after every step back.",
    "edm": "One channel, in units of its standard deviation. The reverse paths are the ODE's (Heun).",
    "flow": "One channel. The reverse paths are the ODE's: DDIM is Euler's method in the flow's own time.",
    "cld": "Two channels. The splitting sampler noises the velocity alone, backwards as well.",
    "psld": "Two channels. The position is rough where CLD's is smooth.",
    "hold3": "Three channels. The reverse paths are the ODE's and smooth; the forward ones are the SDE's.",
}
