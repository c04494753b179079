"""Retries of failed runs through Kubeflow Pipelines' API, for whoever follows a run and for the supervisor.

What a cluster retries by itself depends on its version: Kubeflow Pipelines 2.17 lets Argo retry deleted pods and lost
nodes only, earlier versions failed steps only. A retry of the run starts what failed again, and keeps what succeeded.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pipelines.cluster.connection import Connection
from pipelines.cluster.errors import ClusterError
from pipelines.cluster.failures import Failure, diagnose
from pipelines.cluster.graph import Graph
from pipelines.cluster.kubernetes_access import Cluster
from pipelines.cluster.pods import PodState
from pipelines.cluster.run_records import try_record
from pipelines.cluster.runs import get_run, retry
from pipelines.cluster.steps import StepState, was_stopped

FIRST_WAIT_S, LONGEST_WAIT_S = 60.0, 600.0
SETTLE_S = 60.0
"""How long a run may still be reported as FAILED after its retry was accepted."""
DRIVER_RETRIES = 2
"""Retries of Kubeflow Pipelines' own drivers, which have no setting."""
Outcome = Literal["final", "waiting", "retried"]


@dataclass(frozen=True)
class RetryPlan:
    """A retry that is due after a wait."""

    failures: tuple[Failure, ...]
    attempt: int
    """Number of the retry, from 1."""
    limit: int
    """Retries that the step may have."""
    wait_s: float


def plan_retry(failures: Sequence[Failure], graph: Graph) -> RetryPlan | None:
    """Return the retry of a run with these failures, or None where none is due.

    Every failure must be of a kind that another attempt can overcome: a retry starts all failed tasks again. A task is
    retried as often as its step's ``retries`` allow, those by Argo included; the wait doubles each time.
    """
    if not failures or not all(one.is_retried for one in failures):
        return None
    limits = {one: graph.retries.get(one.step, DRIVER_RETRIES) for one in failures}
    if any(one.failures + one.attempts - 1 > limit for one, limit in limits.items()):
        return None
    last = max(failures, key=lambda one: one.failures)
    wait_s = min(FIRST_WAIT_S * 2 ** (last.failures - 1), LONGEST_WAIT_S)
    return RetryPlan(tuple(failures), attempt=last.failures, limit=limits[last], wait_s=wait_s)


@dataclass
class RunRetries:
    """The retries of one run, considered again at each look at it."""

    connection: Connection
    cluster: Cluster | None
    actor: str
    report: Callable[[str], None]
    """Called with each line for the user."""
    name: Callable[[str, int | None], str]
    """Returns the name of a step and iteration, such as ``train_folds (fold 3)``."""
    failures: list[Failure] = field(default_factory=list)
    """Why the run failed, as found by the last look."""
    count: int = 0
    """Retries that were made."""
    _made: dict[tuple[str, int | None], int] = field(default_factory=dict)
    _plan: RetryPlan | None = None
    _due_at: float = 0.0
    _retried_at: float | None = None
    _handled: int = -1

    def consider(self, run: Any, *, steps: Sequence[StepState], graph: Graph, pods: Sequence[PodState]) -> Outcome:
        """Retry a run that is FAILED once its wait is over; "final" where it stays as it is.

        Raises ClusterError where the server refuses the retry.
        """
        seen = _failures(run)
        if self._is_settling(seen):
            return "retried"
        if seen != self._handled or self._retried_at is not None:
            self._begin(run, seen, steps, graph, pods)
        if self._plan is None:
            return "final"
        if time.monotonic() < self._due_at:
            return "waiting"
        return self._retry(run)

    def _is_settling(self, seen: int) -> bool:
        is_recent = self._retried_at is not None and time.monotonic() - self._retried_at < SETTLE_S
        return is_recent and seen == self._handled and seen > 0

    def _begin(self, run: Any, seen: int, steps: Sequence[StepState], graph: Graph, pods: Sequence[PodState]) -> None:
        self._handled, self._retried_at, self._plan, self.failures = seen, None, None, []
        if was_stopped(run):
            return
        found = diagnose(self.connection, run, steps, pods=pods, cluster=self.cluster)
        # A server without a history of states does not count failures: the retries made here are counted as well.
        self.failures = [
            replace(one, failures=max(one.failures, self._made.get((one.step, one.number), 0) + 1)) for one in found
        ]
        self._plan = plan_retry(self.failures, graph)
        if self._plan is None:
            return
        self._due_at = time.monotonic() + self._plan.wait_s
        for one in self._plan.failures:
            self.report(
                f"{self.name(one.step, one.number)} failed: {one.message or one.kind}; retry {self._plan.attempt} of"
                f" {self._plan.limit} in {self._plan.wait_s:g} s"
            )

    def _retry(self, run: Any) -> Outcome:
        plan = self._plan
        assert plan is not None
        # Somebody else may have retried it meanwhile: the supervisor, or another who follows it.
        now = get_run(self.connection, run.run_id)
        if now.state == "FAILED":
            try:
                retry(self.connection, now)
            except ClusterError:
                if get_run(self.connection, run.run_id).state == "FAILED":
                    raise
            else:
                self.count += 1
                for one in plan.failures:
                    self._made[one.step, one.number] = one.failures
                self._record(run, plan)
        self._retried_at = time.monotonic()
        return "retried"

    def _record(self, run: Any, plan: RetryPlan) -> None:
        named = "; ".join(f"{self.name(one.step, one.number)}: {one.message or one.kind}" for one in plan.failures)
        try_record(
            self.cluster,
            run.run_id,
            actor=self.actor,
            action="retry",
            reason=f"retry {plan.attempt} of {plan.limit}: {named}",
            report=self.report,
        )
        self.report(f"retry {plan.attempt} of {plan.limit} of run {run.run_id} started")


def _failures(run: Any) -> int:
    return sum(status.state == "FAILED" for status in run.state_history or [])
