"""Pieces of work on several threads: in order, bounded, and with the same results to the last bit."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest
import torch

from sgm_core.at_once import at_once, go_on, in_order, pieces
from sgm_core.evaluate.draw import Progress, draw
from sgm_core.evaluate.floors import floor_rows
from sgm_core.evaluate.images import Images
from sgm_core.evaluate.images import kid as kid_of
from sgm_core.evaluate.kernels import cubic_kernel, distance_kernel, gaussian_kernel, mmd2
from sgm_core.evaluate.points import MEASURES, Points, energy, mmd
from sgm_core.generate import SampleResult
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
        assert list(in_order(lambda _: pieces(), range(2))) == [1, 1]
    assert pieces() == 1


@pytest.mark.parametrize("threads", [1, 2])
def test_pieces_compute_with_the_threads_of_their_caller(threads: int) -> None:
    with torch_threads(threads), at_once(2):
        found = list(in_order(lambda _: torch.get_num_threads(), range(4)))
    assert found == [threads] * 4


@pytest.mark.parametrize(
    ("cores", "threads", "count"), [(2, 1, 2), (4, 2, 2), (1, 2, 1), (64, 1, 4)]
)
def test_there_is_a_piece_for_every_core_but_few_batches_in_memory(
    monkeypatch: pytest.MonkeyPatch, cores: int, threads: int, count: int
) -> None:
    monkeypatch.setattr("sgm_core.threads.cores", lambda: cores)
    with every_core(threads):
        assert pieces() == count
        assert torch.get_num_threads() == threads


def test_a_piece_that_nobody_waits_for_ends_where_it_goes_on() -> None:
    begun, ended = threading.Event(), threading.Event()

    def piece(number: int) -> None:
        if number == 1:
            begun.wait(10)
            raise ValueError("broken")
        begun.set()
        try:
            while True:
                go_on()
                time.sleep(0.01)
        finally:
            ended.set()

    with at_once(2), pytest.raises(ValueError, match="broken"):
        list(in_order(piece, [1, 0, 1]))
    assert ended.is_set()
    go_on()  # in no piece


def test_a_gpu_draws_one_chunk_at_a_time() -> None:
    threads = set()

    class Model:
        def sample(self, n: int, *, seed: int, **_: Any) -> Any:
            threads.add(threading.current_thread())
            return SampleResult(np.zeros((n, 2)), None, 1, 0.5, 0.25)

    for device in ("cpu", "cuda"):
        threads.clear()
        with at_once(2):
            found = draw(
                Model(), 70, seed=0, batch=20, settings={"steps": 1}, labels=None, span=None,
                embed=None, device=device, progress=Progress(lambda _: None, 4),
            )  # fmt: skip
        assert (threads == {threading.current_thread()}) == (device == "cuda")
        # At once the first chunk of 20 stands for all; else there are four chunks.
        assert found.seconds == (0.5 * 70 / 20 if device == "cpu" else 4 * 0.5)
        assert found.cpu_seconds == found.seconds / 2


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
    # The chunk that was drawn alone stands for the others.
    assert 0 < one.cpu_seconds <= spent and two.cpu_seconds > 0
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
        for metric, kernel in (
            (energy, distance_kernel),
            (mmd, gaussian_kernel(held.bandwidth)),
        ):
            assert metric(samples, held).value == mmd2(samples.x, real, kernel)[0]
        assert kid_of(made, pictures).value == mmd2(made.features, features, cubic_kernel)[0]
    assert {"spread", "likeness"} <= set(vars(held)) and "likeness" in vars(pictures)
