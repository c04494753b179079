"""Prometheus metrics of one server, in a collector registry of its own."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from components.serve_model.engine import LiveModel
from model_registry.segmentation_report import FLAG_NAMES, SegmentationReport
from spine.storage import short

Stage = Literal["receive", "wait", "read", "predict", "write"]
SwapResult = Literal["loaded", "warm", "failed"]

_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)
_BUCKETS_MM = (0.4, 0.5, 0.625, 0.75, 0.875, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.5, 10.0)
_BUCKETS_VERTEBRAE = (0, 1, 2, 3, 5, 7, 10, 12, 15, 17, 20, 24, 25)
_VERSIONS_TOLD = 8
"""Versions that were live last and keep their own time series; requests of others are counted as ``other``."""


class Telemetry:
    """What is counted. Each label takes few values, whatever clients send and however many versions there will be."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._http = self._counter("http_requests", "Requests by route and status.", "route", "status")
        self._requests = self._counter(
            "segmentation_requests",
            "Segmentation requests by status and the version that answered.",
            "status",
            "version",
        )
        self._stages = self._histogram(
            "segmentation_stage_seconds", "Seconds that a request spends in a stage.", _BUCKETS_S, "stage"
        )
        self.waiting = self._gauge(
            "segmentations_in_progress", "Segmentation requests under way, those being predicted included."
        )
        self.queued = self._gauge("segmentations_queued", "Scans received whole that wait for their turn.")
        self._live = self._gauge("live_model_info", "1 for the model that answers.", "version", "digest")
        self._golden = self._gauge("golden_case_dice", "Golden case Dice of the model that answers.")
        self._golden_failures = self._counter(
            "golden_case_failures", "Versions that could not go live because their golden case failed, tries counted."
        )
        self._swaps = self._counter("model_swaps", "Changes of the model that answers, and failed tries.", "result")
        self.behind = self._gauge(
            "model_behind_ledger", "1 while the model that answers is not the one that a sound ledger names."
        )
        self._flags = self._counter("flags", "Flags for the reader in answers, by their name.", "flag")
        self._spacing = self._histogram(
            "input_spacing_mm",
            "Spacing of the scans that were segmented, along their finest and coarsest axis.",
            _BUCKETS_MM,
            "axis",
        )
        self._vertebrae = self._histogram("vertebrae_found", "Vertebrae in each mask.", _BUCKETS_VERTEBRAE)
        self._audit_lost = self._counter("audit_lines_lost", "Lines of the audit log that could not be written.")
        self._tokens_problem = self._gauge("tokens_file_problem", "1 while the tokens file can't be used as it is now.")
        self._ledger_problem = self._gauge(
            "ledger_problem", "1 while this server can't read the ledger, or finds it unsound."
        )
        self._versions: tuple[int, ...] = ()
        self._begin_at_zero()

    def requested(self, route: str, status: int) -> None:
        """Count one request of any route, by the route's template."""
        self._http.labels(route, str(status)).inc()

    def answered(self, *, status: int, version: int | None) -> None:
        """Count one segmentation request."""
        self._requests.labels(str(status), self._version_label(version)).inc()

    def segmented(self, report: SegmentationReport) -> None:
        """Count what one answer tells: each flag as often as it was raised, the vertebrae, the scan's spacing."""
        for flag in report.raised():
            self._flags.labels(flag if flag in FLAG_NAMES else "other").inc()
        self._vertebrae.observe(len(report.vertebrae))
        self._spacing.labels("finest").observe(min(report.grid.spacing_mm))
        self._spacing.labels("coarsest").observe(max(report.grid.spacing_mm))

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
            self._remember(live.version)
        self._golden.set(live.golden_dice if live is not None else 0)

    def audit_line_lost(self) -> None:
        """Count a line that the audit log lacks."""
        self._audit_lost.inc()

    def watch_tokens(self, problem: Callable[[], str | None]) -> None:
        """Ask ``problem`` at each scrape whether the tokens file can be used."""
        self._tokens_problem.set_function(lambda: problem() is not None)

    def golden_case_failed(self) -> None:
        """Count a version whose golden case kept it from going live."""
        self._golden_failures.inc()

    def watch_ledger(self, problem: Callable[[], str | None]) -> None:
        """Ask ``problem`` at each scrape whether the ledger can be followed."""
        self._ledger_problem.set_function(lambda: problem() is not None)

    def text(self) -> bytes:
        """Return all metrics in the exposition format."""
        return generate_latest(self._registry)

    def _version_label(self, version: int | None) -> str:
        if version is None:
            return "none"
        return str(version) if version in self._versions else "other"

    def _remember(self, version: int) -> None:
        earlier = tuple(known for known in self._versions if known != version)
        self._versions = (*earlier, version)[-_VERSIONS_TOLD:]
        for forgotten in set(earlier) - set(self._versions):
            self._requests.remove_by_labels({"version": str(forgotten)})

    def _begin_at_zero(self) -> None:
        """Let a series be there before its first event: a rate over one that appears at 1 would miss it."""
        for result in ("loaded", "warm", "failed"):
            self._swaps.labels(result)
        for flag in FLAG_NAMES:
            self._flags.labels(flag)

    def _counter(self, name: str, help_text: str, *labels: str) -> Counter:
        return Counter(f"spineline_{name}", help_text, labels, registry=self._registry)

    def _gauge(self, name: str, help_text: str, *labels: str) -> Gauge:
        return Gauge(f"spineline_{name}", help_text, labels, registry=self._registry)

    def _histogram(self, name: str, help_text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"spineline_{name}", help_text, labels, buckets=buckets, registry=self._registry)
