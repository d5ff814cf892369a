"""The metrics by name: for which data, which direction is better, and one line of meaning.

A new metric is one function in `points`, `rolls`, `images`, `nearness` or, of the model itself and
not of its samples, `likelihood` (registered there in `MEASURES`) and one line here. Nothing heavy is
imported, so that a leaderboard is sorted in milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sgm_core.errors import UsageError, unknown

Kind = Literal["points", "images", "any"]
Better = Literal["lower", "higher"]


@dataclass(frozen=True)
class Metric:
    """One line of the table.

    `needs` is "" or what the data must have ("swiss_roll", "labels"); `of` what is measured: a
    cloud of samples, or the model, on held-out items. `ranks`: whether its interval counts what both
    sides vary by, so that cells can be ranked and a champion be replaced by it.
    """

    kind: Kind
    better: Better
    text: str
    needs: str = ""
    of: Literal["samples", "model"] = "samples"
    ranks: bool = True


METRICS: dict[str, Metric] = {
    "sliced_w2": Metric("points", "lower", "sliced 2-Wasserstein distance"),
    "w2": Metric("points", "lower", "exact 2-Wasserstein distance on at most 1,000 points"),
    "energy": Metric("points", "lower", "energy distance (unbiased, may be just below 0)"),
    "mmd": Metric("points", "lower", "squared MMD, five Gaussian kernels (unbiased)"),
    "off": Metric("points", "lower", "RMS distance to the noise-free rolls", "swiss_roll"),
    "local": Metric("points", "lower", "sliced W2 with the five rolls overlaid", "swiss_roll"),
    "mode_balance": Metric("points", "lower", "largest |share of a roll - 0.2|", "swiss_roll"),
    "fd": Metric("images", "lower", "Frechet distance of features"),
    "fd_inf": Metric("images", "lower", "that distance extrapolated to infinitely many samples"),
    "kid": Metric("images", "lower", "kernel distance of the same features (unbiased)"),
    "precision": Metric("any", "higher", "share of samples inside the real manifold", ranks=False),
    "recall": Metric(
        "any", "higher", "share of real items inside the samples' manifold", ranks=False
    ),
    "density": Metric(
        "any", "higher", "real neighbourhoods per sample, 1 for real data", ranks=False
    ),
    "coverage": Metric(
        "any", "higher", "share of real neighbourhoods that hold a sample", ranks=False
    ),
    "memorised": Metric("any", "lower", "share of samples that copy a training item"),
    "agreement": Metric("images", "higher", "share of samples of the class asked for", "labels"),
    "class_balance": Metric("images", "lower", "largest |share of a class - real|", "labels"),
    "nll": Metric("points", "lower", "negative log-likelihood, nats per point", of="model"),
    "bits_per_dim": Metric("images", "lower", "bits per pixel and channel", of="model"),
}

MAIN: dict[str, str] = {"points": "sliced_w2", "images": "fd"}


def main_metric(kind: str, wanted: str = "auto", source: str = "", labelled: bool = False) -> str:
    """Return the metric that ranks cells: `wanted`, or the usual one for this kind of data.

    Args:
        kind: "points" or "images".
        wanted: a metric's name, or "auto".
        source: the kind of dataset ("swiss_roll" has metrics of its own).
        labelled: whether the data has class labels.

    Raises:
        UsageError: the metric does not exist, or not for this data.
    """
    if wanted == "auto":
        return MAIN[kind]
    names = ranking_names(kind, source, labelled)
    if wanted not in METRICS:
        raise unknown("metric", wanted, names)
    if not METRICS[wanted].ranks:
        raise UsageError(cannot_rank(wanted))
    if wanted not in names:
        raise UsageError(
            f"metric {wanted!r} cannot be measured on this data; choose one of: {', '.join(names)}"
        )
    return wanted


def names_for(kind: str, source: str = "", labelled: bool = False) -> list[str]:
    """Return the names of the metrics that this data can have, in the order of the table."""
    has = {"", source} | ({"labels"} if labelled else set())
    return [name for name, m in METRICS.items() if m.kind in (kind, "any") and m.needs in has]


def ranking_names(kind: str, source: str = "", labelled: bool = False) -> list[str]:
    """Return those of `names_for` that cells can be ranked by."""
    return [name for name in names_for(kind, source, labelled) if METRICS[name].ranks]


def cannot_rank(name: str) -> str:
    """Say why a metric cannot rank cells."""
    names = ", ".join(name for name, metric in METRICS.items() if metric.ranks)
    return (
        f"{name!r} cannot rank cells, because its interval is over one side only; choose one of: "
        f"{names}"
    )
