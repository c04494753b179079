"""Whether a cluster has what a compiled pipeline asks for: every lack by its name, before anything is submitted."""

from collections.abc import Callable, Iterator, Sequence

from pipelines.cluster.capacity import node_problems, queue_quota_problems, quota_problems
from pipelines.cluster.endpoint import Endpoint
from pipelines.cluster.errors import UnsatisfiedProfileError
from pipelines.cluster.kubernetes_access import Cluster, UnaskedError, reach
from pipelines.cluster.needs import StepNeeds

_KUEUE = ("kueue.x-k8s.io", "v1beta1")


def check(
    needs: Sequence[StepNeeds],
    *,
    profile: str,
    endpoint: Endpoint,
    service_account: str | None,
    tell: Callable[[str], None],
) -> None:
    """Raise UnsatisfiedProfileError with every lack; ``tell`` is told in one line of what could not be checked."""
    try:
        cluster = reach(endpoint)
        problems = _problems(cluster, needs, service_account)
    except UnaskedError as error:
        tell(f"not checked whether the cluster has what profile '{profile}' asks for: {error}")
        return
    if cluster.unread:
        tell(f"not checked: {'; '.join(cluster.unread)}")
    if problems:
        raise UnsatisfiedProfileError(profile, problems, where=cluster.where)


def _problems(cluster: Cluster, needs: Sequence[StepNeeds], service_account: str | None) -> list[str]:
    found: list[str] = []
    checks: tuple[Callable[[], Iterator[str]], ...] = (
        lambda: _claims(cluster, needs),
        lambda: _secrets(cluster, needs),
        lambda: _account(cluster, service_account),
        lambda: _queues(cluster, needs),
        lambda: _priorities(cluster, needs),
        lambda: quota_problems(cluster, needs),
        lambda: node_problems(cluster, needs),
    )
    for one in checks:
        try:
            found += one()
        except UnaskedError as error:
            if "may not read" not in str(error):
                raise
            # One kind of object that this user may not read is no reason to leave out the others.
            cluster.unread.append(str(error))
    return found


def _claims(cluster: Cluster, needs: Sequence[StepNeeds]) -> Iterator[str]:
    for name in sorted({claim for one in needs for claim in one.claims}):
        claim = cluster.read(
            cluster.core.read_namespaced_persistent_volume_claim,
            name,
            cluster.namespace,
            what="PersistentVolumeClaims",
        )
        if claim is None:
            yield f"no PersistentVolumeClaim '{name}' in namespace '{cluster.namespace}'"
        elif claim.status and claim.status.phase == "Lost":
            yield f"PersistentVolumeClaim '{name}' has lost its volume"


def _secrets(cluster: Cluster, needs: Sequence[StepNeeds]) -> Iterator[str]:
    wanted: dict[str, set[str]] = {}
    for one in needs:
        for name, keys in one.secrets.items():
            wanted.setdefault(name, set()).update(keys)
    for name, needed in sorted(wanted.items()):
        secret = cluster.read(cluster.core.read_namespaced_secret, name, cluster.namespace, what="Secrets")
        if secret is None:
            yield f"no Secret '{name}' in namespace '{cluster.namespace}'"
        elif missing := sorted(needed - set(secret.data or {})):
            yield f"Secret '{name}' has no key {', '.join(missing)}"


def _account(cluster: Cluster, name: str | None) -> Iterator[str]:
    read = cluster.core.read_namespaced_service_account
    if name and cluster.read(read, name, cluster.namespace, what="ServiceAccounts") is None:
        yield f"no ServiceAccount '{name}' in namespace '{cluster.namespace}'"


def _queues(cluster: Cluster, needs: Sequence[StepNeeds]) -> Iterator[str]:
    for name in sorted({one.queue for one in needs if one.queue}):
        queue = cluster.read(
            cluster.custom.get_namespaced_custom_object,
            *_KUEUE,
            cluster.namespace,
            "localqueues",
            name,
            what="LocalQueues",
        )
        if queue is None:
            yield f"no LocalQueue '{name}' of Kueue in namespace '{cluster.namespace}'"
            continue
        for condition in queue.get("status", {}).get("conditions", []):
            if condition.get("type") == "Active" and condition.get("status") == "False":
                yield f"LocalQueue '{name}' is not active ({condition.get('message') or condition.get('reason')})"
        behind = queue.get("spec", {}).get("clusterQueue", "")
        whole = cluster.read(
            cluster.custom.get_cluster_custom_object, *_KUEUE, "clusterqueues", behind, what="ClusterQueues"
        )
        if whole is None:
            yield f"no ClusterQueue '{behind}' behind LocalQueue '{name}'"
        else:
            yield from queue_quota_problems(whole, [one for one in needs if one.queue == name], queue=name)


def _priorities(cluster: Cluster, needs: Sequence[StepNeeds]) -> Iterator[str]:
    for name in sorted({one.priority for one in needs if one.priority}):
        found = cluster.read(
            cluster.custom.get_cluster_custom_object,
            *_KUEUE,
            "workloadpriorityclasses",
            name,
            what="WorkloadPriorityClasses",
        )
        if found is None:
            yield f"no WorkloadPriorityClass '{name}' of Kueue"
