"""Pieces of work on several threads: in order, bounded, and with the same results to the last bit."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest
import torch

from sgm_core import at_once as module
from sgm_core.at_once import at_once, in_order
from sgm_core.evaluate.draw import Progress, draw
from sgm_core.evaluate.floors import floor_rows
from sgm_core.evaluate.images import Images
from sgm_core.evaluate.images import kid as kid_of
from sgm_core.evaluate.points import MEASURES, Points, energy, mmd
from sgm_core.model import ScoreModel
from sgm_core.threads import every_core, torch_threads


def test_results_come_in_order_and_as_many_pieces_as_allowed_are_at_work() -> None:
    together = threading.Barrier(3)

    def piece(number: int) -> int:
        together.wait(10)
        time.sleep(0.02 * (2 - number % 3))
        return number

    with at_once(3):
        assert list(in_order(piece, range(9))) == list(range(9))


def test_alone_everything_happens_here_and_one_after_the_other() -> None:
    begun: list[int] = []

    def piece(number: int) -> threading.Thread:
        begun.append(number)
        return threading.current_thread()

    results = in_order(piece, range(3))
    assert next(results) is threading.current_thread()
    assert begun == [0]


def test_the_first_error_is_raised_and_nothing_is_begun_after_it() -> None:
    begun: list[int] = []

    def piece(number: int) -> int:
        begun.append(number)
        if number == 1:
            raise ValueError("broken")
        return number

    with at_once(2):
        results = in_order(piece, range(100))
        assert next(results) == 0
        with pytest.raises(ValueError, match="broken"):
            list(results)
    assert len(begun) <= 5, "two at work, one waiting, and what was finished"


def test_a_piece_of_a_piece_and_what_comes_after_are_alone_again() -> None:
    with at_once(2):
        assert list(in_order(lambda _: module._count.get(), range(2))) == [1, 1]
    assert module._count.get() == 1


@pytest.mark.parametrize("threads", [1, 2])
def test_pieces_compute_with_the_threads_of_their_caller(threads: int) -> None:
    with torch_threads(threads), at_once(2):
        found = list(in_order(lambda _: torch.get_num_threads(), range(4)))
    assert found == [threads] * 4


def test_a_gpu_has_one_piece_at_a_time() -> None:
    with every_core(device="cuda"):
        assert module._count.get() == 1


def test_samples_are_the_same_however_many_chunks_are_drawn_at_once() -> None:
    model = ScoreModel(process="vp", shape=(2,), net={"kind": "mlp", "width": 16, "depth": 1})
    told: list[dict[str, Any]] = []

    def drawn(count: int) -> Any:
        with torch_threads(1), at_once(count):
            return draw(
                model, 70, seed=3, batch=20, settings={"steps": 4, "sampler": "ddim"}, labels=None,
                span=None, embed=None, device="cpu", progress=Progress(told.append, 16),
            )  # fmt: skip

    begin = time.process_time()
    one, two = drawn(1), drawn(2)
    spent = time.process_time() - begin
    assert np.array_equal(one.x, two.x)
    assert (one.nfe, len(one)) == (two.nfe, len(two)) == (4, 70)
    # Each chunk tells the time of its own thread, and not that of the others.
    assert 0 < one.cpu_seconds + two.cpu_seconds <= spent
    assert told[-1]["step"] == told[-1]["steps"] == 16


def test_floors_are_the_same_however_many_draws_are_made_at_once() -> None:
    x = np.random.default_rng(0).standard_normal((600, 2))
    splits = {name: Points(x[part]) for name, part in
              (("validation", slice(400, 500)), ("test", slice(500, 600)))}  # fmt: skip
    measures = {name: MEASURES[name] for name in ("sliced_w2", "energy", "mmd", "coverage")}

    def rows(count: int) -> list[dict[str, Any]]:
        with at_once(count):
            return floor_rows(400, lambda rows: Points(x[rows]), splits, measures, {"mmd": 100})

    assert rows(2) == rows(1)
    assert {(row["metric"], row["n"]) for row in rows(2)} == {
        *((name, n) for name in ("sliced_w2", "energy", "coverage") for n in (100, 200)),
        ("mmd", 100),
    }


def test_what_a_metric_knows_of_the_real_items_changes_no_value() -> None:
    rng = np.random.default_rng(1)
    real, features = rng.standard_normal((300, 2)), rng.standard_normal((300, 8))
    held, pictures = Points(real), Images(features)
    for _ in range(2):
        samples, made = Points(real[:150] + 0.1), Images(features[:150] + 0.1)
        for metric in (energy, mmd):
            assert metric(samples, held).value == metric(samples, Points(real)).value
        assert kid_of(made, pictures).value == kid_of(made, Images(features)).value
    assert {"spread", "likeness"} <= set(vars(held)) and "likeness" in vars(pictures)
