"""The steps of a run with the reason for which each one waits or failed."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pipelines.cluster.connection import Connection
from pipelines.cluster.failures import diagnose
from pipelines.cluster.graph import Graph
from pipelines.cluster.kubernetes_access import Cluster, UnaskedError
from pipelines.cluster.pods import PodState, pods_of
from pipelines.cluster.steps import StepState
from pipelines.cluster.workflow import waiting_attempts, workflow_nodes

QUEUED = "QUEUED"
"""State of a step whose pod Kueue holds back."""


def explain_steps(
    connection: Connection, run: Any, steps: Sequence[StepState], graph: Graph, cluster: Cluster | None
) -> list[StepState]:
    """Return steps with reasons from their pods, workflow and logs; a pod that is stuck is listed without a step too.

    Raises UnaskedError where the pods can't be read.
    """
    pods = pods_of(cluster, run.run_id) if cluster else []
    found = [_with_pod(one, pods) for one in steps]
    known = {(one.step, one.number) for one in found}
    for pod in pods:
        if pod.why_stuck and (pod.step, pod.number) not in known and (pod.step, None) not in known:
            found.append(StepState(pod.step, pod.number, "PENDING", pod.why_stuck))
    if cluster and run.state == "RUNNING":
        found = _with_waits(found, cluster, run.run_id, graph)
    if run.state in ("FAILED", "CANCELED") or any(one.state == "FAILED" for one in found):
        found = _with_failures(found, connection, run, pods, cluster)
    return found


def _with_pod(one: StepState, pods: Sequence[PodState]) -> StepState:
    if one.state not in ("RUNNING", "PENDING"):
        return one
    mine = [pod for pod in pods if pod.step == one.step and one.number in (None, pod.number) and pod.phase == "Pending"]
    for pod in mine:
        if pod.queue:
            return replace(one, state=QUEUED, message=f"waits in queue {pod.queue}")
        if pod.why_stuck:
            return replace(one, message=pod.why_stuck)
    return one


def _with_waits(found: list[StepState], cluster: Cluster, run_id: str, graph: Graph) -> list[StepState]:
    try:
        waits = {(one.step, one.number): one.text for one in waiting_attempts(workflow_nodes(cluster, run_id), graph)}
    except UnaskedError:
        return found  # rights to read workflows are rarer than those to read pods
    return [replace(one, message=one.message or waits.get((one.step, one.number), "")) for one in found]


def _with_failures(
    found: list[StepState], connection: Connection, run: Any, pods: Sequence[PodState], cluster: Cluster | None
) -> list[StepState]:
    failures = diagnose(connection, run, found, pods=pods, cluster=cluster)
    reasons = {(one.step, one.number): one.message for one in failures}
    known = {(one.step, one.number) for one in found}
    explained = [
        replace(one, message=reasons.get((one.step, one.number)) or one.message) if one.state == "FAILED" else one
        for one in found
    ]
    missing = [one for one in failures if (one.step, one.number) not in known]
    return [*explained, *(StepState(one.step, one.number, "FAILED", one.message) for one in missing)]
