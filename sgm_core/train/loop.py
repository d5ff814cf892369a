"""The training loop: AdamW on the denoising objective, an EMA of the weights.

`advance` is one step and `train` a generator of steps; logging, checkpoints, progress and pictures
hang on what it yields. All randomness comes from one `torch.Generator` and from the item order,
a function of (seed, epoch), so that a resumed run equals an uninterrupted one bit for bit on CPU.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sgm_core.nets.by_hand import knows_its_derivative
from sgm_core.objective import Batch, Objective
from sgm_core.train.captured import CapturedStep, capture
from sgm_core.train.feed import Feed
from sgm_core.train.flat import FlatWeights
from sgm_core.train.ranks import Ranks

EPSILON = 1e-8  # of AdamW
EAGER_STEPS = 3  # before a step is recorded: libraries choose and allocate what they need
WORTH_CAPTURING = 50  # steps; recording takes as long as some of them


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
    compile: bool = False

    @classmethod
    def of(cls, training: dict[str, Any]) -> LoopSettings:
        """Pick this loop's fields from a resolved `training` mapping."""
        known = cls.__dataclass_fields__
        chosen = {name: value for name, value in training.items() if name in known}
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
        self.forward: Callable[..., Tensor] = net if ranks is None else ranks.wrap(net)
        if settings.compile:
            self.forward = torch.compile(self.forward)
        self.device = next(net.parameters()).device
        self.ema_net = copy.deepcopy(net).requires_grad_(False).eval()
        self.weights, self.averages = FlatWeights(net), FlatWeights(self.ema_net)
        # AdamW's: means of the gradient and its square, and the number of steps.
        self.first = torch.zeros_like(self.weights.vector)
        self.second = torch.zeros_like(self.weights.vector)
        self.count = torch.zeros((), device=self.device)
        self.generator = torch.Generator(self.device).manual_seed(seed)
        self.bf16 = settings.precision == "bf16" and has_bf16(self.device)
        # A small network's own derivative, where nothing else has to see the graph.
        by_hand = ranks is None and not self.bf16 and knows_its_derivative(net)
        self._written = self.weights.written_gradient() if by_hand else None
        self.step = 0

    def move(
        self, x0: Tensor, labels: Tensor | None, rate: float | Tensor, gain: float | Tensor
    ) -> tuple[Tensor, Tensor]:
        """Take one step, but for its number; return the loss and the gradient's norm, 0-d tensors.

        Nothing here waits for a device, so that a GPU can repeat it as it was recorded.

        Args:
            x0, labels: see `advance`.
            rate: the learning rate.
            gain: the weight of the new weights in the average.
        """
        s = self.settings
        if self.ranks is not None:
            self.ranks.seed(self.seed, self.step)
        batch = self.objective.draw(x0, self.generator)
        if labels is not None and s.label_dropout > 0:
            labels = without_some(labels, s.label_dropout, self.generator)
        if self.ranks is not None:
            batch, labels = self.ranks.share(batch, labels)
        if not self.net.training:
            self.net.train()
        loss, gradient = self.differentiate(batch, labels, len(x0))
        norm = torch.linalg.vector_norm(gradient)
        gradient *= (s.grad_clip / (norm + 1e-6)).clamp(max=1.0)
        weights = self.weights.vector
        fused_adamw(weights, gradient, self.first, self.second, self.count, rate, s)
        self.averages.vector.lerp_(weights, gain)
        if self.ranks is not None:
            loss = self.ranks.mean(loss)
        return loss.detach(), norm

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

    def precision(self) -> AbstractContextManager[object]:
        """The context of a forward pass."""
        return torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else nullcontext()

    def gain(self) -> float:
        """One less the average's decay, which grows to its value: early averages would be dominated by
        the initial weights."""
        step = self.step + 1
        return 1 - min(self.settings.ema, step / (10 + step))

    def learning_rate(self) -> float:
        """Linear warm-up, then a cosine to zero, or constant."""
        s = self.settings
        rate = s.lr * min(1.0, (self.step + 1) / (s.warmup + 1))
        if s.schedule == "cosine":
            rate *= 0.5 * (1 + math.cos(math.pi * min(1.0, self.step / max(1, s.steps))))
        return rate


