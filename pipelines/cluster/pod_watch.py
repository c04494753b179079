"""The pods of a run that is followed: progress from their logs, and what keeps one of them waiting."""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from pipelines.cluster.failures import explain_pod
from pipelines.cluster.graph import Graph
from pipelines.cluster.kubernetes_access import Cluster, UnaskedError
from pipelines.cluster.pod_logs import pod_log, progress_in
from pipelines.cluster.pods import PodState, pods_of
from pipelines.cluster.steps import ROOT_DRIVER, StepState
from pipelines.cluster.workflow import WaitingAttempt, waiting_attempts, workflow_nodes
from spine.progress import ProgressEvent

PODS_POLL_S = 20.0
"""Seconds between two looks at pods: one that can't start is reported within a minute."""
STILL_S = 60.0
"""How long nothing may happen before the reason is reported."""
_ACTIVE = ("Pending", "Running")


@dataclass
class PodWatch:
    """Looks at the pods of one run."""

    cluster: Cluster | None
    """None where pods can't be read."""
    run_id: str
    report: Callable[[str], None]
    """Called with each line; a line that was reported is not repeated."""
    name: Callable[[str, int | None], str]
    """Returns the name of a step and iteration."""
    pods: list[PodState] = field(default_factory=list)
    """Pods as of the last look."""
    waiting: list[WaitingAttempt] = field(default_factory=list)
    """Steps that Argo tries again after a wait, as of the last look."""
    _looked_at: float = -math.inf
    _still_since: dict[str, float] = field(default_factory=dict)
    _stuck: set[tuple[str, str]] = field(default_factory=set)
    _queued: dict[tuple[str, str], int] = field(default_factory=dict)
    _workflows_are_readable: bool = True

    def look(self, steps: Sequence[StepState], graph: Graph, *, is_last: bool) -> Iterator[ProgressEvent]:
        """Yield progress found in logs, unless the last look was a moment ago; report what can't start and why."""
        if self.cluster is None or (not is_last and time.monotonic() - self._looked_at < PODS_POLL_S):
            return
        self._looked_at = time.monotonic()
        try:
            self.pods = pods_of(self.cluster, self.run_id)
        except UnaskedError as error:
            self.report(f"pods are not watched: {error}")
            return
        if not self.pods and not steps and not is_last and self._is_still("no pod"):
            self.report("no pod yet: Kubeflow has not made the first; it may wait for its controller or for a quota")
        for pod in self.pods:
            self._report_stuck(pod)
            self._report_failed_driver(self.cluster, pod)
        self._report_queues()
        self._look_at_attempts(self.cluster, steps, graph)
        for pod in self.pods:
            # At the end the logs of pods that succeeded are read as well: one holds the gate's verdict.
            if pod.phase == "Running" or (is_last and pod.phase == "Succeeded"):
                yield from progress_in(pod_log(self.cluster, pod), step=pod.step)

    def queue_of(self, step: str, number: int | None) -> str:
        """Return the queue that holds back a step's pod; "" where none does."""
        return next((pod.queue for pod in self._active(step, number) if pod.queue), "")

    def waits_for(self, step: str, number: int | None) -> str:
        """Return what a running step waits for between two attempts; "" where it does not wait."""
        return next((one.text for one in self.waiting if (one.step, one.number) == (step, number)), "")

    def _report_stuck(self, pod: PodState) -> None:
        # Kubernetes alternates between two reasons while an image can't be pulled: one line for both.
        kind = "image" if pod.waits_for_image else pod.waiting
        if pod.why_stuck and (pod.name, kind) not in self._stuck:
            self._stuck.add((pod.name, kind))
            self.report(f"{self.name(pod.step, pod.number)} can't start: {pod.why_stuck}")

    def _report_failed_driver(self, cluster: Cluster, pod: PodState) -> None:
        """Report a driver of Kubeflow Pipelines that failed: Argo tries it again while nothing else runs."""
        if not pod.node.is_driver or pod.phase != "Failed" or (pod.name, "driver") in self._stuck:
            return
        self._stuck.add((pod.name, "driver"))
        name = pod.step if pod.step == ROOT_DRIVER else f"driver of {self.name(pod.step, pod.number)}"
        self.report(f"{name} failed: {explain_pod(cluster, pod)[1] or 'no reason reported'}")

    def _report_queues(self) -> None:
        queued = Counter((pod.step, pod.queue) for pod in self.pods if pod.phase == "Pending" and pod.queue)
        for (step, queue), count in queued.items():
            if self._queued.get((step, queue)) != count:
                self.report(f"{step}: {count} {'waits' if count == 1 else 'wait'} in queue {queue}")
        self._queued = dict(queued)

    def _look_at_attempts(self, cluster: Cluster, steps: Sequence[StepState], graph: Graph) -> None:
        """Read the workflow where a step is running without a pod: Argo waits before the next attempt."""
        self.waiting = []
        idle = [one for one in steps if one.state == "RUNNING" and not self._active(one.step, one.number)]
        if not idle or not self._workflows_are_readable:
            return
        try:
            self.waiting = list(waiting_attempts(workflow_nodes(cluster, self.run_id), graph))
        except UnaskedError as error:
            self._workflows_are_readable = False
            self.report(f"waits between attempts are not shown: {error}")
        for one in self.waiting:
            self.report(f"{self.name(one.step, one.number)}: {one.text}")

    def _active(self, step: str, number: int | None) -> list[PodState]:
        return [
            pod
            for pod in self.pods
            if pod.step == step and pod.number == number and pod.phase in _ACTIVE and not pod.node.is_driver
        ]

    def _is_still(self, what: str) -> bool:
        return time.monotonic() - self._still_since.setdefault(what, time.monotonic()) >= STILL_S
