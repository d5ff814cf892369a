"""Contestants of the toy step: batch 512 in the plane, MLPs of 50,000 parameters, AdamW and EMA.

Ours trains CLD's hybrid score matching with the paper's network (a plain MLP on the state and the
time); `lean` is the shortest loop in plain torch with CLD's law. All draw items from one tensor.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from sgm_core.config.training import TrainingConfig
from sgm_core.nets.by_hand import Pull, linear, pull_linear, pull_silu, write_linear
from sgm_core.objective import Objective, make_table, training_times
from sgm_core.preconditioning import Preconditioning
from sgm_core.process import make_process
from sgm_core.train.loop import LoopSettings, TrainState, train

BATCH, ITEMS, LR, DECAY = 512, 80_000, 1e-3, 0.999
Step = Callable[[], object]


class Plain(nn.Module):
    """Three hidden layers of 128 on (inputs, noise level)."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Linear(inputs + 1, 128)]
        for _ in range(3):
            layers += [nn.SiLU(), nn.Linear(128, 128)]
        self.layers = nn.Sequential(*layers, nn.SiLU(), nn.Linear(128, 2))

    def forward(self, inputs: Tensor, level: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.layers(torch.cat([inputs.flatten(1), level[:, None]], 1))

    def forward_and_pull(
        self, inputs: Tensor, level: Tensor, labels: Tensor | None = None
    ) -> tuple[Tensor, Pull]:
        """As our own networks do: the gradient without a graph (sgm_core.nets.by_hand)."""
        layers = self.layers[::2]
        seen, before = [torch.cat([inputs.flatten(1), level[:, None]], 1)], []
        for layer in layers[:-1]:
            before.append(linear(layer, seen[-1]))
            seen.append(nn.functional.silu(before[-1]))

        def pull(slope: Tensor) -> None:
            for i in reversed(range(1, len(layers))):
                slope = pull_silu(before[i - 1], pull_linear(layers[i], seen[i], slope))
            write_linear(layers[0], seen[0], slope)

        return linear(layers[-1], seen[-1]), pull


def optimiser(net: nn.Module) -> tuple[torch.optim.Optimizer, Step]:
    """Fused AdamW and an EMA in one call: the best that plain torch has for a list of tensors."""
    weights = list(net.parameters())
    average = [p.detach().clone() for p in weights]
    adamw = torch.optim.AdamW(weights, lr=LR, fused=True)
    return adamw, lambda: torch._foreach_lerp_(average, weights, 1 - DECAY)


def stepper(net: nn.Module, loss: Callable[[], Tensor]) -> Step:
    """A training step of a peer."""
    adamw, update = optimiser(net)

    def step() -> None:
        adamw.zero_grad()
        loss().backward()
        adamw.step()
        update()

    return step


def ours(items: Tensor, parametrisation: str = "native") -> tuple[nn.Module, Step]:
    """The project's training loop, as `train_cell` runs it."""
    frame = Preconditioning(make_process("cld"), 1.0, parametrisation)
    fields = {"batch": BATCH, "steps": 10**6, "lr": LR, "ema": DECAY, "time_sampling": "uniform"}
    training = TrainingConfig(**fields).model_dump()
    net = Plain(2 * frame.in_channels)
    objective = Objective.of(frame, training, 8192)
    loop = train(TrainState(net, objective, LoopSettings.of(training), 0), items, None, _same)
    return net, lambda: next(loop)


def lean(items: Tensor) -> tuple[nn.Module, Step]:
    """CLD's law from a table of coefficients, and nothing else."""
    frame = Preconditioning(make_process("cld"), 1.0, "native")
    times = training_times(frame.process, "uniform", 8192)
    rows = make_table(frame, times).map.float()
    level, net = times.float(), Plain(4)

    def loss() -> Tensor:
        index = torch.randint(len(rows), (BATCH,))
        x0, noise = items[torch.randint(ITEMS, (BATCH,))], torch.randn(BATCH, 2, 2)
        both = torch.bmm(rows[index], torch.cat([x0[:, None], noise], 1))
        return nn.functional.mse_loss(net(both[:, :2], level[index]), both[:, 2])

    return net, stepper(net, loss)


def with_azula(items: Tensor) -> tuple[nn.Module, Step]:
    """azula's EDM-style denoiser, its VP schedule."""
    import azula.denoise
    import azula.noise

    net = Plain(2)
    denoiser = azula.denoise.KarrasDenoiser(net, azula.noise.VPSchedule())

    def loss() -> Tensor:
        return denoiser.loss(items[torch.randint(ITEMS, (BATCH,))], torch.rand(BATCH))

    return net, stepper(net, loss)


def with_smalldiffusion(items: Tensor) -> tuple[nn.Module, Step]:
    """smalldiffusion's own MLP and schedule."""
    import smalldiffusion

    net = smalldiffusion.TimeInputMLP(dim=2, hidden_dims=(128,) * 4)
    schedule = smalldiffusion.ScheduleLogLinear(1000)

    def loss() -> Tensor:
        x0 = items[torch.randint(ITEMS, (BATCH,))]
        x0, sigma, noise, _ = smalldiffusion.generate_train_sample(x0, schedule)
        return net.get_loss(x0, sigma, noise)

    return net, stepper(net, loss)


def contestants() -> dict[str, tuple[nn.Module, Step]]:
    """Return name -> (network, step)."""
    torch.manual_seed(0)
    items = torch.randn(ITEMS, 2)
    return {
        "ours": ours(items),
        "lean torch, CLD": lean(items),
        "azula": with_azula(items),
        "smalldiffusion": with_smalldiffusion(items),
    }


def _same(x: Tensor) -> Tensor:
    return x
