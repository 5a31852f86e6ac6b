"""Counts and times for Prometheus; a registry per app, so that several can live in one process."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Metrics:
    """What the service counts. Labels hold codes, never identifiers."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.studies = Counter("lvo_studies", "Studies answered.", ["status", "tier"], registry=self.registry)
        self.seconds = Histogram(
            "lvo_scoring_seconds",
            "Time from taking a study off the queue to its result.",
            buckets=(1, 2, 5, 10, 15, 20, 30, 60, 120, 300),
            registry=self.registry,
        )
        self.waiting = Gauge("lvo_studies_waiting", "Studies queued or running.", registry=self.registry)
        self.deliveries = Counter("lvo_webhooks", "Alerts posted.", ["outcome"], registry=self.registry)
