"""What Prometheus reads: requests, runs, batches, and what is served."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from studio.catalogue import Catalogue
from studio.draw import Draw

TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
disable_created_metrics()  # type: ignore[no-untyped-call]  # a series each that nobody reads
FEW = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """Counters of one server (not of the process: tests run several)."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "sgm_studio_requests", "requests answered", ["route", "status"], registry=registry
        )
        self.request_seconds = Histogram(
            "sgm_studio_request_seconds", "to the last byte", ["route"],
            buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self.left = Counter(
            "sgm_studio_clients_left", "clients that left before the end", registry=registry
        )
        self.samples = Counter(
            "sgm_studio_samples", "samples drawn", ["model", "version", "variant"],
            registry=registry,
        )  # fmt: skip
        self.run_seconds = Histogram(
            "sgm_studio_run_seconds", "seconds of a run", buckets=SECONDS, registry=registry
        )
        self.run_requests = Histogram(
            "sgm_studio_run_requests", "requests drawn in one run", buckets=FEW, registry=registry
        )
        self.network_seconds = Histogram(
            "sgm_studio_network_seconds", "seconds of an evaluation of a network",
            buckets=(0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0), registry=registry,
        )  # fmt: skip
        self.network_rows = Histogram(
            "sgm_studio_network_rows", "items in an evaluation of a network",
            buckets=FEW, registry=registry,
        )  # fmt: skip

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self.requests.labels(route, str(status)).inc()
        self.request_seconds.labels(route).observe(seconds)

    def evaluated(self, rows: int, seconds: float) -> None:
        """Count an evaluation of a network."""
        self.network_rows.observe(rows)
        self.network_seconds.observe(seconds)

    def drawn(self, draws: list[Draw], seconds: float) -> None:
        """Count a run."""
        self.run_requests.observe(len(draws))
        self.run_seconds.observe(seconds)
        recipe = draws[0].recipe
        labels = recipe.opened.name, str(recipe.opened.number), recipe.variant
        self.samples.labels(*labels).inc(sum(draw.n for draw in draws))

    def watch(self, catalogue: Catalogue, requests: Callable[[], int]) -> None:
        """Also show what is served, and how many requests are under way."""
        gauge = Gauge(
            "sgm_studio_requests_at_once", "requests drawn or waiting", registry=self.registry
        )
        gauge.set_function(requests)
        self.registry.register(_Shelf(catalogue))

    def text(self) -> bytes:
        """Return Prometheus' text format."""
        return generate_latest(self.registry)


class _Shelf(Collector):
    """Versions and problems, read from the catalogue whenever they are asked for."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue

    def collect(self) -> Iterable[Metric]:
        shelf = self.catalogue.shelf
        version = GaugeMetricFamily(
            "sgm_studio_model_version", "version that is served by default", labels=["model"]
        )
        for name in shelf.names():
            version.add_metric([name], shelf.find(name).version.number)
        yield version
        yield GaugeMetricFamily(
            "sgm_studio_problems", "versions that cannot be served", len(shelf.problems)
        )
        loads = CounterMetricFamily(
            "sgm_studio_loads", "versions opened, and refused", labels=["result"]
        )
        for result, count in self.catalogue.loads.items():
            loads.add_metric([result], count)
        yield loads
