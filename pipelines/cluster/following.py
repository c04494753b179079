"""A run followed to its end: steps shown as they move, failures retried, lost connections waited out."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipelines.cluster.connection import Connection
from pipelines.cluster.errors import ClusterError, NotAllowedError, NotThereError, RunFailedError, goes_on
from pipelines.cluster.failures import Failure
from pipelines.cluster.graph import Graph
from pipelines.cluster.interrupts import raise_if_interrupted
from pipelines.cluster.kubernetes_access import Cluster
from pipelines.cluster.lost_runs import LostWatch
from pipelines.cluster.pod_watch import PodWatch
from pipelines.cluster.reconnection import Patience
from pipelines.cluster.run_records import stopped_by
from pipelines.cluster.run_retries import Outcome, RunRetries
from pipelines.cluster.runs import get_run, graph_of_run
from pipelines.cluster.steps import ENDED, StepState, failures_of, steps_of, was_stopped
from spine.progress import ProgressEvent

POLL_S = 5.0
PATIENCE = Patience(lost_s=math.inf, odd_s=300.0)
_MEANING = {"PENDING": "waits", "RUNNING": "runs", "SUCCEEDED": "done", "FAILED": "failed", "SKIPPED": "skipped"}


@dataclass
class Follower:
    """Follows one run."""

    connection: Connection
    run_id: str
    show: Callable[[ProgressEvent], None]
    report: Callable[[str], None]
    cluster: Cluster | None
    """Kubernetes API of the run's pods; None where it can't be used."""
    command: Callable[[str, str], str]
    """Returns the command line that applies a command, given by name, to a run."""
    actor: str
    """Who follows: recorded with each retry."""
    state: str = "PENDING"
    """State as of the last look."""
    _graph: Graph | None = None
    _shown: dict[tuple[str, str], tuple[float, str]] = field(default_factory=dict)
    _reported: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Watch the pods beside the run, and its failures."""
        self._watch = PodWatch(cluster=self.cluster, run_id=self.run_id, report=self._report_once, name=self._name)
        self._lost = LostWatch(cluster=self.cluster, report=self._report_once)
        self._retries = RunRetries(
            connection=self.connection, cluster=self.cluster, actor=self.actor, report=self.report, name=self._name
        )

    @property
    def graph(self) -> Graph:
        """The graph of the run's pipeline; empty until it could be read."""
        return self._graph or Graph()

    def follow(self) -> str:
        """Return the state in which the run ended, SUCCEEDED or SKIPPED.

        Failures that another attempt can overcome are retried. Raises RunFailedError with the failing step's name and
        message where the run FAILED or was stopped, NotThereError where it was deleted. Ctrl-C ends the following;
        the run itself goes on.
        """
        while True:
            run = self._look()
            had_ended, self.state = self.state in ENDED, str(run.state or "PENDING")
            steps = steps_of(run, self.graph)
            if not had_ended or self.state not in ENDED:
                for found in self._watch.look(steps, self.graph, is_last=self.state in ENDED):
                    self._event(found.step, found.task, found.done, found.total, found.note)
                self._show(steps)
            if self.state not in ENDED:
                self._lost.look(run, has_pods=bool(self._watch.pods))
            if self.state in ENDED and self._outcome(run, steps) == "final":
                return self._end(run, steps)
            time.sleep(POLL_S)
            raise_if_interrupted()

    def _look(self) -> Any:
        """Return the run as it is now, however long it takes to reach it."""
        try:
            run = self.connection.insist(
                lambda: get_run(self.connection, self.run_id), on_wait=self._wait, patience=PATIENCE
            )
        except NotThereError as error:
            gone = f"run {self.run_id} is no longer at {self.connection.place}: it was deleted"
            raise NotThereError(f"{gone}; give the id of another run") from error
        except ClusterError as error:
            raise type(error)(f"{error}; {self._goes_on()}") from error
        if self._graph is None:
            self._graph = self._read_graph(run)
        return run

    def _read_graph(self, run: Any) -> Graph | None:
        """Return the graph of the run, None where it can't be read now: the next look tries again."""
        try:
            return graph_of_run(self.connection, run)
        except ClusterError:
            return None

    def _outcome(self, run: Any, steps: Sequence[StepState]) -> Outcome:
        if run.state != "FAILED":
            return "final"
        try:
            return self.connection.insist(
                lambda: self._retries.consider(run, steps=steps, graph=self.graph, pods=self._watch.pods),
                on_wait=self._wait,
                patience=PATIENCE,
            )
        except NotAllowedError as error:
            self.report(f"not retried: {error}")
            return "final"

    def _goes_on(self) -> str:
        return goes_on(self.run_id, follow=self.command("follow", self.run_id))

    def _wait(self, line: str) -> None:
        self.report(line)
        self._report_once("the run goes on while the connection is lost")

    def _end(self, run: Any, steps: Sequence[StepState]) -> str:
        if run.state in ("SUCCEEDED", "SKIPPED"):
            return str(run.state)
        again = self.command("retry", self.run_id)
        if was_stopped(run):
            unfinished = [one for one in steps if one.state not in ("SUCCEEDED", "SKIPPED")]
            names = dict.fromkeys(self._name(one.step, one.number) for one in unfinished if one.state != "PENDING")
            where = f" at {', '.join(names)}" if names else ""
            raise RunFailedError(
                f"run {self.run_id} was {stopped_by(run, self.cluster)}{where}; `{again}` continues it"
            )
        reason = self._why(run, steps)
        if any(one.kind == "out of memory" for one in self._retries.failures):
            raise RunFailedError(f"run {self.run_id} FAILED: {reason}")
        raise RunFailedError(f"run {self.run_id} FAILED: {reason}; `{again}` runs again what failed")

    def _why(self, run: Any, steps: Sequence[StepState]) -> str:
        reported = (run.error.message or "") if run.error else ""
        failures = self._retries.failures
        if failures:
            return "; ".join(self._failure_text(one, reported) for one in failures[:5])
        if failed := failures_of(steps):
            return self._failure_text(Failure(failed[0].step, failed[0].number, "unknown", failed[0].message), reported)
        return reported or f"no reason reported; `{self.command('status', self.run_id)}` lists its steps"

    def _failure_text(self, one: Failure, reported: str) -> str:
        logs = self.command("runs logs", self.run_id)
        reason = one.message or reported or f"no reason reported; read its log with `{logs} {one.step}`"
        retried = f" (after {one.failures - 1} of {self.graph.retries.get(one.step, 0)} retries)"
        return f"step '{self._name(one.step, one.number)}': {reason}{retried if one.is_retried else ''}"

    def _show(self, steps: Sequence[StepState]) -> None:
        for name in dict.fromkeys(one.step for one in steps):
            tasks = [one for one in steps if one.step == name]
            if len(tasks) > 1 and any(one.number is None for one in tasks):
                self._show_together(name, tasks)
            else:
                for one in tasks:
                    self._show_one(one)
        done = sum(one.state == "SUCCEEDED" for one in steps)
        self._event("run", self.run_id[:8], done, max(self.graph.total, len(steps)), self.state)

    def _show_one(self, one: StepState) -> None:
        task = self.graph.folds(one.step, one.number) or "step"
        note = _MEANING.get(one.state, one.state.lower())
        if one.state in ("RUNNING", "PENDING"):
            queue = self._watch.queue_of(one.step, one.number)
            note = f"waits in queue {queue}" if queue else self._watch.waits_for(one.step, one.number) or note
        self._event(one.step, task, float(one.state == "SUCCEEDED"), 1, note)

    def _show_together(self, name: str, tasks: Sequence[StepState]) -> None:
        """Show tasks that the server does not tell apart as one line, and each pod of them."""
        counts = {state: sum(one.state == state for one in tasks) for state in ("RUNNING", "PENDING", "FAILED")}
        note = ", ".join(f"{count} {_MEANING[state]}" for state, count in counts.items() if count)
        total = max(len(tasks), len(self.graph.rounds.get(name, ())))
        self._event(name, "tasks", sum(one.state == "SUCCEEDED" for one in tasks), total, note)
        for pod in self._watch.pods:
            if pod.step == name and pod.number is not None and not pod.node.is_driver:
                self._show_one(StepState(name, pod.number, pod.phase.upper()))

    def _event(self, step: str, task: str, done: float, total: float, note: str) -> None:
        if self._shown.get((step, task)) != (done, note):
            self._shown[step, task] = (done, note)
            self.show(ProgressEvent(step=step, task=task, done=done, total=total, note=note, at=time.time()))

    def _report_once(self, line: str) -> None:
        if line not in self._reported:
            self._reported.add(line)
            self.report(line)

    def _name(self, step: str, number: int | None) -> str:
        folds = self.graph.folds(step, number)
        return f"{step} ({folds})" if folds else step
