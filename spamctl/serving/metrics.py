"""Collect the server's metrics for Prometheus."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

if TYPE_CHECKING:
    from spamctl.store.rows import Kept

SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # where several workers write their figures; Prometheus's own name
_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128)


def shared_folder() -> Path | None:
    """Return the folder that the workers of one server share, if there are several."""
    return Path(os.environ[SHARED_FOLDER]) if SHARED_FOLDER in os.environ else None


class Metrics:
    """Prometheus metrics of one server."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        counter = functools.partial(Counter, registry=registry)
        self._served: tuple[str, str] | None = None
        self.requests = counter("spamctl_requests", "Requests by route and status.", ["route", "status"])
        self.rows = counter("spamctl_rows", "Messages classified, by verdict and version.", ["verdict", "version"])
        self.out_of_reach = counter(
            "spamctl_out_of_reach_rows", "Messages unlike all that was trained on.", ["version"]
        )
        self.seconds = Histogram(
            "spamctl_request_seconds", "Time from request to answer.", registry=registry, buckets=_SECONDS
        )
        self.batch_rows = Histogram(
            "spamctl_batch_rows", "Messages in one run of the engine.", registry=registry, buckets=_ROWS
        )
        self.batch_seconds = Histogram(
            "spamctl_batch_seconds", "Time of one run of the engine.", registry=registry, buckets=_SECONDS
        )
        self.in_flight = Gauge(
            "spamctl_in_flight", "Requests being answered.", registry=registry, multiprocess_mode="livesum"
        )
        self.waiting = Gauge(
            "spamctl_waiting_rows", "Messages that wait for the engine.", registry=registry, multiprocess_mode="livesum"
        )
        self.captured = counter("spamctl_captured_rows", "Answers stored before they were given.")
        self.capture_failures = counter("spamctl_capture_failed_rows", "Answers not known to be stored.")
        self.shadowed = counter(
            "spamctl_shadow_rows", "Messages scored by the shadow version, or left out.", ["outcome"]
        )
        self.exchanges = counter("spamctl_exchanges", "Attempts to serve another version, by outcome.", ["outcome"])
        self.version = Gauge(
            "spamctl_model_version",
            "1 for the version that is served, 0 for one that was.",
            ["model", "version"],
            registry=registry,
            multiprocess_mode="liveall",
        )

    def count_verdicts(self, verdicts: Iterable[Kept]) -> None:
        """Count the verdicts of one answer, each with the version that gave it."""
        for verdict in verdicts:
            self.rows.labels(verdict.classification, verdict.model_version).inc()
            if verdict.in_reach is False:
                self.out_of_reach.labels(verdict.model_version).inc()

    def on_batch(self, rows: int, seconds: float) -> None:
        """Count one run of the engine."""
        self.batch_rows.observe(rows)
        self.batch_seconds.observe(seconds)

    def serve(self, model: str, version: str) -> None:
        """Set the metric of the served version."""
        if self._served:
            self.version.labels(*self._served).set(0)
        self._served = (model, version)
        self.version.labels(*self._served).set(1)

    def page(self) -> bytes:
        """Return all figures in Prometheus's text format, summed over the workers if there are several."""
        if not shared_folder():
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
