"""Logs of a run's steps, from its pods while they exist, else from Kubeflow's archive."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pipelines.cluster.connection import Connection
from pipelines.cluster.errors import UnknownRunError
from pipelines.cluster.failures import archived_task_log
from pipelines.cluster.graph import Graph, step_name
from pipelines.cluster.kubernetes_access import Cluster, UnaskedError
from pipelines.cluster.pod_logs import pod_log
from pipelines.cluster.pods import PodState, pods_of
from pipelines.cluster.runs import get_run
from pipelines.cluster.steps import ENDED, StepState, steps_of

POLL_S = 5.0
_FOLD_STEP = "train_folds"


@dataclass
class RunLogs:
    """Reader of the logs of a run, of all its steps or of one."""

    connection: Connection
    cluster: Cluster | None
    graph: Graph
    step: str | None = None
    fold: int | None = None
    _printed: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a step or fold that the pipeline does not have."""
        if self.step is not None:
            self.step = step_name(self.step)
            if self.graph.steps and self.step not in self.graph.steps:
                raise UnknownRunError(
                    f"step '{self.step}' is not in this run; its steps: {', '.join(self.graph.steps)}"
                )
        if self.fold is not None and self._number() is None:
            raise UnknownRunError(f"fold {self.fold} is not trained in this run; omit --fold to read all logs")

    def read(self, run: Any) -> Iterator[str]:
        """Yield the lines of each chosen task, under a heading that names it; raises UnknownRunError without any."""
        found = False
        for title, lines in self._logs(run):
            found = True
            yield f"==> {title} <=="
            yield from lines
        if not found:
            chosen = self.step or "a step"
            raise UnknownRunError(
                f"run {run.run_id} has no log of {chosen}: it has not begun, or pods and archived logs were deleted"
            )

    def follow(self, run_id: str, report: Callable[[str], None]) -> Iterator[str]:
        """Yield lines as they are written until the run ends; lines that were yielded are not repeated."""
        while True:
            run = self.connection.insist(lambda: get_run(self.connection, run_id), on_wait=report)
            for title, lines in self._logs(run):
                seen = self._printed.get(title, 0)
                if lines[seen:]:
                    yield f"==> {title} <=="
                    yield from lines[seen:]
                self._printed[title] = max(seen, len(lines))
            if run.state in ENDED:
                return
            time.sleep(POLL_S)

    def _logs(self, run: Any) -> Iterator[tuple[str, list[str]]]:
        pods = self._pods(run.run_id)
        number = self._number()
        for one in steps_of(run, self.graph):
            if self.step not in (None, one.step) or (number is not None and one.number not in (None, number)):
                continue
            if self.fold is not None and one.step != _FOLD_STEP:
                continue
            yield from self._logs_of(run, one, [pod for pod in pods if _is_of(pod, one, number)])

    def _logs_of(self, run: Any, one: StepState, pods: list[PodState]) -> Iterator[tuple[str, list[str]]]:
        newest = {pod.number: pod for pod in pods}
        for pod in newest.values():
            if self.cluster and (lines := pod_log(self.cluster, pod, tail_lines=None)):
                yield self._title(one.step, pod.number, pod.name), lines
                return
        if one.state != "PENDING" and (lines := archived_task_log(self.connection, run, one)):
            yield self._title(one.step, one.number, "archived"), lines

    def _pods(self, run_id: str) -> list[PodState]:
        if self.cluster is None:
            return []
        try:
            return [pod for pod in pods_of(self.cluster, run_id) if pod.phase != "Pending"]
        except UnaskedError:
            return []  # the archive may have them

    def _number(self) -> int | None:
        """Return the iteration that trains the chosen fold; None where none is chosen, or none trains it."""
        if self.fold is None:
            return None
        for number, argument in enumerate(self.graph.rounds.get(_FOLD_STEP, ())):
            if str(self.fold) in argument.strip("[]").replace(" ", "").split(","):
                return number
        return None

    def _title(self, step: str, number: int | None, source: str) -> str:
        folds = self.graph.folds(step, number)
        return f"{step}{f' ({folds})' if folds else ''}: {source}"


def _is_of(pod: PodState, one: StepState, number: int | None) -> bool:
    if pod.step != one.step or one.number not in (None, pod.number):
        return False
    is_failed_driver = one.node.endswith("-driver")
    return pod.node.is_driver == is_failed_driver and (number is None or pod.number == number)
