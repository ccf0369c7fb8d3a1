"""What Prometheus collects of this process: labels are few and never ids, names or addresses."""

from __future__ import annotations

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

CONTENT_TYPE = CONTENT_TYPE_LATEST
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """The counters of one server."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        labels = ("method", "route", "status")
        self.requests = Counter("deepfake_requests", "Requests answered.", labels, registry=registry)
        self.problems = Counter("deepfake_problems", "Requests refused, by problem.", ("problem",), registry=registry)
        self.inside = Gauge("deepfake_requests_inside", "Uploads that arrive, wait or are computed.", registry=registry)
        stages = {"labelnames": ("stage",), "buckets": SECONDS, "registry": registry}
        self.seconds = Histogram("deepfake_stage_seconds", "Seconds of decoding, waiting and inference.", **stages)
        self.verdicts = Counter("deepfake_verdicts", "Verdicts given.", ("verdict",), registry=registry)
        self.cautions = Counter("deepfake_cautions", "Reasons to mistrust a result.", ("caution",), registry=registry)

    def text(self) -> bytes:
        """In the exposition format of Prometheus."""
        return generate_latest(self.registry)
