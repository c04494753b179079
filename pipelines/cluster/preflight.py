"""Whether a cluster has what a compiled pipeline asks for: every lack by its name, before anything is submitted."""

from collections.abc import Callable, Iterator, Sequence

from pipelines.cluster.capacity import node_problems, quota_problems
from pipelines.cluster.endpoint import Endpoint
from pipelines.cluster.errors import UnsatisfiedProfileError
from pipelines.cluster.kubernetes_access import Cluster, UnaskedError, UnreadError, reach
from pipelines.cluster.kueue import kueue_problems
from pipelines.cluster.pod_requirements import StepNeeds
from pipelines.cluster.retry_policy import CONFIG_MAP, NOTES, cluster_retry_policy


def check(
    needs: Sequence[StepNeeds],
    *,
    profile: str,
    endpoint: Endpoint,
    service_account: str | None,
    tell: Callable[[str], None],
) -> None:
    """Raise UnsatisfiedProfileError with every lack.

    ``tell`` gets one line on what could not be checked, and one on which steps the cluster retries by itself.
    """
    try:
        cluster = reach(endpoint)
        problems = _problems(cluster, needs, service_account)
        note = _retry_note(cluster)
    except UnaskedError as error:
        tell(f"not checked whether the cluster has what profile '{profile}' asks for: {error}")
        return
    if cluster.unread:
        tell(f"not checked: {'; '.join(cluster.unread)}")
    if problems:
        raise UnsatisfiedProfileError(profile, problems, where=cluster.where)
    if note:
        tell(note)


def _problems(cluster: Cluster, needs: Sequence[StepNeeds], service_account: str | None) -> list[str]:
    found: list[str] = []
    checks: tuple[Callable[[], Iterator[str]], ...] = (
        lambda: _claims(cluster, needs),
        lambda: _secrets(cluster, needs),
        lambda: _account(cluster, service_account),
        lambda: kueue_problems(cluster, needs),
        lambda: quota_problems(cluster, needs),
        lambda: node_problems(cluster, needs),
    )
    for one in checks:
        try:
            found += one()
        except UnreadError as error:
            # One kind of object that this user may not read is no reason to leave out the others.
            cluster.unread.append(str(error))
    return found


def _retry_note(cluster: Cluster) -> str | None:
    try:
        policy = cluster_retry_policy(cluster)
    except UnreadError as error:
        cluster.unread.append(f"which steps the cluster retries: {error}")
        return None
    if policy is None:
        cluster.unread.append(f"which steps the cluster retries: no ConfigMap '{CONFIG_MAP}'")
        return None
    return NOTES[policy]


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
