"""The retry policy of a cluster: which unsuccessful steps Argo starts again by itself."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

import yaml

from pipelines.cluster.kubernetes_access import SINGLE_USER_NAMESPACE, Cluster, UnreadError

RetryPolicy = Literal["OnFailure", "OnError", "OnTransientError", "Always"]
"""Argo's policies. *Failed* is a step that ends by an exit code, a signal, out of memory, its deadline or an eviction;
*Error* is one whose pod was deleted or whose node was lost."""

CONFIG_MAP = "workflow-controller-configmap"
ARGO_DEFAULT: RetryPolicy = "OnFailure"
"""What Argo does where no policy is set: Kubeflow Pipelines compiles `retries` to a retry strategy without one."""

_FOLLOWER = "`spineline run`, `spineline follow` or the supervisor"
NOTES: dict[RetryPolicy, str] = {
    "OnFailure": (
        "the cluster retries failed steps itself (retryPolicy OnFailure); steps whose pod was deleted or whose node was"
        f" lost are retried by {_FOLLOWER}"
    ),
    "OnError": (
        "the cluster retries only steps whose pod was deleted or whose node was lost (retryPolicy OnError); failed"
        f" steps are retried by {_FOLLOWER}"
    ),
    "OnTransientError": (
        "the cluster retries only errors that Argo counts as transient (retryPolicy OnTransientError); all other steps"
        f" are retried by {_FOLLOWER}"
    ),
    "Always": "the cluster retries failed steps, deleted pods and lost nodes itself (retryPolicy Always)",
}


def cluster_retry_policy(cluster: Cluster) -> RetryPolicy | None:
    """Return the policy that Argo's ConfigMap sets for all workflows, or None where there is no such ConfigMap.

    It lies where Kubeflow Pipelines is: in the runs' own namespace, or, with many users, in ``kubeflow``.
    Raises UnreadError where it may not be read, or sets something that is not a policy.
    """
    for namespace in dict.fromkeys((cluster.namespace, SINGLE_USER_NAMESPACE)):
        found = cluster.read(
            cluster.core.read_namespaced_config_map,
            CONFIG_MAP,
            namespace,
            what=f"ConfigMaps in namespace '{namespace}'",
        )
        if found is not None:
            return _policy(found.data or {})
    return None


def _policy(data: Mapping[str, str]) -> RetryPolicy:
    try:
        settings: Any = yaml.safe_load(data.get("workflowDefaults") or "") or {}
        for part in ("spec", "templateDefaults", "retryStrategy"):
            settings = settings.get(part) or {}
        policy = settings.get("retryPolicy") or ARGO_DEFAULT
    except (yaml.YAMLError, AttributeError) as error:
        raise UnreadError(f"ConfigMap '{CONFIG_MAP}': its workflowDefaults are not a workflow") from error
    if policy not in get_args(RetryPolicy):
        raise UnreadError(f"ConfigMap '{CONFIG_MAP}': unknown retryPolicy '{policy}'")
    known: RetryPolicy = policy
    return known
