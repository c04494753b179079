"""Kueue's queues and priority classes that a profile names, by the newest version of its API that a cluster serves."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipelines.cluster.capacity import queue_quota_problems
from pipelines.cluster.kubernetes_access import Cluster, UnreadError
from pipelines.cluster.pod_requirements import StepNeeds

GROUP = "kueue.x-k8s.io"
VERSIONS = ("v1beta2", "v1beta1")
"""Versions of Kueue's API whose fields are known, newest first: Kueue 0.15 and newer serve both."""


def kueue_problems(cluster: Cluster, needs: Sequence[StepNeeds]) -> Iterator[str]:
    """Yield one line for each queue or priority class that is missing, inactive or too small for a step."""
    queues = sorted({one.queue for one in needs if one.queue})
    priorities = sorted({one.priority for one in needs if one.priority})
    if not queues and not priorities:
        return
    version = _version(cluster)
    if version is None:
        named = [f"queue '{name}'" for name in queues] + [f"priority class '{name}'" for name in priorities]
        yield f"Kueue is not installed, and the profile names {', '.join(named)}"
        return
    for name in queues:
        yield from _queue_problems(cluster, version, name, [one for one in needs if one.queue == name])
    for name in priorities:
        read = cluster.custom.get_cluster_custom_object
        place = (GROUP, version, "workloadpriorityclasses", name)
        if cluster.read(read, *place, what="WorkloadPriorityClasses") is None:
            yield f"no WorkloadPriorityClass '{name}' of Kueue"


def _version(cluster: Cluster) -> str | None:
    """Return the newest known version that the cluster serves; None where Kueue is not installed."""
    listed = cluster.read(cluster.apis.get_api_versions, what="API groups")
    served = next(
        ([one.version for one in group.versions] for group in (listed.groups if listed else []) if group.name == GROUP),
        None,
    )
    if served is None:
        return None
    found = next((version for version in VERSIONS if version in served), None)
    if found is None:
        raise UnreadError(
            f"Kueue's queues: the cluster serves {', '.join(served)} of {GROUP}; known are {', '.join(VERSIONS)}"
        )
    return found


def _queue_problems(cluster: Cluster, version: str, name: str, needs: Sequence[StepNeeds]) -> Iterator[str]:
    local = (GROUP, version, cluster.namespace, "localqueues", name)
    queue = cluster.read(cluster.custom.get_namespaced_custom_object, *local, what="LocalQueues")
    if queue is None:
        yield f"no LocalQueue '{name}' of Kueue in namespace '{cluster.namespace}'"
        return
    yield from _inactive(queue, f"LocalQueue '{name}'")
    behind = queue.get("spec", {}).get("clusterQueue", "")
    wide = (GROUP, version, "clusterqueues", behind)
    whole = cluster.read(cluster.custom.get_cluster_custom_object, *wide, what="ClusterQueues")
    if whole is None:
        yield f"no ClusterQueue '{behind}' behind LocalQueue '{name}'"
    else:
        yield from queue_quota_problems(whole, needs, queue=name)


def _inactive(queue: Mapping[str, Any], shown: str) -> Iterator[str]:
    for condition in queue.get("status", {}).get("conditions", []):
        if condition.get("type") == "Active" and condition.get("status") == "False":
            yield f"{shown} is not active ({condition.get('message') or condition.get('reason')})"
