"""Prometheus metrics of one server, in a collector registry of its own."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from components.serve_model.engine import LiveModel
from spine.storage import short

Stage = Literal["read", "predict", "write"]
SwapResult = Literal["loaded", "warm", "failed"]

_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)


class Telemetry:
    """What is counted; labels take few values: a status class, a version, a stage, a result."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "spineline_segmentation_requests",
            "Segmentation requests by status class and the version that answered.",
            ["status", "version"],
            registry=self._registry,
        )
        self._stages = Histogram(
            "spineline_segmentation_stage_seconds",
            "Seconds that a request spends in a stage.",
            ["stage"],
            buckets=_BUCKETS_S,
            registry=self._registry,
        )
        self.waiting = Gauge(
            "spineline_segmentations_in_progress",
            "Segmentation requests under way, the one being predicted included.",
            registry=self._registry,
        )
        self._live = Gauge(
            "spineline_live_model_info", "1 for the model that answers.", ["version", "digest"], registry=self._registry
        )
        self._golden = Gauge(
            "spineline_golden_case_dice", "Golden case Dice of the model that answers.", registry=self._registry
        )
        self._swaps = Counter(
            "spineline_model_swaps", "Changes of the model that answers.", ["result"], registry=self._registry
        )
        self.behind = Gauge(
            "spineline_model_behind_ledger",
            "1 while the model that answers is not the one that a sound ledger names.",
            registry=self._registry,
        )
        for result in ("loaded", "warm", "failed"):
            self._swaps.labels(result)

    def answered(self, *, status: int, version: int | None) -> None:
        """Count one segmentation request."""
        self._requests.labels(f"{status // 100}xx", "none" if version is None else str(version)).inc()

    @contextmanager
    def stage(self, stage: Stage) -> Iterator[None]:
        """Time a stage, failed or not."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._stages.labels(stage).observe(time.perf_counter() - started)

    def swapped(self, result: SwapResult, *, live: LiveModel | None) -> None:
        """Count a swap and show which model answers after it."""
        self._swaps.labels(result).inc()
        self.shows(live)

    def shows(self, live: LiveModel | None) -> None:
        """Show which model answers."""
        self._live.clear()
        if live is not None:
            self._live.labels(str(live.version), short(live.digest)).set(1)
        self._golden.set(live.golden_dice if live is not None else 0)

    def text(self) -> bytes:
        """Return all metrics in the exposition format."""
        return generate_latest(self._registry)
