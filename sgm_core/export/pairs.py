"""Pairs (x_t, t) as the network sees them, over all noise levels: to calibrate and to compare with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from sgm_core.export.graph import INPUTS, LABELS, SIGMA
from sgm_core.model import ScoreModel
from sgm_core.objective import Objective, training_times

LEVELS = 8  # groups of noise levels that errors are told apart by


@dataclass(frozen=True)
class Pairs:
    """What a network is called with: inputs (n, in_channels, *shape), sigma (n,), labels (n,) or None.

    In the order of sigma, which is log-uniform over the range of the process.
    """

    inputs: Tensor
    sigma: Tensor
    labels: Tensor | None

    def __len__(self) -> int:
        return len(self.sigma)

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """Yield the arguments of calls of at most `size` items."""
        for first in range(0, len(self), size):
            some = slice(first, first + size)
            labels = None if self.labels is None else self.labels[some]
            yield self.inputs[some], self.sigma[some], labels

    def feeds(self, size: int) -> Iterator[dict[str, np.ndarray]]:
        """Yield the same as onnxruntime takes it."""
        for inputs, sigma, labels in self.batches(size):
            feed = {INPUTS: inputs.numpy(), SIGMA: sigma.numpy()}
            yield feed if labels is None else {**feed, LABELS: labels.numpy()}

    def outputs(self, net: nn.Module, size: int = 64) -> Tensor:
        """Return what a network says of all pairs, (n, *shape)."""
        with torch.no_grad():
            return torch.cat([net(*arguments) for arguments in self.batches(size)])


def draw_pairs(
    model: ScoreModel, x0: np.ndarray, labels: np.ndarray | None, seed: int = 0
) -> Pairs:
    """Noise clean items, one level each, stratified over the logarithm of the level.

    Args:
        x0: items (n, *shape) in the data's range.
        labels: their classes (n,); every eleventh is left out, as guidance calls it.
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(x0), generator=generator)
    times = training_times(model.process, "loguniform", max(1024, len(x0)))
    items = model.space.to_model(x0[order.numpy()]).float()
    batch = Objective(model.preconditioning, times).draw(items, generator)
    classes = None
    if model.labels:
        known = np.full(len(x0), -1) if labels is None else np.asarray(labels, dtype=np.int64)
        classes = torch.from_numpy(known)[order].clone()
        classes[::11] = -1
    return Pairs(batch.inputs, batch.sigma, classes)


def errors(output: Tensor, wanted: Tensor) -> dict[str, float]:
    """Return how far outputs are from those of the fp32 network.

    Returns:
        rmse over all pairs, rmse_worst in the worst eighth of the noise levels, error_max.
    """
    difference = (output - wanted).double().flatten(1)
    levels = difference.square().mean(1).tensor_split(LEVELS)
    worst = max(float(level.mean().sqrt()) for level in levels if len(level))
    return {
        "rmse": float(difference.square().mean().sqrt()),
        "rmse_worst": worst,
        "error_max": float(difference.abs().max()),
    }
