"""Why tasks of a run failed, and whether another attempt can succeed."""

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pipelines.cluster.argo_nodes import NodeName, node_id
from pipelines.cluster.connection import Connection
from pipelines.cluster.errors import ClusterError
from pipelines.cluster.kubernetes_access import Cluster, UnaskedError
from pipelines.cluster.pod_logs import (
    LogEvidence,
    decode_artifact,
    driver_fault_in,
    evidence_in,
    pod_log,
    readable_lines,
)
from pipelines.cluster.pods import PodState
from pipelines.cluster.steps import StepState, failures_of
from pipelines.cluster.workflow import workflow_nodes

Kind = Literal["signal", "evicted", "deadline", "unreachable", "out of memory", "image", "driver", "error", "unknown"]
RETRIED: tuple[Kind, ...] = ("signal", "evicted", "deadline", "unreachable")
"""Kinds of failure that another attempt can overcome; the others fail in the same way again."""
_EVICTED = (
    "Evicted",
    "NodeLost",
    "NodeShutdown",
    "Shutdown",
    "Terminated",
    "Preempting",
    "Preempted",
    "PreemptionByScheduler",
    "DeletionByTaintManager",
    "EvictionByEvictionAPI",
    "DeletionByPodGC",
    "TerminationByKubelet",
    "UnexpectedAdmissionError",
    "NodeAffinity",
    "OutOfcpu",
    "OutOfmemory",
    "OutOfpods",
)
"""Reasons with which Kubernetes ends or turns away a pod for its node's sake."""
_DEADLINE = "DeadlineExceeded"
_OUT_OF_MEMORY = "OOMKilled"
MAIN_LOG = "main-logs"
"""Name under which Argo archives the log of a pod."""


@dataclass(frozen=True)
class Failure:
    """One failed task of a run."""

    step: str
    number: int | None
    kind: Kind
    message: str
    failures: int = 1
    """How often the task failed so far, this failure included."""
    attempts: int = 1
    """Attempts that Argo itself made before it gave up."""

    @property
    def is_retried(self) -> bool:
        """Whether another attempt can succeed."""
        return self.kind in RETRIED


def diagnose(
    connection: Connection, run: Any, steps: Sequence[StepState], *, pods: Sequence[PodState], cluster: Cluster | None
) -> list[Failure]:
    """Return why each failed task of an ended run failed, from its newest failed pod and the end of its log.

    Without access to pods the archived log is read through Kubeflow Pipelines' own API. A task that is the consequence
    of another's failure is left out.
    """
    failed = failures_of(steps)
    found = [_diagnose_one(connection, run, one, pods, cluster) for one in failed]
    if not found:
        found = list(_from_pods_alone(pods, cluster))
    return found


def _diagnose_one(
    connection: Connection, run: Any, one: StepState, pods: Sequence[PodState], cluster: Cluster | None
) -> Failure:
    is_driver = bool(one.node) and NodeName(one.node).is_driver
    mine = [
        pod
        for pod in pods
        if pod.step == one.step
        and one.number in (None, pod.number)
        and pod.phase == "Failed"
        and (pod.node.is_driver == is_driver or not one.node)
    ]
    if mine and cluster:
        kind, message = explain_pod(cluster, mine[-1])
    elif lines := archived_task_log(connection, run, one):
        kind, message = _from_driver(lines) if is_driver else _from_log(evidence_in(lines))
    else:
        kind, message = _from_workflow(run, one, cluster)
    message = message or one.message
    return Failure(one.step, one.number, kind, message, max(1, one.failures), one.attempts)


