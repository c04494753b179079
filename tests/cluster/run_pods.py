"""Pods of a run, read from ``kubectl get pods --output json``."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

RUN_LABEL, STEP_LABEL = "pipeline/runid", "spineline.io/step"
_NODE_NAME = "workflows.argoproj.io/node-name"
_ITERATION = re.compile(r"iteration-iterations\((\d+):\d+\)")


@dataclass(frozen=True)
class RunPod:
    """One pod of a step."""

    name: str
    """Not unique over time: the pod of a retried run has the name of the one before."""
    uid: str
    step: str
    iteration: int | None
    """Iteration of the loop around the step: the task of one fold, or of a group of folds."""
    phase: str
    node: str
    """Node of the cluster; "" before the pod is scheduled."""
    queue: str
    """Kueue's queue that holds the pod back; "" where none does."""
    is_running: bool
    """Whether the container of the step runs, and nobody deletes the pod."""
    created_at: str


def run_pods(items: Iterable[Mapping[str, Any]]) -> list[RunPod]:
    """Return the pods of steps, the oldest first; drivers of Kubeflow Pipelines have no step and are left out."""
    found = [_pod(item) for item in items if STEP_LABEL in item["metadata"].get("labels", {})]
    return sorted(found, key=lambda pod: (pod.created_at, pod.name))


def _pod(item: Mapping[str, Any]) -> RunPod:
    metadata, status = item["metadata"], item.get("status", {})
    spec = item.get("spec", {})
    place = _ITERATION.search(metadata.get("annotations", {}).get(_NODE_NAME, ""))
    main = [one for one in status.get("containerStatuses", []) if one["name"] == "main"]
    gates = [gate["name"] for gate in spec.get("schedulingGates") or []]
    is_gated = any(name.startswith("kueue.x-k8s.io/") for name in gates)
    return RunPod(
        name=metadata["name"],
        uid=metadata.get("uid", ""),
        step=metadata["labels"][STEP_LABEL],
        iteration=int(place[1]) if place else None,
        phase=status.get("phase", "Unknown"),
        node=spec.get("nodeName", ""),
        queue=metadata["labels"].get("kueue.x-k8s.io/queue-name", "") if is_gated else "",
        is_running=any("running" in one.get("state", {}) for one in main) and "deletionTimestamp" not in metadata,
        created_at=metadata.get("creationTimestamp", ""),
    )
