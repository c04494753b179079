"""Runs whose workflow was deleted before they ended: Kubeflow Pipelines lists them as in progress for good."""

import datetime
import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from pipelines.cluster.connection import Connection
from pipelines.cluster.errors import ClusterError, NotThereError, ServerFaultError
from pipelines.cluster.kubernetes_access import Cluster, UnaskedError
from pipelines.cluster.pods import RUN_LABEL, pods_of

GRACE_S = 120.0
"""Age below which a run is never lost: its workflow and its first pod may be about to appear."""
WATCH_S = 60.0
"""Interval of the looks while a run is followed."""
UNFINISHED = ("PENDING", "RUNNING", "CANCELING", "PAUSED")
_NO_WORKFLOW = re.compile(r'workflows\.argoproj\.io "[^"]*" not found')
_ARCHIVED = "ARCHIVED"


class RestartNeededError(ClusterError):
    """A run can't continue; the same training has to be started as a new run."""

    exit_code = 1

    def __init__(self, run: Any, problem: str, *, remedy: str = "") -> None:
        self.run = run
        self.problem = problem
        super().__init__(f"{problem}. {remedy}" if remedy else problem)

    def with_remedy(self, remedy: str) -> Self:
        """Return the same error with what to do about it."""
        return type(self)(self.run, self.problem, remedy=remedy)


class RunLostError(RestartNeededError):
    """The workflow of a run was deleted before the run ended."""


class ScheduleDeletedError(RestartNeededError):
    """A run that ended can't be retried without its schedule."""


def is_lost(cluster: Cluster, run: Any) -> bool:
    """Return whether a run that has not ended has neither a workflow nor a pod.

    A run younger than GRACE_S is not lost, nor is one whose service account is missing from the namespace: its pods
    are in another namespace or cluster then. Raises UnaskedError where the Kubernetes API does not answer.
    """
    if run.state not in UNFINISHED or _age_s(run) < GRACE_S or pods_of(cluster, run.run_id):
        return False
    listed = cluster.read(
        cluster.custom.list_namespaced_custom_object,
        "argoproj.io",
        "v1alpha1",
        cluster.namespace,
        "workflows",
        label_selector=f"{RUN_LABEL}={run.run_id}",
        limit=1,
        what="Workflows",
    )
    # None: this cluster has no Argo Workflows, so the run is in another one.
    return listed is not None and not listed["items"] and _has_service_account(cluster, run)


def raise_if_lost(cluster: Cluster, run: Any) -> None:
    """Raise RunLostError for a run that is lost, UnaskedError where the Kubernetes API does not answer."""
    if is_lost(cluster, run):
        where = f"namespace '{cluster.namespace}' of {cluster.where}"
        raise _lost(run, f"{where} has no workflow and no pod of it")


def lost_error(cluster: Cluster | None, run: Any) -> RunLostError | None:
    """Return the error of a lost run; None where it is not lost, or ``cluster`` is None or can't be read."""
    if cluster is None:
        return None
    try:
        raise_if_lost(cluster, run)
    except RunLostError as error:
        return error
    except UnaskedError:
        pass
    return None


@dataclass
class LostWatch:
    """The look for a missing workflow while a run is followed."""

    cluster: Cluster | None
    report: Callable[[str], None]
    _had_pods: bool = False
    _looked_at: float = -math.inf

    def look(self, run: Any, *, has_pods: bool) -> None:
        """Raise RunLostError for a run that had pods here and is lost.

        One whose pods were never seen is only reported: the kubeconfig may name another cluster than that of the run.
        """
        self._had_pods = self._had_pods or has_pods
        if has_pods or time.monotonic() - self._looked_at < WATCH_S:
            return
        self._looked_at = time.monotonic()
        error = lost_error(self.cluster, run)
        if error and self._had_pods:
            raise error
        if error:
            self.report(f"{error}, unless it is in another cluster or namespace")


def of_stop(error: ServerFaultError, run: Any) -> ClusterError:
    """Return the error of a failed request to stop a run: RunLostError where the server found no workflow."""
    if _NO_WORKFLOW.search(str(error)):
        run.state = "CANCELING"  # The server changes the state before it looks for the workflow.
        return _lost(run, "Kubeflow Pipelines found no workflow of it to stop")
    return error


def require_schedule(connection: Connection, run: Any) -> None:
    """Raise ScheduleDeletedError for a run of a deleted schedule.

    Its workflow would be made again as owned by the schedule, and Kubernetes deletes objects whose owner is missing.
    """
    if not run.recurring_run_id:
        return
    try:
        connection.ask(
            connection.api.recurring_runs.recurring_run_service_get_recurring_run,
            recurring_run_id=run.recurring_run_id,
        )
    except NotThereError as error:
        owner = "Kubernetes deletes a workflow whose schedule was deleted"
        raise ScheduleDeletedError(run, f"run {run.run_id} can't be retried: {owner}") from error


def archive(connection: Connection, run: Any) -> None:
    """Move a run to Kubeflow's archive: its record stays, the list of runs no longer shows it."""
    connection.ask(connection.api.runs.run_service_archive_run, run_id=run.run_id)


def is_archived(run: Any) -> bool:
    """Return whether a run is in Kubeflow's archive."""
    return bool(run.storage_state == _ARCHIVED)


def _lost(run: Any, evidence: str) -> RunLostError:
    return RunLostError(run, f"run {run.run_id} is lost: {evidence}; it stays {run.state} for good")


def _has_service_account(cluster: Cluster, run: Any) -> bool:
    if not run.service_account:
        return True
    found = cluster.read(
        cluster.core.read_namespaced_service_account, run.service_account, cluster.namespace, what="ServiceAccounts"
    )
    return found is not None


def _age_s(run: Any) -> float:
    if run.created_at is None:
        return 0.0
    age: datetime.timedelta = datetime.datetime.now(tz=datetime.UTC) - run.created_at
    return age.total_seconds()
