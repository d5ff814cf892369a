"""Several small cells trained as one: their weights are the rows of one matrix.

On a GPU the kernels of a small network are over before the next can be started, and most of the device
idles. Cells that differ only in their process and seed have the same network, batch and rates: one set of
kernels, batched over the cells, trains all of them. Each draws its items, times and noise from its own
generator and has its own gradient norm, so that its loss curve is that of the cell alone, up to the order
of summation in a product of matrices (test_stack).

The members stay what they are: each TrainState's weights, average and moments become views of a row, and
checkpoints, weights and resumption know nothing of the stack.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from sgm_core.objective import Chance, Objective
from sgm_core.train.flat import FlatWeights
from sgm_core.train.loop import StepReport, TrainState, fused_adamw, moves, without_some


class Stack:
    """States that take their steps together.

    Args:
        states: of one network, settings and step, on one device; fresh or restored from a checkpoint.

    Raises:
        ValueError: they cannot be stacked (a caller's mistake).
    """

    def __init__(self, states: Sequence[TrainState]) -> None:
        first = states[0]
        if any(s.settings != first.settings or s.step != first.step for s in states):
            raise ValueError("stacked states need the same settings and the same step")
        if any(s.ranks is not None or _drops(s.net) for s in states):
            raise ValueError("neither ranks nor dropout can be stacked")
        if any(p.ndim > 2 for p in first.net.parameters()):
            raise ValueError("only networks of vectors and matrices can be stacked")
        self.states, self.settings = list(states), first.settings
        self.objective = Objective.joined([s.objective for s in states])
        for state in states:
            state.net.train()
        self.weights = self._rows([s.weights for s in states])
        self.average = self._rows([s.averages for s in states])
        self.first, self.second, self.count = self._moments()
        shapes = [(len(states), *p.shape) for p in first.net.parameters()]
        self._names = [name for name, _ in first.net.named_parameters()]
        self._leaves = [
            part[:, : p.numel()].view(shape).detach().requires_grad_()
            for part, p, shape in zip(
                self.weights.split(first.weights.padded, 1),
                first.net.parameters(),
                shapes,
                strict=True,
            )
        ]

    def move(
        self, x0: Tensor, labels: Tensor | None, rate: float | Tensor, gain: float | Tensor
    ) -> tuple[Tensor, Tensor]:
        """As TrainState.move, for all; x0 (members x B, *shape) -> losses and norms (members,)."""
        s, n = self.settings, len(self.states)
        chances, told = [], []
        for i, state in enumerate(self.states):
            chances.append(
                state.objective.chance(x0[i * s.batch : (i + 1) * s.batch], state.generator)
            )
            if labels is not None:
                own = labels[i * s.batch : (i + 1) * s.batch]
                if s.label_dropout > 0:
                    own = without_some(own, s.label_dropout, state.generator)
                told.append(own)
        batch = self.objective.perturb(x0, Chance.joined(chances))
        classes = (torch.cat(told).unflatten(0, (n, -1)),) if told else ()
        given = [part.unflatten(0, (n, -1)) for part in (batch.inputs, batch.sigma)]
        with self.states[0].precision():
            output = vmap(self._output)(
                dict(zip(self._names, self._leaves, strict=True)), *given, *classes
            )
        square = (output.flatten(0, 1).float() - batch.target).square()
        if batch.weight is not None:
            square *= batch.weight.view(-1, *[1] * (square.ndim - 1))
        losses = square.view(n, -1).mean(1)
        gradient = self._joined(torch.autograd.grad(losses.sum(), self._leaves))
        norms = torch.linalg.vector_norm(gradient, dim=1)
        gradient *= (s.grad_clip / (norms + 1e-6)).clamp(max=1.0)[:, None]
        fused_adamw(self.weights, gradient, self.first, self.second, self.count, rate, s)
        self.average.lerp_(self.weights, gain)
        return losses.detach(), norms

    def _output(self, weights: dict[str, Tensor], *given: Tensor) -> Tensor:
        output: Tensor = functional_call(self.states[0].net, weights, given)
        return output

    def _rows(self, members: Sequence[FlatWeights]) -> Tensor:
        matrix = torch.stack([member.vector for member in members])
        for member, row in zip(members, matrix, strict=True):
            member.move_to(row)
        return matrix

    def _moments(self) -> tuple[Tensor, Tensor, Tensor]:
        """Join the moments; members share one count of steps."""
        first = torch.stack([s.first for s in self.states])
        second = torch.stack([s.second for s in self.states])
        for row, state in enumerate(self.states):
            state.first, state.second, state.count = first[row], second[row], self.states[0].count
        return first, second, self.states[0].count

    def _joined(self, gradients: Sequence[Tensor]) -> Tensor:
        pieces = []
        for part, gap in zip(gradients, self.states[0].weights.gaps, strict=True):
            flat = part.flatten(1)
            pieces.append(nn.functional.pad(flat, (0, gap)) if gap else flat)
        return torch.cat(pieces, 1)


def train_together(
    states: Sequence[TrainState],
    items: Tensor,
    labels: Tensor | None,
    affine: Callable[[Tensor], Tensor],
) -> Iterator[list[StepReport]]:
    """Yield every member's report per step; see sgm_core.train.loop.train."""
    stack = Stack(states)
    for losses, norms, rate in moves(states, stack.move, items, labels, affine):
        for state in states:
            state.step += 1
        yield [
            StepReport(s.step, loss, norm, rate)
            for s, loss, norm in zip(states, losses, norms, strict=True)
        ]


def _drops(net: nn.Module) -> bool:
    return any(isinstance(module, nn.Dropout) and module.p > 0 for module in net.modules())
