"""A run followed to its end: its steps shown as they move, its pods looked after, lost connections waited out."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pipelines.cluster.connection import Connection
from pipelines.cluster.errors import ClusterError, NotThereError, RunFailedError, goes_on
from pipelines.cluster.graph import Graph
from pipelines.cluster.kubernetes_access import Cluster
from pipelines.cluster.patience import Patience
from pipelines.cluster.pod_watch import PodWatch
from pipelines.cluster.pods import last_words
from pipelines.cluster.runs import graph_of_run, look_at
from pipelines.cluster.steps import ENDED, StepState, failure_of, steps_of
from spine.progress import ProgressEvent

POLL_S = 5.0
PATIENCE = Patience(lost_s=math.inf, odd_s=300.0)
_MEANING = {"PENDING": "waits", "RUNNING": "runs", "SUCCEEDED": "done", "FAILED": "failed", "SKIPPED": "skipped"}


@dataclass
class Follower:
    """Whoever follows one run."""

    connection: Connection
    run_id: str
    show: Callable[[ProgressEvent], None]
    tell: Callable[[str], None]
    cluster: Cluster | None
    """The run's pods are looked at where there is one."""
    command: Callable[[str, str], str]
    """Returns how a command, by its name, is called on a run."""
    state: str = "PENDING"
    """What the last look found."""
    _graph: Graph | None = None
    _shown: dict[tuple[str, str], tuple[float, str]] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Watch the pods beside the run."""
        self._watch = PodWatch(cluster=self.cluster, run_id=self.run_id, tell=self._tell_once, name=self._name)

    @property
    def graph(self) -> Graph:
        """The graph of the run's pipeline; empty until it could be read."""
        return self._graph or Graph()

    def follow(self) -> str:
        """Return how the run ended, SUCCEEDED or SKIPPED.

        Raises RunFailedError with the failing step's name and message where it was FAILED or CANCELED, NotThereError
        where it was deleted. Ctrl-C ends the following; the run itself goes on.
        """
        while True:
            run = self._look()
            self.state = str(run.state or "PENDING")
            steps = steps_of(run, self.graph)
            for found in self._watch.look(has_begun=bool(steps), is_last=self.state in ENDED):
                self._event(found.step, found.task, found.done, found.total, found.note)
            self._show(steps)
            if self.state in ENDED:
                return self._end(run, steps)
            time.sleep(POLL_S)

    def _look(self) -> Any:
        """Return the run as it is now, however long it takes to reach it."""
        try:
            run = self.connection.insist(
                lambda: look_at(self.connection, self.run_id), on_wait=self._wait, patience=PATIENCE
            )
        except NotThereError as error:
            gone = f"run {self.run_id} is no longer at {self.connection.place}: it was deleted"
            raise NotThereError(f"{gone}; expected the id of a run") from error
        except ClusterError as error:
            raise type(error)(f"{error}; {self._goes_on()}") from error
        if self._graph is None:
            self._graph = self._read_graph(run)
        return run

    def _read_graph(self, run: Any) -> Graph | None:
        """Return the graph of the run, None where it can't be had now: the next look asks again."""
        try:
            return graph_of_run(self.connection, run)
        except ClusterError:
            return None

    def _goes_on(self) -> str:
        return goes_on(self.run_id, follow=self.command("follow", self.run_id))

    def _wait(self, line: str) -> None:
        self.tell(line)
        self._tell_once("the run goes on while the connection is lost")

    def _end(self, run: Any, steps: list[StepState]) -> str:
        if run.state in ("SUCCEEDED", "SKIPPED"):
            return str(run.state)
        again = self.command("retry", self.run_id)
        if run.state == "CANCELED":
            at = [self._name(one.step, one.number) for one in steps if one.state not in ("SUCCEEDED", "SKIPPED")]
            where = f" at {', '.join(dict.fromkeys(at))}" if at else ""
            raise RunFailedError(f"run {self.run_id} was CANCELED{where}; `{again}` goes on from there")
        raise RunFailedError(f"run {self.run_id} FAILED: {self._why(run, steps)}; `{again}` runs again what failed")

    def _why(self, run: Any, steps: list[StepState]) -> str:
        failed = failure_of(steps)
        if failed and failed.message:
            return f"step '{self._name(failed.step, failed.number)}': {failed.message}"
        # An earlier attempt of a step that went well in the end explains nothing.
        pods = [pod for pod in self._watch.pods if pod.phase == "Failed" and (not failed or pod.step == failed.step)]
        for pod in reversed(pods):
            if self.cluster and (words := last_words(self.cluster, pod)):
                return f"step '{self._name(pod.step, pod.number)}': {words}"
        told = run.error.message if run.error else ""
        if failed:
            return f"step '{self._name(failed.step, failed.number)}': {told or 'its log says why'}"
        return told or "its page says why"

    def _show(self, steps: list[StepState]) -> None:
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
        self._event(one.step, task, float(one.state == "SUCCEEDED"), 1, _MEANING.get(one.state, one.state.lower()))

    def _show_together(self, name: str, tasks: list[StepState]) -> None:
        """Show tasks that the server doesn't tell apart as one bar, and what is known of each by its pod."""
        counts = {state: sum(one.state == state for one in tasks) for state in ("RUNNING", "PENDING", "FAILED")}
        note = ", ".join(f"{count} {_MEANING[state]}" for state, count in counts.items() if count)
        total = max(len(tasks), len(self.graph.rounds.get(name, ())))
        self._event(name, "tasks", sum(one.state == "SUCCEEDED" for one in tasks), total, note)
        for pod in self._watch.pods:
            if pod.step == name and pod.number is not None:
                self._show_one(StepState(name, pod.number, pod.phase.upper()))

    def _event(self, step: str, task: str, done: float, total: float, note: str) -> None:
        if self._shown.get((step, task)) != (done, note):
            self._shown[step, task] = (done, note)
            self.show(ProgressEvent(step=step, task=task, done=done, total=total, note=note, at=time.time()))

    def _tell_once(self, line: str) -> None:
        if line not in self._told:
            self._told.add(line)
            self.tell(line)

    def _name(self, step: str, number: int | None) -> str:
        folds = self.graph.folds(step, number)
        return f"{step} ({folds})" if folds else step
