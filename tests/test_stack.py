"""Cells trained together have the loss curves and weights of cells trained alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sgm_core.config.training import TrainingConfig
from sgm_core.nets import make_net
from sgm_core.objective import Objective
from sgm_core.preconditioning import Preconditioning
from sgm_core.process import make_process
from sgm_core.train.checkpoint import load_checkpoint, save_checkpoint
from sgm_core.train.loop import LoopSettings, TrainState, train
from sgm_core.train.stack import Stack, train_together

STEPS = 40
MEMBERS = [("vp", 0), ("vp", 1), ("ve", 0), ("cld", 7)]


def state_of(process: str, seed: int, classes: int = 0, **fields: object) -> TrainState:
    training = TrainingConfig(
        **{"steps": STEPS, "batch": 32, "tails": 0.1, "grad_clip": 0.5, **fields}
    ).model_dump()
    frame = Preconditioning(make_process(process), 1.0)
    torch.manual_seed(seed)
    net = make_net(
        "mlp", shape=(2,), in_channels=1, sigma_data=1.0, num_classes=classes, width=24, depth=2
    )
    objective = Objective.of(frame, training, 256)
    return TrainState(net, objective, LoopSettings.of(training), seed)


def data() -> Tensor:
    return torch.randn(100, 2, generator=torch.Generator().manual_seed(3))


def same(x: Tensor) -> Tensor:
    return x


@pytest.mark.parametrize("weighting", ["auto", "min_snr"])
@pytest.mark.parametrize("classes", [0, 3])
def test_loss_curves_and_weights_are_those_of_the_cells_alone(weighting: str, classes: int) -> None:
    """To 1e-4: only the order of summation in products of matrices differs."""
    items = data()
    labels = torch.arange(100) % classes if classes else None
    alone = [state_of(p, s, classes, weighting=weighting) for p, s in MEMBERS]
    curves = [[float(r.loss) for r in train(state, items, labels, same)] for state in alone]
    together = [state_of(p, s, classes, weighting=weighting) for p, s in MEMBERS]
    steps = list(train_together(together, items, labels, same))
    assert len(steps) == STEPS
    for i, curve in enumerate(curves):
        own = torch.tensor([float(reports[i].loss) for reports in steps])
        torch.testing.assert_close(own, torch.tensor(curve), rtol=1e-4, atol=1e-6)
    for one, other in zip(alone, together, strict=True):
        assert one.step == other.step == STEPS
        for mine, theirs in zip(
            [*other.net.parameters(), *other.ema_net.parameters()],
            [*one.net.parameters(), *one.ema_net.parameters()],
            strict=True,
        ):
            torch.testing.assert_close(mine, theirs, rtol=2e-3, atol=2e-5)


def test_members_differ_from_each_other() -> None:
    states = [state_of(p, s) for p, s in MEMBERS]
    *_, last = train_together(states, data(), None, same)
    assert len({float(report.loss) for report in last}) == len(MEMBERS)


def test_a_member_can_be_saved_and_goes_on_alone(tmp_path: object) -> None:
    """A stack that is interrupted leaves checkpoints of cells, not of a stack."""
    items = data()
    states = [state_of(p, s) for p, s in MEMBERS]
    for reports in train_together(states, items, None, same):
        if reports[0].step == 15:
            break
    save_checkpoint(tmp_path, states[2], [])  # type: ignore[arg-type]
    resumed = state_of(*MEMBERS[2])
    load_checkpoint(tmp_path, resumed, print)  # type: ignore[arg-type]
    assert resumed.step == 15
    rest = [float(r.loss) for r in train(resumed, items, None, same)]
    whole = [float(r.loss) for r in train(state_of(*MEMBERS[2]), items, None, same)]
    torch.testing.assert_close(torch.tensor(rest), torch.tensor(whole[15:]), rtol=1e-4, atol=1e-6)


def test_a_stack_goes_on_from_members_checkpoints(tmp_path: object) -> None:
    items = data()
    first = state_of(*MEMBERS[0])
    for report in train(first, items, None, same):
        if report.step == 15:
            break
    save_checkpoint(tmp_path, first, [])  # type: ignore[arg-type]
    states = [state_of(*MEMBERS[0]), state_of(*MEMBERS[0])]
    for state in states:
        load_checkpoint(tmp_path, state, print)  # type: ignore[arg-type]
    steps = list(train_together(states, items, None, same))
    whole = [float(r.loss) for r in train(state_of(*MEMBERS[0]), items, None, same)][15:]
    for i in range(2):
        own = torch.tensor([float(reports[i].loss) for reports in steps])
        torch.testing.assert_close(own, torch.tensor(whole), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("change", [{"batch": 16}, {"lr": 1e-4}, {"steps": 41}])
def test_what_differs_in_settings_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="same settings"):
        Stack([state_of("vp", 0), state_of("vp", 1, **change)])