def fused_adamw(
    weights: Tensor,
    gradient: Tensor,
    first: Tensor,
    second: Tensor,
    count: Tensor,
    rate: float | Tensor,
    settings: LoopSettings,
) -> None:
    """AdamW (arXiv 1711.05101) on one tensor and its moments, in place; `count` of steps goes up by one.

    The library's kernel without its optimiser: what that does around the kernel costs more than the kernel
    where weights are few (the processor's cache holds the activations, not that code), and its first
    call imports a compiler, which takes a second.
    """
    count += 1
    with torch.no_grad():
        torch._fused_adamw_(
            [weights],
            [gradient],
            [first],
            [second],
            [],
            [count],
            lr=rate,  # type: ignore[arg-type]  # a tensor and a number are both taken, one is told
            beta1=settings.betas[0],
            beta2=settings.betas[1],
            weight_decay=settings.weight_decay,
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
        )


def can_capture(state: TrainState, last: int) -> bool:
    """Whether a GPU's steps from here to the last one are worth a CUDA graph."""
    alone = state.ranks is None and state.device.type == "cuda"
    return alone and last - state.step > WORTH_CAPTURING


def without_some(labels: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Replace a share of the labels (B,) by "none", -1."""
    dropped = torch.rand(len(labels), generator=generator, device=labels.device)
    return torch.where(dropped < share, -1, labels)


def has_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 faster than float32 (on a CPU: AVX512_BF16, AMX)."""
    return device.type == "cuda" or bool(torch.cpu._is_avx512_bf16_supported())


def advance(state: TrainState, x0: Tensor, labels: Tensor | None = None) -> StepReport:
    """Do one optimiser step on clean items x0 (B, *shape) in model space."""
    rate = state.learning_rate()
    loss, norm = state.move(x0, labels, rate, state.gain())
    state.step += 1
    return StepReport(state.step, loss, norm, rate)


def train(
    state: TrainState,
    items: Tensor,
    labels: Tensor | None,
    affine: Callable[[Tensor], Tensor],
) -> Iterator[StepReport]:
    """Yield a report per step until `settings.steps`.

    On a GPU all but the first steps are one recorded graph of kernels (see CapturedStep).

    Args:
        state: advanced in place; may start in the middle (resume).
        items: all training items in storage dtype, (N, *shape), on the state's device or the CPU.
        labels: (N,) int64 or None, beside the items.
        affine: callable from a batch of items to model space (B, *shape) float32.
    """
    for loss, norm, rate in moves([state], state.move, items, labels, affine):
        state.step += 1
        yield StepReport(state.step, loss, norm, rate)


def moves(
    states: Sequence[TrainState],
    move: Callable[..., tuple[Tensor, Tensor]],
    items: Tensor,
    labels: Tensor | None,
    affine: Callable[[Tensor], Tensor],
) -> Iterator[tuple[Tensor, Tensor, float]]:
    """Yield what `move` returns, and the learning rate, for every step of states that go together.

    Args:
        states: of the same settings and step; whoever iterates counts their steps.
        move: as TrainState.move, on the batches of all states, one behind the other.
        items, labels, affine: see `train`.
    """
    lead = states[0]
    last = lead.settings.steps
    feed = Feed(items, labels, [s.seed for s in states], lead.settings.batch, lead.device)
    captured: CapturedStep | None = None
    capture_at = lead.step + EAGER_STEPS if can_capture(lead, last) else last
    while lead.step < last:
        raw, chosen = feed(lead.step)
        rate, gain = lead.learning_rate(), lead.gain()
        if lead.step == capture_at:
            captured = capture(move, affine, raw, chosen, [s.generator for s in states])
        if captured is None:
            yield *move(affine(raw), chosen, rate, gain), rate
        else:
            yield *captured(raw, chosen, rate, gain), rate
