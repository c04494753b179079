"""The Argo workflow of a run, while it exists: what Argo waits for between two attempts of a step."""

import base64
import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.cluster.argo_nodes import NodeName
from pipelines.cluster.graph import Graph, step_name
from pipelines.cluster.kubernetes_access import Cluster
from pipelines.cluster.pods import RUN_LABEL

_WORKFLOWS = ("argoproj.io", "v1alpha1")
_BACKOFF = "Backoff"


@dataclass(frozen=True)
class WaitingAttempt:
    """A step that Argo tries again after a wait."""

    step: str
    number: int | None
    reason: str
    """Why the attempt before ended, such as ``pod deleted``."""
    attempt: int
    """Number of the next attempt, from 1."""
    attempts: int
    """Attempts in all."""
    wait_s: int

    @property
    def text(self) -> str:
        """The wait in one line."""
        return f"{self.reason}; try {self.attempt} of {self.attempts} in {self.wait_s} s"


def workflow_nodes(cluster: Cluster, run_id: str) -> list[Mapping[str, Any]]:
    """Return the nodes of a run's workflow; empty where it does not exist; raises UnaskedError."""
    listed = cluster.read(
        cluster.custom.list_namespaced_custom_object,
        *_WORKFLOWS,
        cluster.namespace,
        "workflows",
        label_selector=f"{RUN_LABEL}={run_id}",
        what="Workflows",
    )
    items = (listed or {}).get("items") or []
    return list(_nodes(items[0].get("status") or {}).values()) if items else []


def waiting_attempts(nodes: Sequence[Mapping[str, Any]], graph: Graph) -> Iterator[WaitingAttempt]:
    """Yield the steps whose retry node waits: its message names a backoff, and its newest attempt failed."""
    by_id = {str(node.get("id")): node for node in nodes}
    for node in nodes:
        name = NodeName(str(node.get("name") or ""))
        if not (
            node.get("type") == "Retry"
            and node.get("phase") in ("Running", "Pending")
            and str(node.get("message") or "").startswith(_BACKOFF)
            and name.task
            and not name.is_driver
        ):
            continue
        attempts = [by_id[child] for child in node.get("children") or [] if child in by_id]
        failed = [one for one in attempts if one.get("phase") in ("Error", "Failed")]
        if not failed:
            continue
        step = step_name(name.task)
        yield WaitingAttempt(
            step=step,
            number=name.iteration,
            reason=str(failed[-1].get("message") or "the attempt failed").splitlines()[0],
            attempt=len(attempts) + 1,
            attempts=graph.retries.get(step, 0) + 1,
            wait_s=graph.backoff_s.get(step, 0),
        )


def _nodes(status: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the nodes of a status; Argo compresses those of a large workflow."""
    if packed := status.get("compressedNodes"):
        try:
            found = json.loads(gzip.decompress(base64.b64decode(packed)))
        except (ValueError, OSError, EOFError):
            return {}
        return found if isinstance(found, dict) else {}
    return status.get("nodes") or {}
