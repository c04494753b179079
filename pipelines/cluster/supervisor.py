"""The supervisor of runs that nobody follows: it retries failed ones and ends the MLflow runs of ended ones.

It keeps no state of its own. How often a task failed is in Kubeflow Pipelines' history, so a supervisor that was
restarted continues where it was, and one that runs beside people who follow their runs does nothing twice.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pipelines.cluster.connection import Connection
from pipelines.cluster.errors import ClusterError
from pipelines.cluster.graph import Graph
from pipelines.cluster.kubernetes_access import Cluster, UnaskedError
from pipelines.cluster.lost_runs import RestartNeededError
from pipelines.cluster.mlflow_runs import Ending
from pipelines.cluster.pods import PodState, pods_of
from pipelines.cluster.run_retries import RunRetries
from pipelines.cluster.runs import get_run, graph_of_run, recent_runs
from pipelines.cluster.steps import ENDED, steps_of, was_stopped

ACTOR = "supervisor"
PIPELINES = ("train-candidate", "promote-approved", "roll-back")
RECENT_S = 3600.0
"""Runs that failed longer ago are left alone: Kubernetes has deleted their pods, and with them the reason."""
_LOG = logging.getLogger(__name__)


@dataclass
class Counts:
    """What the supervisor did since it started."""

    looks: int = 0
    failed_looks: int = 0
    retries: int = 0
    given_up: int = 0
    """Failed runs that are not retried: the failure is permanent, or the retries are used up."""
    last_look_at: float = 0.0
    """Unix time of the last look that succeeded."""


@dataclass
class Supervisor:
    """Supervises the runs of our pipelines in one namespace."""

    connection: Connection
    cluster: Cluster | None
    end_mlflow_runs: Callable[[str, Ending], None] | None
    """Ends the MLflow runs of a run of Kubeflow, given by its id; None without a tracking server."""
    counts: Counts = field(default_factory=Counts)
    _graphs: dict[str, Graph] = field(default_factory=dict)
    _retries: dict[str, RunRetries] = field(default_factory=dict)
    _done: dict[str, int] = field(default_factory=dict)
    """Ended runs that were handled, by id, with the length of their history."""

    def look(self) -> None:
        """Look at all recent runs once; errors of one run are logged and leave the others alone."""
        self.counts.looks += 1
        listed = list(recent_runs(self.connection))
        for listed_run in listed:
            try:
                self._look_at(listed_run)
            except (ClusterError, UnaskedError) as error:
                _LOG.warning("run %s: %s", listed_run.run_id, error)
        present = {run.run_id for run in listed}
        self._retries = {run_id: one for run_id, one in self._retries.items() if run_id in present}
        self._done = {run_id: length for run_id, length in self._done.items() if run_id in present}
        self.counts.last_look_at = time.time()

    def _look_at(self, listed: Any) -> None:
        if listed.state not in ENDED or self._done.get(listed.run_id) == _changes(listed):
            return
        graph = self._graph(listed)
        if graph.pipeline not in PIPELINES:
            self._done[listed.run_id] = _changes(listed)
            return
        run = get_run(self.connection, listed.run_id)
        if run.state == "FAILED" and not was_stopped(run) and _is_recent(run):
            outcome = self._retry(run, graph)
            if outcome == "waiting":
                return
            if outcome == "retried":
                self.counts.retries += 1
                return
            self.counts.given_up += 1
        self._end_mlflow_runs(run)
        self._done[run.run_id] = _changes(run)

    def _retry(self, run: Any, graph: Graph) -> str:
        def name(step: str, number: int | None) -> str:
            folds = graph.folds(step, number)
            return f"{step} ({folds})" if folds else step

        def report(line: str) -> None:
            _LOG.info("run %s: %s", run.run_id, line)

        retries = self._retries.setdefault(
            run.run_id,
            RunRetries(connection=self.connection, cluster=self.cluster, actor=ACTOR, report=report, name=name),
        )
        before = retries.count
        try:
            outcome = retries.consider(run, steps=steps_of(run, graph), graph=graph, pods=self._pods(run.run_id))
        except RestartNeededError as error:
            _LOG.warning("run %s: not retried: %s", run.run_id, error)
            return "final"
        if outcome == "final":
            reasons = "; ".join(f"{name(one.step, one.number)}: {one.message or one.kind}" for one in retries.failures)
            _LOG.warning("run %s: not retried: %s", run.run_id, reasons or "no failed task was found")
        return outcome if outcome != "retried" or retries.count > before else "waiting"

    def _pods(self, run_id: str) -> list[PodState]:
        try:
            return pods_of(self.cluster, run_id) if self.cluster else []
        except UnaskedError as error:
            _LOG.warning("run %s: pods are not read: %s", run_id, error)
            return []

    def _end_mlflow_runs(self, run: Any) -> None:
        if self.end_mlflow_runs is None or run.state not in ("FAILED", "CANCELED"):
            return
        self.end_mlflow_runs(run.run_id, "KILLED" if was_stopped(run) else "FAILED")

    def _graph(self, run: Any) -> Graph:
        reference = run.pipeline_version_reference
        key = (reference.pipeline_version_id if reference else None) or run.run_id
        if key not in self._graphs:
            self._graphs[key] = graph_of_run(self.connection, run)
        return self._graphs[key]


def _changes(run: Any) -> int:
    return len(run.state_history or [])


def _is_recent(run: Any) -> bool:
    ended = run.finished_at
    # A run that was put back to work and failed within a second can be without a time.
    return ended is None or (datetime.now(UTC) - ended).total_seconds() < RECENT_S
