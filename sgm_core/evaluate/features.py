"""The dataset's own feature network: a small CNN with a 64-number embedding.

Inception features know nothing of 8 x 8 digits. This network is trained on the dataset's train
split: to name the class and to redraw the picture where there are labels, to redraw the clean
picture from a noisy one (a denoising autoencoder, Vincent et al. 2008) where there are none. The
redrawing keeps the embedding sensitive to how a picture looks and not only to what it shows. One
seed, a fixed number of steps and a fixed thread count: the same data gives the same weights on the
same machine, and the weights' hash stands beside every figure made with them.

Shapes: pictures (B, C, H, W) in [0, 1], C from 1 to 4, any size (above 64 area-averaged to it).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from sgm_core.errors import SgmError
from sgm_core.evaluate.pixels import shrunk, thumb_size, unit

Array = NDArray[Any]
NAME = "sgm-cnn-1"
DIM = 64
RESIZE = "area average to a longer side of 64 above 64, else none"
WIDTH = 32
BATCH = 128
LR = 2e-3
NOISE = 0.1
REDRAW_WEIGHT = 5.0


class FeatureNetwork(nn.Module):
    """Convolutions down to 4 x 4 or so, a 64-number embedding, a class head and a decoder."""

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        c, h, w = shape
        scale = min(1.0, 64 / max(h, w))
        side = min(h, w) * scale
        self.size = thumb_size(shape)
        stride = 2 if side > 32 else 1
        layers: list[nn.Module] = [_block(c, WIDTH, stride)]
        side, width = side / stride, WIDTH
        while side > 4:
            layers.append(_block(width, 2 * WIDTH, 2))
            side, width = side / 2, 2 * WIDTH
        layers.append(_block(width, 2 * WIDTH, 1))
        self.body = nn.Sequential(*layers)
        self.embed = nn.Linear(2 * WIDTH * 4, DIM)
        self.head = nn.Linear(DIM, classes) if classes else None
        self.decoder = nn.Sequential(
            nn.Linear(DIM, 256), nn.SiLU(), nn.Linear(256, c * math.prod(self.size))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the embedding (B, 64)."""
        h = self.body(2.0 * shrunk(x) - 1.0)
        # 2 x 2 and not 1 x 1: where something is in the picture matters.
        out: Tensor = self.embed(functional.adaptive_avg_pool2d(h, 2).flatten(1))
        return out

    def loss(self, noisy: Tensor, clean: Tensor, labels: Tensor | None) -> Tensor:
        """Return the training loss of one batch."""
        z = self(noisy)
        target = functional.adaptive_avg_pool2d(clean, self.size).flatten(1)
        redraw = functional.mse_loss(self.decoder(z), target)
        if self.head is None or labels is None:
            return redraw
        named = functional.cross_entropy(self.head(functional.silu(z)), labels, label_smoothing=0.1)
        return named + REDRAW_WEIGHT * redraw


def _block(inputs: int, outputs: int, stride: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1), nn.GroupNorm(8, outputs), nn.SiLU()
    )


def train_network(
    x: Array,
    labels: Array | None,
    classes: int,
    span: tuple[float, float],
    log: Callable[[str], None],
    steps: int | None = None,
) -> FeatureNetwork:
    """Train the network on pictures (n, C, H, W) of range `span`.

    Args:
        x: the train split in the data's own range.
        labels: classes (n,) from 0 to classes - 1, or None.
        classes: how many there are (below 2: trained as a denoising autoencoder).
        span: lowest and highest value of a pixel.
        log: called with a line every few seconds of work.
        steps: optimiser steps; default 40 passes over the data, 400 to 1,500.
    """
    steps = steps or int(np.clip(40 * len(x) // BATCH, 400, 1500))
    named = labels is not None and classes >= 2
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = FeatureNetwork(x.shape[1:], classes if named else 0)
    optimiser = torch.optim.AdamW(net.parameters(), lr=LR, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda k: _rate(k, steps))
    rng = np.random.default_rng(0)
    noise = torch.Generator().manual_seed(0)
    for step in range(steps):
        rows = np.sort(rng.integers(0, len(x), size=BATCH))
        clean = _shifted(shrunk(unit(x[rows], span)), rng)
        noisy = clean
        if not named:
            noisy = clean + NOISE * torch.randn(clean.shape, generator=noise)
        target = torch.from_numpy(np.array(labels[rows])) if named and labels is not None else None
        loss = net.loss(noisy, clean, target)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        schedule.step()
        if step % 200 == 199 or step == steps - 1:
            log(f"feature network: step {step + 1} of {steps}, loss {loss.item():.4f}")
    return net.eval()


def _rate(step: int, steps: int) -> float:
    """Linear warm-up over a tenth of the steps, then half a cosine down to 0."""
    return min(1.0, 10 * (step + 1) / steps) * 0.5 * (1 + math.cos(math.pi * step / steps))


def _shifted(x: Tensor, rng: np.random.Generator) -> Tensor:
    """Shift the batch by up to a sixteenth of the picture (edges repeated), at least one pixel."""
    h, w = x.shape[2:]
    a, b = max(1, h // 16), max(1, w // 16)
    padded = functional.pad(x, (b, b, a, a), mode="replicate")
    i, j = int(rng.integers(0, 2 * a + 1)), int(rng.integers(0, 2 * b + 1))
    return padded[:, :, i : i + h, j : j + w]


def embedding(net: FeatureNetwork) -> Callable[[Array, tuple[float, float]], Array]:
    """Return the network as an extractor: pictures, span -> features."""
    return lambda x, span: embed(net, x, span)


@torch.no_grad()
def embed(net: FeatureNetwork, x: Array, span: tuple[float, float], batch: int = 125) -> Array:
    """Return the features (n, 64) float32 of pictures (n, C, H, W), in batches.

    Every batch has the same size (the last is filled up), because the last digit of a convolution
    may depend on it: a picture has the same features in whatever company it comes.
    """
    out = np.empty((len(x), DIM), dtype=np.float32)
    for i in range(0, len(x), batch):
        part = unit(x[i : i + batch], span)
        count = len(part)
        if count < batch:
            part = torch.cat([part, part.new_zeros((batch - count, *part.shape[1:]))])
        out[i : i + count] = net(part)[:count].numpy()
    return out


@torch.no_grad()
def accuracy(net: FeatureNetwork, features: Array, labels: Array) -> float | None:
    """Return the share of pictures that the class head names right; None without a head."""
    if net.head is None:
        return None
    logits = net.head(functional.silu(torch.from_numpy(features)))
    return float((logits.argmax(1).numpy() == labels).mean())


def save_network(net: FeatureNetwork, file: Path) -> None:
    """Write the weights as safetensors."""
    from safetensors.torch import save_file

    save_file({k: v.contiguous() for k, v in net.state_dict().items()}, str(file))


def load_network(file: Path, shape: tuple[int, ...], classes: int) -> FeatureNetwork:
    """Read weights that `save_network` wrote.

    Raises:
        SgmError: the weights are of another shape of picture or number of classes.
    """
    from safetensors.torch import load_file

    net = FeatureNetwork(shape, classes)
    try:
        net.load_state_dict(load_file(str(file)))
    except RuntimeError:
        raise SgmError(
            f"{file} is a feature network for other pictures than {tuple(shape)} in {classes} "
            f"classes; build the reference again"
        ) from None
    return net.eval()
