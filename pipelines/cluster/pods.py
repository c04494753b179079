"""Pods of a run as the Kubernetes API reports them: what keeps one waiting, and how one ended."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pipelines.cluster.argo_nodes import NodeName
from pipelines.cluster.graph import step_name
from pipelines.cluster.kubernetes_access import Cluster
from pipelines.cluster.steps import ROOT_DRIVER

RUN_LABEL, STEP_LABEL, QUEUE_LABEL = "pipeline/runid", "spineline.io/step", "kueue.x-k8s.io/queue-name"
MAIN_CONTAINER = "main"
_NODE_NAME = "workflows.argoproj.io/node-name"
_IMAGE_REASONS = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull")
_STUCK_REASONS = (
    *_IMAGE_REASONS,
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "CrashLoopBackOff",
)


@dataclass(frozen=True)
class Termination:
    """How the main container of a pod ended."""

    exit_code: int
    signal: int = 0
    reason: str = ""
    """Kubernetes' own word, such as ``OOMKilled`` or ``Error``."""
    message: str = ""


@dataclass(frozen=True)
class PodState:
    """State of one pod of a run."""

    name: str
    step: str
    number: int | None
    """Iteration of the loop around its task."""
    node: NodeName
    phase: str
    image: str
    waiting: str = ""
    """Why it can't start: Kubernetes' reason and message, on one line."""
    waits_for_image: bool = False
    reason: str = ""
    """Why it was ended from outside, such as ``Evicted``; "" where it ended by itself."""
    message: str = ""
    termination: Termination | None = None
    queue: str = ""
    """Kueue's queue that holds it back from being scheduled; "" once it is admitted."""
    created_at: datetime | None = None

    @property
    def why_stuck(self) -> str | None:
        """What keeps a pod from starting, and its image; None where nothing does."""
        return f"{self.waiting}; image {self.image}" if self.phase == "Pending" and self.waiting else None


def pods_of(cluster: Cluster, run_id: str) -> list[PodState]:
    """Return the pods of a run, the oldest first; raises UnaskedError where they can't be read."""
    listed = cluster.read(
        cluster.core.list_namespaced_pod, cluster.namespace, label_selector=f"{RUN_LABEL}={run_id}", what="Pods"
    )
    found = [_state(pod) for pod in (listed.items if listed else [])]
    return sorted(found, key=lambda pod: (pod.created_at.timestamp() if pod.created_at else 0.0, pod.node.attempt))


def _state(pod: Any) -> PodState:
    labels, status = pod.metadata.labels or {}, pod.status
    node = NodeName((pod.metadata.annotations or {}).get(_NODE_NAME) or pod.metadata.name)
    main = next((one for one in pod.spec.containers if one.name == MAIN_CONTAINER), pod.spec.containers[0])
    waiting = next(_waiting(status), ("", ""))
    reason, message = _outside_end(status)
    return PodState(
        name=pod.metadata.name,
        step=labels.get(STEP_LABEL) or step_name(node.task) or ROOT_DRIVER,
        number=node.iteration,
        node=node,
        phase=status.phase or "Unknown",
        image=main.image,
        waiting=_line(*waiting),
        waits_for_image=waiting[0] in _IMAGE_REASONS,
        reason=reason,
        message=message,
        termination=_termination(status),
        queue=labels.get(QUEUE_LABEL) or "a queue" if pod.spec.scheduling_gates else "",
        created_at=pod.metadata.creation_timestamp,
    )


def _waiting(status: Any) -> Iterator[tuple[str, str]]:
    for container in (*(status.init_container_statuses or []), *(status.container_statuses or [])):
        waiting = container.state.waiting if container.state else None
        if waiting and waiting.reason in _STUCK_REASONS:
            yield waiting.reason, waiting.message or ""
    for condition in status.conditions or []:
        # A pod that Kueue holds back is gated (SchedulingGated), not unschedulable.
        if condition.type == "PodScheduled" and condition.status == "False" and condition.reason == "Unschedulable":
            yield "Unschedulable", condition.message or ""


def _outside_end(status: Any) -> tuple[str, str]:
    """Return Kubernetes' reason and message where it ended the pod itself: eviction, deadline, drain, lost node."""
    if status.phase == "Failed" and status.reason:
        return status.reason, status.message or ""
    for condition in status.conditions or []:
        if condition.type == "DisruptionTarget" and condition.status == "True":
            return condition.reason or "DisruptionTarget", condition.message or ""
    return "", ""


def _termination(status: Any) -> Termination | None:
    for container in status.container_statuses or []:
        ended = container.state.terminated if container.name == MAIN_CONTAINER and container.state else None
        if ended:
            return Termination(ended.exit_code or 0, ended.signal or 0, ended.reason or "", ended.message or "")
    return None


def _line(reason: str, message: str) -> str:
    lines = message.strip().splitlines()
    return f"{reason} ({lines[0]})" if lines else reason
