"""The training loop: AdamW on the denoising objective, an EMA of the weights.

`advance` is one step and `train` a generator of steps; logging, checkpoints, progress and pictures
hang on what it yields. All randomness comes from one `torch.Generator` and from the item order,
a function of (seed, epoch), so that a resumed run equals an uninterrupted one bit for bit on CPU.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sgm_core.nets.by_hand import knows_its_derivative
from sgm_core.objective import Batch, Objective
from sgm_core.train.flat import FlatWeights
from sgm_core.train.ranks import Ranks

EPSILON = 1e-8  # of AdamW


@dataclass(frozen=True)
class StepReport:
    """One finished step; `loss` and `grad_norm` are 0-d tensors, read only when shown."""

    step: int
    loss: Tensor
    grad_norm: Tensor
    lr: float


@dataclass(frozen=True)
class LoopSettings:
    """The fields of TrainingConfig that the loop reads."""

    steps: int
    batch: int
    lr: float
    betas: tuple[float, float]
    weight_decay: float
    warmup: int
    schedule: str
    grad_clip: float
    ema: float
    label_dropout: float
    precision: str

    @classmethod
    def of(cls, training: dict[str, Any]) -> LoopSettings:
        """Pick this loop's fields from a resolved `training` mapping."""
        chosen = {name: training[name] for name in cls.__dataclass_fields__}
        return cls(**{**chosen, "betas": tuple(chosen["betas"])})


class TrainState:
    """Everything a step changes: weights, moments, average, generator, step count."""

    def __init__(
        self,
        net: nn.Module,
        objective: Objective,
        settings: LoopSettings,
        seed: int,
        ranks: Ranks | None = None,
    ) -> None:
        self.net, self.objective, self.settings, self.seed = net, objective, settings, seed
        self.ranks = ranks
        self.forward = net if ranks is None else ranks.wrap(net)
        self.device = next(net.parameters()).device
        self.ema_net = copy.deepcopy(net).requires_grad_(False).eval()
        self.weights, self.average = FlatWeights(net), FlatWeights(self.ema_net).vector
        self.vector = nn.Parameter(self.weights.vector)  # what the optimiser moves
        self.optimiser = torch.optim.AdamW(
            [self.vector],
            lr=settings.lr,
            betas=settings.betas,
            weight_decay=settings.weight_decay,
            eps=EPSILON,
            fused=True,
        )
        self.generator = torch.Generator(self.device).manual_seed(seed)
        self.bf16 = settings.precision == "bf16" and has_bf16(self.device)
        # A small network's own derivative, where nothing else has to see the graph.
        by_hand = ranks is None and not self.bf16 and knows_its_derivative(net)
        self._written = self.weights.written_gradient() if by_hand else None
        self.step = 0

    def differentiate(
        self, batch: Batch, labels: Tensor | None, items: int
    ) -> tuple[Tensor, Tensor]:
        """Return this process's loss and its gradient (n,), which the next step may overwrite.

        items: how many the batch of all ranks has.
        """
        if self._written is not None:
            net: Any = self.net
            with torch.no_grad():
                output, pull = net.forward_and_pull(batch.inputs, batch.sigma, labels)
                loss, slope = batch.loss_and_slope(output)
                pull(slope)
            return loss, self._written
        with self.precision():
            output = self.forward(batch.inputs, batch.sigma, labels)
        loss = batch.loss(output.float())
        if self.ranks is not None:
            loss = self.ranks.weighted(loss, items)
        return loss, self.weights.gradient(loss)

    def update(self, gradient: Tensor, rate: float) -> None:
        """Take one step of AdamW; the moments lie in `optimiser`, whose own step prepares them.

        Its other steps go to the kernel: what the library does around it costs more than the kernel
        where weights are few (the processor's cache holds the activations, not that code).
        """
        moments = self.optimiser.state.get(self.vector)
        if not moments:
            self.optimiser.param_groups[0]["lr"] = rate
            self.vector.grad = gradient
            self.optimiser.step()
            return
        moments["step"] += 1
        first, second = self.settings.betas
        with torch.no_grad():
            torch._fused_adamw_(
                [self.vector],
                [gradient],
                [moments["exp_avg"]],
                [moments["exp_avg_sq"]],
                [],
                [moments["step"]],
                lr=rate,
                beta1=first,
                beta2=second,
                weight_decay=self.settings.weight_decay,
                eps=EPSILON,
                amsgrad=False,
                maximize=False,
            )

    def precision(self) -> AbstractContextManager[object]:
        """The context of a forward pass."""
        return torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else nullcontext()

    def learning_rate(self) -> float:
        """Linear warm-up, then a cosine to zero, or constant."""
        s = self.settings
        rate = s.lr * min(1.0, (self.step + 1) / (s.warmup + 1))
        if s.schedule == "cosine":
            rate *= 0.5 * (1 + math.cos(math.pi * min(1.0, self.step / max(1, s.steps))))
        return rate


