"""The pods of a run, as the Kubernetes API shows them: why one waits, how far its training is, what ended it."""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pipelines.cluster.graph import step_name
from pipelines.cluster.kubernetes_access import Cluster, UnaskedError
from spine.log_lines import readable
from spine.progress import ProgressEvent

RUN_LABEL, STEP_LABEL = "pipeline/runid", "spineline.io/step"
_NODE_NAME = "workflows.argoproj.io/node-name"
_MAIN = "main"
_STUCK = (
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "CrashLoopBackOff",
)
_TAIL_LINES = 40
_ROUND = re.compile(r"iteration[a-z-]*\((\d+)")
_RAISED = re.compile(r"^(?:error|[\w.]*(?:Error|Exception|Interrupt)\w*): \S.*$")
_NUMBER = r"\d{1,15}(?:\.\d{1,15})?(?:e[+-]\d{2})?"
_PROGRESS = re.compile(rf"^(\w+): (.+?) ({_NUMBER})/({_NUMBER})(?: (.*))?$")


@dataclass(frozen=True)
class PodState:
    """What one pod of a run does."""

    name: str
    step: str
    number: int | None
    """Round of the loop that it works for."""
    phase: str
    image: str
    trouble: str = ""
    """Why it waits or ended: a reason of Kubernetes' own and its message, on one line."""
    is_gated: bool = False
    """Held back from being scheduled, as Kueue does until it is the pod's turn."""

    @property
    def why_stuck(self) -> str | None:
        """What keeps a pod from starting, and its image; None where nothing does."""
        return f"{self.trouble}; image {self.image}" if self.phase == "Pending" and self.trouble else None


def pods_of(cluster: Cluster, run_id: str) -> list[PodState]:
    """Return the pods of a run; raises UnaskedError where they can't be read."""
    listed = cluster.read(
        cluster.core.list_namespaced_pod, cluster.namespace, label_selector=f"{RUN_LABEL}={run_id}", what="Pods"
    )
    return [_state(pod) for pod in (listed.items if listed else [])]


def progress_of(cluster: Cluster, pod: PodState) -> list[ProgressEvent]:
    """Return the newest progress of each task that the end of a pod's log tells."""
    newest: dict[str, ProgressEvent] = {}
    for line in _log(cluster, pod):
        if (found := _PROGRESS.match(line)) and found[1] == pod.step:
            newest[found[2]] = ProgressEvent(
                step=pod.step,
                task=found[2],
                done=float(found[3]),
                total=float(found[4]),
                note=found[5] or "",
                at=time.time(),
            )
    return list(newest.values())


def last_words(cluster: Cluster, pod: PodState) -> str:
    """Return why a pod failed: what Kubernetes says (out of memory, evicted), else the error that its log ends with."""
    if pod.trouble:
        return pod.trouble
    lines = [line.strip() for line in _log(cluster, pod)]
    return next((line.removeprefix("error: ") for line in reversed(lines) if _RAISED.match(line)), "")


def _log(cluster: Cluster, pod: PodState) -> list[str]:
    try:
        text = cluster.read(
            cluster.core.read_namespaced_pod_log,
            pod.name,
            cluster.namespace,
            container=_MAIN,
            tail_lines=_TAIL_LINES,
            what="logs of pods",
        )
    except UnaskedError:
        return []
    return [line for entry in str(text or "").splitlines() for line in readable(entry).splitlines()]


def _state(pod: Any) -> PodState:
    path = (pod.metadata.annotations or {}).get(_NODE_NAME, "")
    names = [re.sub(r"\(.*\)$", "", part) for part in re.split(r"\.(?![^(]*\))", path)]
    tasks = [name for name in names[2:] if name not in ("executor", "root") and not name.startswith("iteration")]
    label = (pod.metadata.labels or {}).get(STEP_LABEL)
    rounds = _ROUND.findall(path)
    main = next((one for one in pod.spec.containers if one.name == _MAIN), pod.spec.containers[0])
    return PodState(
        name=pod.metadata.name,
        step=label or step_name(tasks[-1] if tasks else pod.metadata.name),
        number=int(rounds[-1]) if rounds else None,
        phase=pod.status.phase or "Unknown",
        image=main.image,
        trouble=next(_troubles(pod), ""),
        is_gated=bool(pod.spec.scheduling_gates),
    )


def _troubles(pod: Any) -> Iterator[str]:
    status = pod.status
    for container in (*(status.init_container_statuses or []), *(status.container_statuses or [])):
        waiting = container.state.waiting if container.state else None
        if waiting and waiting.reason in _STUCK:
            yield _line(waiting.reason, waiting.message)
        ended = container.state.terminated if container.state else None
        if ended and ended.reason == "OOMKilled":
            yield "OOMKilled: it used more memory than its limit"
    for condition in status.conditions or []:
        # A pod that Kueue holds back is gated, not unschedulable: it waits for its turn.
        if condition.type == "PodScheduled" and condition.status == "False" and condition.reason == "Unschedulable":
            yield _line("Unschedulable", condition.message)
    if status.phase == "Failed" and status.reason:
        yield _line(status.reason, status.message)


def _line(reason: str, message: str | None) -> str:
    told = (message or "").strip().splitlines()
    return f"{reason} ({told[0]})" if told else reason
