"""Tuning of a pruned network by distillation: it learns to say what the whole one says.

    E_{t, x_0, eps, label} | F_small(c_in u_t, sigma, label) - F(c_in u_t, sigma, label) |^2

The states are those of denoising score matching, but the target has no noise of x_0 in it, so that a few
hundred steps do (arXiv 1503.02531). The loop is the trainer's: the difference of the two networks is
trained towards zero.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from sgm_core.data.dataset import Dataset
from sgm_core.evaluate.draw import Progress
from sgm_core.model import ScoreModel
from sgm_core.objective import Batch, Objective
from sgm_core.train.items import affine_of, items_of
from sgm_core.train.loop import LoopSettings, TrainState, train
from sgm_core.train.run import TIME_NODES

Emit = Callable[[dict[str, Any]], None]


def tune(
    small: ScoreModel,
    teacher: nn.Module,
    data: Dataset,
    training: Mapping[str, Any],
    steps: int,
    emit: Emit,
) -> None:
    """Tune the network of `small` in place.

    Args:
        teacher: the network that it was pruned from, on the device of `small`.
        data: the dataset that it was trained on.
        training: how (a resolved TrainingConfig); `steps` replaces its own.
    """
    device = small.device
    split = data.split("train")
    items, labels = items_of(split.x, split.labels if small.labels else None, device)
    warmup = min(int(training["warmup"]), steps // 10)
    settings = {
        **training,
        "steps": steps,
        "warmup": warmup,
        "schedule": "cosine",
        "compile": False,
    }
    objective: Any = Towards(Objective.of(small.preconditioning, settings, TIME_NODES, device))
    state = TrainState(
        Difference(small.net, teacher.forward), objective, LoopSettings.of(settings), 0
    )
    progress = Progress(emit, steps, "tune")
    for _ in train(state, items, labels, affine_of(data.meta, device)):
        progress.add(1)
    difference: Any = state.ema_net
    small.net.load_state_dict(difference.student.state_dict())


class Difference(nn.Module):
    """student - teacher; only the student has weights here, and only it is copied."""

    def __init__(self, student: nn.Module, teacher: Callable[..., Tensor]) -> None:
        super().__init__()
        self.student, self.teacher = student, teacher

    def forward(self, inputs: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        with torch.no_grad():
            wanted = self.teacher(inputs, sigma, labels)
        return self.student(inputs, sigma, labels) - wanted

    def __deepcopy__(self, memo: dict[int, Any]) -> Difference:
        return Difference(copy.deepcopy(self.student, memo), self.teacher)


class Towards:
    """An objective whose states and weights are another one's, and whose target is zero."""

    def __init__(self, objective: Objective) -> None:
        self.objective = objective

    def draw(self, x0: Tensor, generator: torch.Generator) -> Batch:
        batch = self.objective.draw(x0, generator)
        return replace(batch, target=torch.zeros_like(batch.target))