def explain_pod(cluster: Cluster, pod: PodState) -> tuple[Kind, str]:
    """Return why a pod failed, in one line."""
    if pod.reason == _DEADLINE:
        return "deadline", "reached the time limit of one attempt (`timeout_hours` in the profile)"
    if pod.reason in _EVICTED:
        return "evicted", _joined(pod.reason, pod.message)
    ended = pod.termination
    if ended and ended.reason == _OUT_OF_MEMORY:
        return "out of memory", (
            "used more memory than its limit (OOMKilled); raise `memory` of the step in the profile and start the run"
            " anew: a retry has the same limit"
        )
    if pod.node.is_driver:
        return _from_driver(pod_log(cluster, pod))
    evidence = evidence_in(pod_log(cluster, pod))
    if ended and (ended.signal or ended.exit_code > 128):
        return "signal", f"ended by signal {_signal_name(ended.signal or ended.exit_code - 128)}"
    if pod.reason:
        return "unknown", _joined(pod.reason, pod.message)
    return _from_log(evidence)


def _from_workflow(run: Any, one: StepState, cluster: Cluster | None) -> tuple[Kind, str]:
    """Return what Argo reports of a task whose pod is gone, such as ``pod deleted``."""
    try:
        nodes = workflow_nodes(cluster, run.run_id) if cluster else []
    except UnaskedError:
        nodes = []
    messages = [
        str(node["message"]).splitlines()[0]
        for node in nodes
        if node.get("type") == "Pod"
        and node.get("phase") in ("Error", "Failed")
        and node.get("message")
        and str(node.get("name") or "").startswith(f"{one.node}(")
    ]
    return "unknown", messages[-1] if messages else ""


def _from_log(evidence: LogEvidence) -> tuple[Kind, str]:
    # A process that was killed reports nothing itself: an error in the log came before and was survived.
    if evidence.signal:
        return "signal", f"ended by signal: {evidence.signal}"
    if evidence.message:
        return ("unreachable" if evidence.is_transient else "error"), evidence.message
    return "unknown", ""


def _from_driver(lines: Sequence[str]) -> tuple[Kind, str]:
    fault = driver_fault_in(lines)
    return ("unreachable" if fault.is_transient else "driver"), fault.message


def _from_pods_alone(pods: Sequence[PodState], cluster: Cluster | None) -> Iterator[Failure]:
    """Yield the newest failed pod where no task is reported: the driver of the whole pipeline, mostly."""
    failed = [pod for pod in pods if pod.phase == "Failed"]
    if failed and cluster:
        kind, message = explain_pod(cluster, failed[-1])
        yield Failure(failed[-1].step, failed[-1].number, kind, message)


def archived_task_log(connection: Connection, run: Any, one: StepState) -> list[str]:
    """Return the archived log of a task's newest attempt; empty where the server keeps none."""
    for node in _attempts(run, one):
        text = archived_log(connection, run.run_id, node)
        if text:
            return readable_lines(text)
    return []


def archived_log(connection: Connection, run_id: str, node: str) -> str | None:
    """Return the log that Argo archived for a node, by the node's id; None where there is none."""
    try:
        return decode_artifact(connection.read_json(f"runs/{run_id}/nodes/{node}/artifacts/{MAIN_LOG}:read"))
    except ClusterError:
        return None


def _attempts(run: Any, one: StepState) -> Iterator[str]:
    """Yield the ids of the nodes that can have run a task, the newest attempt first."""
    workflow = one.node.partition("(")[0].partition(".")[0]
    if not workflow:
        return
    known = {
        child.pod_name
        for task in (run.run_details.task_details if run.run_details else None) or []
        for child in task.child_tasks or []
    }
    bases = (f"{one.node}(0).executor", f"{one.node}.executor", one.node)
    for attempt in range(_MOST_ATTEMPTS, -1, -1):
        for base in bases:
            identifier = node_id(workflow, f"{base}({attempt})")
            if identifier in known:
                yield identifier
    for base in bases:
        if (identifier := node_id(workflow, base)) in known:
            yield identifier


_MOST_ATTEMPTS = 100


def _joined(reason: str, message: str) -> str:
    first = (message.strip().splitlines() or [""])[0]
    return f"{reason}: {first}" if first else reason


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
