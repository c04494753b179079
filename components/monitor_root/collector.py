"""One look at a root as Prometheus scrapes it: seldom enough to be cheap, and never failing as a whole."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, get_args

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from components.monitor_root.families import gauge, of_ledger, of_mlflow, of_replicas, of_training, of_verdicts
from components.monitor_root.folds import Trainings
from components.monitor_root.ledger import RegistryWatch
from components.monitor_root.reconciler import Reconciler
from components.monitor_root.verdicts import Verdicts
from spine.errors import MissingPathError, SpinelineError
from spine.settings import Settings

Part = Literal["root", "training", "verdicts", "ledger", "replicas"]
_LOG = logging.getLogger(__name__)


class MlflowCollector(Collector):
    """Metrics of the last comparison of MLflow with the ledger."""

    def __init__(self, reconciler: Reconciler) -> None:
        self._reconciler = reconciler

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of the last comparison."""
        yield from of_mlflow(self._reconciler.standing())


class RootCollector(Collector):
    """Looks at a root when it is scraped, at most every ``pause_s``; who scrapes meanwhile gets what was seen.

    A part of the root that can't be read is left out and told by ``spineline_monitor_problem``; the others go on.
    """

    def __init__(self, root: Path, services: Settings, *, days: float, pause_s: float) -> None:
        trainings, verdicts = Trainings(root, days=days), Verdicts(root, days=days)
        registry = RegistryWatch(root, services)
        self._root, self._pause_s = root, pause_s
        self._looks: dict[Part, Callable[[], Iterator[Metric]]] = {
            "training": lambda: of_training(trainings.look()),
            "verdicts": lambda: of_verdicts(verdicts.look()),
            "ledger": lambda: of_ledger(registry.look()),
            "replicas": lambda: of_replicas(registry.reports()),
        }
        self._turn = threading.Lock()
        self._seen: list[Metric] = []
        self._seen_at: float | None = None
        self._problems: dict[Part, str] = {}

    def collect(self) -> Iterator[Metric]:
        """Yield what was seen last, after another look where one is due."""
        with self._turn:
            if self._seen_at is None or time.monotonic() - self._seen_at >= self._pause_s:
                self._seen = self._look()
                self._seen_at = time.monotonic()
            seen = self._seen
        yield from seen

    def _look(self) -> list[Metric]:
        began = time.perf_counter()
        found, problems = self._parts() if self._root.is_dir() else ([], {"root": self._is_away()})
        self._tell(problems)
        rows = [((part,), float(part in problems)) for part in get_args(Part)]
        took_s = time.perf_counter() - began
        return [
            *found,
            gauge("monitor_problem", "1 while a part of the root can't be read.", ("part",), rows),
            gauge("monitor_look_seconds", "What the last look took.", (), [((), took_s)]),
        ]

    def _parts(self) -> tuple[list[Metric], dict[Part, str]]:
        found: list[Metric] = []
        problems: dict[Part, str] = {}
        for part, look in self._looks.items():
            try:
                found += list(look())
            except (SpinelineError, OSError) as error:
                problems[part] = str(error)
        return found, problems

    def _is_away(self) -> str:
        return str(MissingPathError(self._root, expected="the shared root, or its share"))

    def _tell(self, problems: dict[Part, str]) -> None:
        for part, message in problems.items():
            if self._problems.get(part) != message:
                _LOG.warning("%s: can't be read and is left out: %s", part, message)
        self._problems = problems
