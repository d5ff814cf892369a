"""A first experiment for new data: three processes, one network that suits the shape, few steps.

One training step costs about `rate * pixels * batch` seconds on a core (measured, one thread), so
the number of steps and of samples follows from a budget: a small dataset has a champion within
minutes, and `steps` is the number to raise for quality.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BUDGET = 60.0  # seconds of one core for training a cell, and a third of it for its samples
RATES = {32: 9e-6, 16: 3.5e-6, 8: 2.2e-6}  # seconds per pixel and item, by channels of the U-Net
CHANNELS = (
    (256, 32, 128),
    (1024, 16, 32),
    (4096, 16, 16),
    (2**62, 8, 8),
)  # pixels, channels, batch
HEADER = "# A quick first try (about a minute of one core per cell); raise steps for quality."


def experiment_snippet(name: str, meta: Mapping[str, Any]) -> str:
    """Return an entry for `experiments:` in params.yaml, indented by two spaces.

    Args:
        name: the dataset, which also names the experiment.
        meta: `dataset.json` (kind, shape and counts are used).
    """
    lines = _points(meta) if meta["kind"] == "points" else _images(meta)
    body = "\n".join(f"    {line}" for line in lines)
    return f"  {HEADER}\n  {name}:\n    dataset: {name}\n    seeds: [0]\n{body}\n"


def _points(meta: Mapping[str, Any]) -> list[str]:
    dimension = int(meta["shape"][0])
    batch = _power_of_two(min(512, meta["counts"]["train"]))
    times = "p_mean: -1.8, p_std: 1.6"
    times += ", tails: 0.02" if dimension <= 4 else ""
    width = 128 if dimension <= 16 else 256
    return [
        "processes: {vp: {}, ve: {sigma_min: 0.005}, cld: {}}",
        "nets:",
        f"  mlp: {{kind: mlp, width: {width}, depth: 3}}",
        f"training: {{steps: 3000, batch: {batch}, lr: 3.0e-3, ema: 0.995, {times}}}",
        "sampling: {steps: 50, sigma_min: 0.005}",
        "evaluation: {samples: 5000, curve_samples: 2000}",
    ]


def _images(meta: Mapping[str, Any]) -> list[str]:
    _, height, width = meta["shape"]
    pixels = height * width
    channels, batch = next((c, b) for limit, c, b in CHANNELS if pixels <= limit)
    batch = _power_of_two(min(batch, meta["counts"]["train"]))
    levels = 1
    while levels < 5 and min(height, width) / 2**levels >= 4:
        levels += 1
    multipliers = [min(2**level, 4 if channels > 8 else 8) for level in range(levels)]
    if channels == 32:
        multipliers = [min(m, 2) for m in multipliers]
    coarsest = pixels / 4 ** (levels - 1)
    attention = f", attention: [{levels - 1}]" if levels > 1 and coarsest <= 256 else ""
    step = RATES[channels] * pixels * batch
    steps = _clip(BUDGET / step, 200, 2000, 100)
    samples = _clip(BUDGET / 3 / (25 * RATES[channels] * pixels / 3), 100, 1000, 50)
    at_once = _power_of_two(_clip(1e6 / pixels, 8, 256, 1))
    net = f"kind: unet, channels: {channels}, multipliers: {multipliers}, blocks: 1{attention}"
    every = f"checkpoint_every: {max(50, steps // 4)}"
    curve = f"curve_samples: {max(50, samples // 4)}"
    if pixels > 1024:
        curve += ", nfe_curve: [5, 10, 25]"
    return [
        "processes: {vp: {}, ve: {}, cld: {}}",
        "nets:",
        f"  unet: {{{net}}}",
        f"training: {{steps: {steps}, batch: {batch}, lr: 2.0e-3, ema: 0.99, {every}}}",
        "sampling: {steps: 25, sigma_min: 0.01}",
        f"evaluation: {{samples: {samples}, {curve}, batch: {at_once}}}",
    ]


def _power_of_two(value: int) -> int:
    """Return the largest power of two that is not above `value` (at least 1)."""
    return 1 << (max(1, value).bit_length() - 1)


def _clip(value: float, low: int, high: int, multiple: int) -> int:
    return max(low, min(high, int(value / multiple) * multiple))
