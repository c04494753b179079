"""What pods and accounts may do: the restricted standard, tokens for those who need one, roles that name things."""

from collections.abc import Iterator, Sequence

from manifests.objects import Object, Pod, named, of_kind, pods, told
from pipelines.profile import Security

_GROUP = Security().group
"""Of the steps of runs, by default."""
_RECORDS = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]}
_EXCEPTIONS = [("spineline-supervisor", _RECORDS)]
"""Rules, with their Role, that can't name what they are for: each record has a name of its own."""
_ALLOWED_VOLUMES = {"emptyDir", "persistentVolumeClaim", "configMap", "secret", "projected", "downwardAPI", "claimed"}


def nobody_is_root(objects: Sequence[Object]) -> list[str]:
    """Pods keep to the restricted standard, and to a root file system that is read-only besides."""
    return [fault for pod in pods(objects) for fault in (*_pod_rights(pod), *_container_rights(pod))]


def _pod_rights(pod: Pod) -> Iterator[str]:
    context = pod.spec.get("securityContext", {})
    if not context.get("runAsNonRoot") or not context.get("runAsUser") or not context.get("runAsGroup"):
        yield f"{pod.where}: may run as root"
    if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield f"{pod.where}: no seccomp profile"
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.spec.get(field):
            yield f"{pod.where}: {field}"
    for name, volume in pod.volumes.items():
        if set(volume) - {"name"} - _ALLOWED_VOLUMES:
            yield f"{pod.where}: volume {name} is of a kind that the restricted standard forbids"


def _container_rights(pod: Pod) -> Iterator[str]:
    for container in pod.containers:
        context = container.get("securityContext", {})
        if context.get("allowPrivilegeEscalation") is not False or context.get("privileged"):
            yield f"{pod.where}, {container['name']}: may gain rights"
        if context.get("capabilities", {}).get("drop") != ["ALL"] or context.get("capabilities", {}).get("add"):
            yield f"{pod.where}, {container['name']}: keeps capabilities"
        if context.get("readOnlyRootFilesystem") is not True:
            yield f"{pod.where}, {container['name']}: may write to its image"
        if context.get("runAsUser") == 0 or context.get("runAsNonRoot") is False:
            yield f"{pod.where}, {container['name']}: runs as root"


def rights_are_least(objects: Sequence[Object]) -> list[str]:
    """Only those who talk to the Kubernetes API have a token, and no role takes in more than it names."""
    bound = {item["subjects"][0]["name"] for item in of_kind(objects, "RoleBinding")}
    faults = [
        f"{pod.where}: a token of the Kubernetes API"
        for pod in pods(objects)
        if pod.spec.get("automountServiceAccountToken", True) and pod.spec.get("serviceAccountName") not in bound
    ]
    for item in of_kind(objects, "ServiceAccount"):
        if item.get("automountServiceAccountToken", True) and item["metadata"]["name"] not in bound:
            faults.append(f"{told(item)}: a token of the Kubernetes API")
    for item in of_kind(objects, "Role"):
        rules = [rule for rule in item["rules"] if (item["metadata"]["name"], rule) not in _EXCEPTIONS]
        faults += [f"{told(item)}: {fault}" for rule in rules for fault in _rule_faults(rule)]
    for item in of_kind(objects, "RoleBinding"):
        named(objects, item["roleRef"]["kind"], item["roleRef"]["name"])
        account = item["subjects"][0]
        if account["namespace"] != item["metadata"]["namespace"]:
            faults.append(f"{told(item)}: an account of another namespace")
    faults += [
        f"{told(item)}: rights beyond the namespace" for item in of_kind(objects, "ClusterRole", "ClusterRoleBinding")
    ]
    return faults


def _rule_faults(rule: Object) -> Iterator[str]:
    if "*" in {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}:
        yield "a rule for everything"
    if {"secrets", "configmaps"} & set(rule["resources"]) and not rule.get("resourceNames"):
        yield f"{rule['resources']} without names"
    if {"pods/exec", "pods/attach", "serviceaccounts/token"} & set(rule["resources"]):
        yield f"{rule['resources']} lets into other pods"


def claims_have_a_group(objects: Sequence[Object]) -> list[str]:
    """Each volume is mounted by a pod with a group: the kubelet gives it to that group, and runs have none to give."""
    given = {
        volume["persistentVolumeClaim"]["claimName"]
        for pod in pods(objects)
        for volume in pod.spec.get("volumes", [])
        if "persistentVolumeClaim" in volume and pod.spec["securityContext"].get("fsGroup") == _GROUP
    }
    claims = of_kind(objects, "PersistentVolumeClaim")
    return [
        f"{told(item)}: no pod of ours gives it to group {_GROUP}"
        for item in claims
        if item["metadata"]["name"] not in given
    ]
