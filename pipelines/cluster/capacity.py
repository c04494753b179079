"""Whether any node could hold a step's pod, and whether quotas would ever let it be made."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from pipelines.cluster.kubernetes_access import Cluster
from pipelines.cluster.pod_requirements import StepNeeds

_GIB = Decimal(2**30)


def node_problems(cluster: Cluster, needs: Sequence[StepNeeds]) -> Iterator[str]:
    """Say for each step that no node could hold what it lacks everywhere: labels, GPUs, size, or tolerance."""
    listed = cluster.read(cluster.core.list_node, what="Nodes")
    nodes = [node for node in (listed.items if listed else []) if not node.spec.unschedulable]
    message: set[str] = set()
    for one in needs:
        problem = _lack(one, nodes)
        if problem and problem not in message:
            message.add(problem)
            yield f"step {one.step}: {problem}"


def _lack(one: StepNeeds, nodes: Sequence[Any]) -> str | None:
    if not nodes:
        return "the cluster has no node that takes pods"
    fitting = [node for node in nodes if one.selector.items() <= (node.metadata.labels or {}).items()]
    if not fitting:
        return f"no node has the labels {_pairs(one.selector)}"
    for kind, amount in one.requests.items():
        most = max(_offered(node, kind) for node in fitting)
        if most < amount:
            of_these = f" with {_pairs(one.selector)}" if one.selector else ""
            return f"no node{of_these} has {shown(amount, kind)} (the most is {shown(most, kind)})"
    able = [node for node in fitting if all(_offered(node, kind) >= amount for kind, amount in one.requests.items())]
    if not able:
        asked = " and ".join(shown(amount, kind) for kind, amount in one.requests.items())
        return f"no one node has {asked} together"
    taints = [_untolerated(node, one.tolerations) for node in able]
    if all(taints):
        return f"every node that could hold it has a taint that it doesn't tolerate: {taints[0]}"
    return None


def quota_problems(cluster: Cluster, needs: Sequence[StepNeeds]) -> Iterator[str]:
    """Say which step asks for more than a ResourceQuota of the namespace ever allows."""
    listed = cluster.read(cluster.core.list_namespaced_resource_quota, cluster.namespace, what="ResourceQuotas")
    for quota in listed.items if listed else []:
        hard = quota.spec.hard or {}
        for one in needs:
            asked = {f"requests.{kind}": (kind, amount) for kind, amount in one.requests.items()}
            asked |= {kind: (kind, one.requests[kind]) for kind in ("cpu", "memory") if kind in one.requests}
            asked["limits.memory"] = ("memory", one.memory_limit)
            for name, (kind, amount) in asked.items():
                if name in hard and amount > _quantity(hard[name]):
                    yield (
                        f"step {one.step} asks for {shown(amount, kind)}, above {name}={hard[name]} of ResourceQuota"
                        f" '{quota.metadata.name}'"
                    )


def queue_quota_problems(whole: Mapping[str, Any], needs: Sequence[StepNeeds], *, queue: str) -> Iterator[str]:
    """Say which step asks for more than its queue has of a resource, borrowed ones included."""
    offered: dict[str, Decimal] = {}
    # Named so by v1beta2, and by v1beta1.
    cohort = whole.get("spec", {}).get("cohortName") or whole.get("spec", {}).get("cohort")
    for group in whole.get("spec", {}).get("resourceGroups", []):
        for resource in (found for flavor in group.get("flavors", []) for found in flavor.get("resources", [])):
            amount = _quantity(resource.get("nominalQuota")) + _quantity(resource.get("borrowingLimit"))
            # Without a limit a queue of a cohort may borrow all that is there.
            is_open = "borrowingLimit" not in resource and cohort
            # A pod is admitted by one flavor, never by the sum of several.
            offered[resource["name"]] = max(
                offered.get(resource["name"], Decimal(0)), Decimal("Infinity") if is_open else amount
            )
    for one in needs:
        for kind, amount in one.requests.items():
            if kind in offered and amount > offered[kind]:
                yield (
                    f"step {one.step} asks for {shown(amount, kind)}, above the {shown(offered[kind], kind)} of"
                    f" queue '{queue}'"
                )
            elif offered and kind not in offered and kind not in ("cpu", "memory"):
                yield f"step {one.step} asks for {kind}, of which queue '{queue}' has none"


def shown(amount: Decimal, kind: str) -> str:
    """Return an amount of a resource as people write it."""
    if kind == "memory":
        return f"{float(amount / _GIB):.4g}Gi of memory"
    return f"{float(amount):g} {'CPUs' if kind == 'cpu' else kind}"


def _offered(node: Any, kind: str) -> Decimal:
    return _quantity((node.status.allocatable or {}).get(kind))


def _quantity(text: object) -> Decimal:
    from kubernetes.utils.quantity import parse_quantity

    return Decimal(parse_quantity(str(text))) if text else Decimal(0)


def _untolerated(node: Any, tolerations: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the first taint of a node that keeps the pod away; None where there is none."""
    for taint in node.spec.taints or []:
        if taint.effect in ("NoSchedule", "NoExecute") and not any(_covers(one, taint) for one in tolerations):
            return f"{taint.key}={taint.value or ''}:{taint.effect}"
    return None


def _covers(toleration: Mapping[str, Any], taint: Any) -> bool:
    if toleration.get("effect") not in (None, "", taint.effect):
        return False
    if toleration.get("key") not in (None, "", taint.key):
        return False
    return toleration.get("operator") == "Exists" or toleration.get("value", "") == (taint.value or "")


def _pairs(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in labels.items())
