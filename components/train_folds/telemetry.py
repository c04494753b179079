"""Prometheus metrics of a training: a textfile a fold, and one port of the group that answers with all of them."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry, start_http_server, write_to_textfile
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.parser import text_fd_to_metric_families
from prometheus_client.registry import Collector

from spine.errors import SpinelineError

METRICS_FILE = "metrics.prom"
_LOG = logging.getLogger(__name__)
_PREFIX = "spineline_training_"
_GAUGES = {
    "epoch": "Epochs trained.",
    "epochs": "Epochs that the training has.",
    "epoch_seconds": "Seconds that the last epoch took.",
    "loss": "Mean training loss of the last epoch.",
    "pseudo_dice": "nnU-Net's pseudo-Dice of the last epoch: on random patches, never evidence.",
    "last_checkpoint_timestamp_seconds": "When the newest checkpoint was written, in seconds since 1970.",
    "device_memory_bytes": "Peak memory held on the GPU; on the CPU, memory of the process.",
    "finished": "1 once the training is done.",
}
_COUNTERS = {
    "resumes": "Times that the training went on from a checkpoint, over all its processes.",
    "gradient_overflows": "Steps of this process that were left out because a gradient overflowed.",
}


class MetricsPortError(SpinelineError):
    """The port for metrics can't be listened on."""


@dataclass(frozen=True)
class EpochMetrics:
    """What an epoch came to; ``gradient_overflows`` are counted since the process began."""

    epoch: int
    seconds: float
    loss: float
    pseudo_dice: float
    gradient_overflows: int
    memory_bytes: int


class FoldTelemetry(Collector):
    """Metrics of one fold, written as a whole to ``metrics.prom`` in its folder whenever one changes.

    What is not known yet (the loss before the first epoch) is left out. node-exporter's textfile collector can read
    the file, and ``serve_group`` answers with it. A file that can't be written is no reason to stop a training.
    """

    def __init__(self, folder: Path, *, fold: int, candidate: str, epochs: int, resumes: int) -> None:
        self._file = folder / METRICS_FILE
        self._labels = {"candidate": candidate, "fold": str(fold)}
        self._values: dict[str, float] = {}
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self._update({"epochs": epochs, "resumes": resumes, "gradient_overflows": 0, "finished": 0})

    def begins_at(self, epoch: int) -> None:
        """Show how many epochs are trained as this process begins."""
        self._update({"epoch": epoch})

    def epoch_ended(self, epoch: EpochMetrics) -> None:
        """Show an epoch."""
        self._update(
            {
                "epoch": epoch.epoch,
                "epoch_seconds": epoch.seconds,
                "loss": epoch.loss,
                "pseudo_dice": epoch.pseudo_dice,
                "gradient_overflows": epoch.gradient_overflows,
                "device_memory_bytes": epoch.memory_bytes,
            }
        )

    def checkpoint_saved(self) -> None:
        """Show that a checkpoint has been written now."""
        self._update({"last_checkpoint_timestamp_seconds": time.time()})

    def finished(self) -> None:
        """Show that the training is done."""
        self._update({"finished": 1})

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics whose value is known."""
        names, values = list(self._labels), list(self._labels.values())
        for name in (name for name in _GAUGES if name in self._values):
            gauge = GaugeMetricFamily(_PREFIX + name, _GAUGES[name], labels=names)
            gauge.add_metric(values, self._values[name])
            yield gauge
        for name in (name for name in _COUNTERS if name in self._values):
            counter = CounterMetricFamily(_PREFIX + name, _COUNTERS[name], labels=names)
            counter.add_metric(values, self._values[name])
            yield counter

    def _update(self, values: Mapping[str, float]) -> None:
        self._values.update(values)
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_to_textfile(str(self._file), self._registry)
        except OSError as error:
            _LOG.warning("%s: metrics could not be written (%s)", self._file, error.strerror)


@contextmanager
def serve_group(port: int | None, files: Sequence[Path]) -> Iterator[None]:
    """Answer Prometheus on ``port`` with what ``files`` hold at each scrape, those that are there, for the block.

    Without a port nothing is served. Raises MetricsPortError where the port can't be had.
    """
    if port is None:
        yield
        return
    registry = CollectorRegistry()
    registry.register(_Merged(files))
    try:
        server, thread = start_http_server(port, registry=registry)
    except OSError as error:
        message = (error.strerror or "refused").lower()
        raise MetricsPortError(
            f"port {port}: {message}; expected a free port for metrics (SPINELINE_METRICS_PORT)"
        ) from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Merged(Collector):
    """The metrics of several textfiles, each family once with the samples of all."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files

    def collect(self) -> Iterator[Metric]:
        merged: dict[str, Metric] = {}
        for family in (family for file in self._files for family in _families(file)):
            known = merged.setdefault(family.name, family)
            if known is not family:
                known.samples.extend(family.samples)
        return iter(merged.values())


def _families(file: Path) -> list[Metric]:
    try:
        with file.open(encoding="utf-8") as stream:
            return list(text_fd_to_metric_families(stream))
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        _LOG.warning("%s: left out of the metrics (%s)", file, error)
        return []
