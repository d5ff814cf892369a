"""Drawing the samples of one model in chunks, and keeping of them only what is needed.

Item i is drawn from seed + i, so chunks, the quality-against-NFE curve and another machine get the
same samples. Pictures are turned into features and thumbnails chunk by chunk: 50,000 pictures of
64 x 64 x 3 are never in memory at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sgm_core.at_once import go_on, in_order, pieces
from sgm_core.evaluate.extractor import Embed
from sgm_core.evaluate.pixels import rounded, thumbnails
from sgm_core.evaluate.reference_images import THUMB_LIMIT

Array = NDArray[Any]
# Samples beyond this many bytes (float32) are measured but not kept on disk.
KEEP_BYTES = 256 << 20
# A number of this size is as good as infinite: its square still fits, its fourth power hardly.
DIVERGED = 1e30


@dataclass
class Drawn:
    """Samples as measured.

    `x`: the kept samples in the data's range; `features` of all pictures and `thumbs` of the first
    5,000 (None for points); `labels`: the classes asked for; `finite`: which samples are finite;
    `nfe`: network evaluations per sample (the largest of the chunks); seconds for all samples, one
    chunk after the other;
    `seed`: of the first; `how`: the sampler with its options, grid, steps, and the device.
    """

    x: Array
    finite: NDArray[np.bool_]
    labels: Array | None
    features: Array | None
    thumbs: Array | None
    nfe: int
    seconds: float
    cpu_seconds: float
    seed: int = 0
    how: Mapping[str, Any] = field(default_factory=dict)

    @property
    def facts(self) -> dict[str, Any]:
        """How they were drawn, for the record."""
        return {**self.how, "nfe": self.nfe, "seeds": [self.seed, self.seed + len(self) - 1]}

    def __len__(self) -> int:
        return len(self.finite)


class Progress:
    """Turns steps of the sampler (or of another `phase`) into progress events, at most two a second."""

    def __init__(
        self, emit: Callable[[dict[str, Any]], None], total: int, phase: str = "evaluate"
    ) -> None:
        self.emit, self.phase = emit, phase
        self.total = max(total, 1)
        self.done = 0.0
        self.start = self.last = time.monotonic()

    def add(self, steps: float) -> None:
        """Count network steps that were done; the errors of `go_on`."""
        go_on()
        self.done += steps
        now = time.monotonic()
        if now - self.last > 0.5 or self.done >= self.total:
            self.last = now
            rate = self.done / max(now - self.start, 1e-9)
            self.emit(
                {
                    "event": "progress",
                    "phase": self.phase,
                    "step": min(round(self.done), self.total),
                    "steps": self.total,
                    "loss": None,
                    "steps_per_s": rate,
                    "eta_s": max(self.total - self.done, 0.0) / rate,
                }
            )


def draw(
    model: Any,
    n: int,
    *,
    seed: int,
    batch: int,
    settings: dict[str, Any],
    labels: Array | None,
    span: tuple[float, float] | None,
    embed: Embed | None,
    device: str,
    progress: Progress,
) -> Drawn:
    """Draw n samples.

    Args:
        model: a `ScoreModel`.
        n: how many.
        seed: item i uses seed + i.
        batch: samples per chunk.
        settings: steps, sampler, grid, sigma_min, guidance, as `ScoreModel.sample` takes them.
        labels: class asked for per item (n,), or None.
        span: lowest and highest pixel (images), or None (points).
        embed: pictures and their span -> features (images), or None.
        device: where the model is, for the record.
        progress: is told of every chunk.
    """
    # Filled in place: lists that are joined at the end would need twice as much.
    keeping: Array | None = None
    features: Array | None = None
    finite, asked, thumbs = [], [], []
    nfe, seconds, cpu = 0, 0.0, 0.0

    def chunk(part: tuple[int, int]) -> tuple[Any, Array, Array | None, Array | None]:
        """Its samples, which of them are finite, features and thumbnails."""
        start, count = part
        label = None if labels is None else labels[start : start + count]
        result = model.sample(count, seed=seed + start, batch=count, label=label, **settings)
        x = np.asarray(result.x)
        with np.errstate(invalid="ignore"):
            good = (np.abs(x.reshape(count, -1)) < DIVERGED).all(1)
        if span is None or embed is None:
            return result, good, None, None
        # A picture that is not finite is never measured, but must not poison its batch.
        whole = rounded(np.nan_to_num(x, nan=span[0], posinf=span[1], neginf=span[0]), span)
        small = thumbnails(whole, span) if start < THUMB_LIMIT else None
        return result, good, embed(whole, span), small

    first, *others = _chunks(n, batch)
    # A GPU has one chunk at a time. Where several are drawn at once the first one is drawn alone: it
    # tells what a sample costs.
    several = device == "cpu" and pieces() > 1
    results = chain(map(chunk, [first]), (in_order if several else map)(chunk, others))
    for (start, count), drawn in zip([first, *others], results, strict=True):
        result, good, embedded, small = drawn
        x = np.asarray(result.x)
        nfe = max(nfe, int(result.nfe))
        if several and start == 0:
            seconds, cpu = (cost * n / count for cost in (result.seconds, result.cpu_seconds))
        elif not several:
            seconds, cpu = seconds + result.seconds, cpu + result.cpu_seconds
        finite.append(good)
        if result.labels is not None:
            asked.append(np.asarray(result.labels))
        if embedded is not None:
            if features is None:
                features = np.empty((n, embedded.shape[1]), dtype=embedded.dtype)
            features[start : start + count] = embedded
        if small is not None:
            thumbs.append(small)
        if keeping is None:
            # Points are measured as they are; of pictures the features are enough.
            limit = n if span is None else keepable(x.shape[1:])
            keeping = np.empty((min(n, limit), *x.shape[1:]), dtype=x.dtype)
        some = keeping[start : start + count]
        some[:] = x[: len(some)]
        progress.add(settings["steps"])
    assert keeping is not None, "at least one sample is drawn"
    return Drawn(
        keeping,
        np.concatenate(finite),
        np.concatenate(asked) if asked else None,
        features,
        np.concatenate(thumbs) if thumbs else None,
        nfe,
        seconds,
        cpu,
        seed,
        {
            "sampler": settings.get("sampler"),
            "options": dict(settings.get("options") or {}),
            "grid": settings.get("grid"),
            "steps": settings["steps"],
            "device": device,
        },
    )


def head(drawn: Drawn, n: int) -> Drawn:
    """Return the first n of the samples; the seconds are shared out evenly."""
    share = n / len(drawn)
    return Drawn(
        drawn.x[:n],
        drawn.finite[:n],
        None if drawn.labels is None else drawn.labels[:n],
        None if drawn.features is None else drawn.features[:n],
        None if drawn.thumbs is None else drawn.thumbs[:n],
        drawn.nfe,
        drawn.seconds * share,
        drawn.cpu_seconds * share,
        drawn.seed,
        drawn.how,
    )


def kept(drawn: Drawn) -> Drawn:
    """Return the samples that go to disk: the first ones, up to 256 MiB as float32."""
    return head(drawn, min(len(drawn.x), keepable(drawn.x.shape[1:])))


def keepable(shape: tuple[int, ...]) -> int:
    """Return how many samples of a shape fit into 256 MiB as float32, at least 1."""
    return max(1, KEEP_BYTES // (4 * int(np.prod(shape))))


def chunk_count(n: int, batch: int) -> int:
    """Return into how many chunks n samples are drawn."""
    return -(-n // batch)


def _chunks(n: int, batch: int) -> Iterator[tuple[int, int]]:
    for start in range(0, n, batch):
        yield start, min(batch, n - start)


def shares_of_classes(labels: Array, classes: int, n: int, seed: int) -> Array:
    """Return n classes in the proportions of `labels`, in a seeded order.

    A perfect model asked for classes in the data's proportions draws from the data's law; asked for
    all classes equally often it would not. Largest remainders: no class is off by more than 1.
    """
    expected = np.bincount(labels, minlength=classes) * (n / len(labels))
    counts = np.floor(expected).astype(int)
    counts[np.argsort(counts - expected, kind="stable")[: n - counts.sum()]] += 1
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(classes), counts))
