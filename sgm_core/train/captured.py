"""A training step as one CUDA graph.

A step of a small network is a few hundred kernels of a few microseconds each; starting them one by one
takes a processor longer than the GPU needs to run them. Recorded once, they start together. The kernels,
their order and their arithmetic are those of the plain step, random numbers included: the generator's
place moves on with every replay, so that a checkpoint holds it as always.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

# (x0, labels, learning rate, gain) -> (loss, gradient norm); see TrainState.move.
Move = Callable[[Tensor, Tensor | None, Tensor, Tensor], tuple[Tensor, Tensor]]


class CapturedStep:
    """`move(affine(raw), labels, rate, gain)`, recorded; a call repeats it with other values.

    Args:
        move: reads and writes memory that stays where it is (weights, moments, average).
        affine: from stored items to model space.
        raw, labels: like the batches of later calls.
        generators: that `move` draws from.
    """

    def __init__(
        self,
        move: Move,
        affine: Callable[[Tensor], Tensor],
        raw: Tensor,
        labels: Tensor | None,
        generators: Sequence[torch.Generator],
    ) -> None:
        self._raw, self._labels = raw.clone(), None if labels is None else labels.clone()
        self._rate = torch.zeros((), device=raw.device)
        self._gain = torch.zeros((), device=raw.device)
        self._graph = torch.cuda.CUDAGraph()
        for generator in generators:
            self._graph.register_generator_state(generator)
        # thread_local: the thread that gathers the next batch may allocate meanwhile.
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            loss, norm = move(affine(self._raw), self._labels, self._rate, self._gain)
            self._told = torch.stack([loss, norm])

    def __call__(
        self, raw: Tensor, labels: Tensor | None, rate: float, gain: float
    ) -> tuple[Tensor, Tensor]:
        """Take one step; returns before the GPU has."""
        self._raw.copy_(raw)
        if labels is not None and self._labels is not None:
            self._labels.copy_(labels)
        self._rate.fill_(rate)
        self._gain.fill_(gain)
        self._graph.replay()
        told = self._told.clone()  # the next replay writes over it
        return told[0], told[1]


def capture(
    move: Move,
    affine: Callable[[Tensor], Tensor],
    raw: Tensor,
    labels: Tensor | None,
    generators: Sequence[torch.Generator],
) -> CapturedStep | None:
    """Record a step; None, with a warning, where a network does what cannot be recorded."""
    # Dropout draws from the device's own.
    drawn = [*generators, torch.cuda.default_generators[raw.device.index or 0]]
    places = [generator.get_state() for generator in drawn]
    try:
        return CapturedStep(move, affine, raw, labels, generators)
    except RuntimeError as error:
        for generator, place in zip(drawn, places, strict=True):
            # Its own state believes that it is still being recorded: it gets another one.
            other = torch.Generator(raw.device)
            other.set_state(place)
            generator.graphsafe_set_state(other.graphsafe_get_state())
        reason = str(error).splitlines()[0]
        warnings.warn(f"steps are not recorded as a CUDA graph: {reason}", stacklevel=2)
        return None
