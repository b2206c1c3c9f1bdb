"""What the server counts, in Prometheus text. `process_cpu_seconds_total` comes with the client library."""

from __future__ import annotations

import resource

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
SECOND_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class ServerMetrics:
    """One registry per server, so that tests can run several."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._registry = registry
        self.requests = Counter(
            "retriever_requests", "Requests by route and status", ["route", "status"], registry=registry
        )
        self.queries = Counter("retriever_queries", "Queries answered", registry=registry)
        self.cached = Counter("retriever_cached_queries", "Of them, known from before", registry=registry)
        self._batch = Histogram(
            "retriever_batch_size",
            "Queries per batch of a stage",
            ["stage"],
            buckets=BATCH_BUCKETS,
            registry=registry,
        )
        self._seconds = Histogram(
            "retriever_batch_seconds",
            "One batch of a stage",
            ["stage"],
            buckets=SECOND_BUCKETS,
            registry=registry,
        )
        self._cpu = Gauge(
            "retriever_cpu_seconds", "User and system time, finer than ticks", registry=registry
        )

    def observe(self, stage: str, size: int, seconds: float) -> None:
        """Count one batch of a stage."""
        self._batch.labels(stage).observe(size)
        self._seconds.labels(stage).observe(seconds)

    def text(self) -> bytes:
        """The exposition format."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        self._cpu.set(used.ru_utime + used.ru_stime)
        return generate_latest(self._registry)