def has_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 faster than float32 (on a CPU: AVX512_BF16, AMX)."""
    return device.type == "cuda" or bool(torch.cpu._is_avx512_bf16_supported())


def advance(state: TrainState, x0: Tensor, labels: Tensor | None = None) -> StepReport:
    """Do one optimiser step on clean items x0 (B, *shape) in model space."""
    s = state.settings
    batch = state.objective.draw(x0, state.generator)
    if labels is not None and s.label_dropout > 0:
        dropped = torch.rand(len(labels), generator=state.generator, device=x0.device)
        labels = torch.where(dropped < s.label_dropout, -1, labels)
    if state.ranks is not None:
        state.ranks.seed(state.seed, state.step)
        batch, labels = state.ranks.share(batch, labels)
    if not state.net.training:
        state.net.train()
    loss, gradient = state.differentiate(batch, labels, len(x0))
    norm = torch.linalg.vector_norm(gradient)
    gradient *= (s.grad_clip / (norm + 1e-6)).clamp(max=1.0)
    rate = state.learning_rate()
    state.update(gradient, rate)
    state.step += 1
    # Early averages would be dominated by the initial weights; the decay grows to its value.
    decay = min(s.ema, state.step / (10 + state.step))
    state.average.lerp_(state.weights.vector, 1 - decay)
    if state.ranks is not None:
        loss = state.ranks.mean(loss)
    return StepReport(state.step, loss.detach(), norm, rate)


class ItemOrder:
    """Which items a step sees: consecutive slices of one random permutation per epoch.

    A function of (seed, step) alone, so that a resumed run needs no saved position.
    """

    def __init__(self, n: int, seed: int, batch: int) -> None:
        self.n, self.seed, self.batch = n, seed, batch
        self._latest: tuple[int, Tensor] | None = None

    def __call__(self, step: int) -> Tensor:
        """Return the indices of one step's items, (batch,) int64."""
        first, last = step * self.batch, (step + 1) * self.batch
        parts = []
        for epoch in range(first // self.n, (last - 1) // self.n + 1):
            start = epoch * self.n
            parts.append(self._permutation(epoch)[max(0, first - start) : last - start])
        return torch.cat(parts)

    def _permutation(self, epoch: int) -> Tensor:
        if self._latest is None or self._latest[0] != epoch:
            generator = torch.Generator().manual_seed((self.seed * 1_000_003 + epoch) % 2**63)
            self._latest = (epoch, torch.randperm(self.n, generator=generator))
        return self._latest[1]


def train(
    state: TrainState,
    items: Tensor,
    labels: Tensor | None,
    affine: Callable[[Tensor], Tensor],
) -> Iterator[StepReport]:
    """Yield a report per step until `settings.steps`.

    Args:
        state: advanced in place; may start in the middle (resume).
        items: all training items in storage dtype, (N, *shape).
        labels: (N,) int64 or None.
        affine: callable from a batch of items to model space (B, *shape) float32.
    """
    order = ItemOrder(len(items), state.seed, state.settings.batch)
    while state.step < state.settings.steps:
        index = order(state.step).to(items.device)
        x0 = affine(items[index]).to(state.device)
        chosen = None if labels is None else labels[index].to(state.device)
        yield advance(state, x0, chosen)
