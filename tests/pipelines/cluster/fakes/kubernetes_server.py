"""A Kubernetes API server with as much of a cluster as preflight and a run's pods ask for."""

import re
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client as k8s

from tests.pipelines.cluster.fakes.server import Answer, Server

NAMESPACE = "spineline"
_TO_JSON = k8s.ApiClient().sanitize_for_serialization
_KINDS = {
    "persistentvolumeclaims": ("claims", k8s.V1PersistentVolumeClaim),
    "secrets": ("secrets", k8s.V1Secret),
    "serviceaccounts": ("accounts", k8s.V1ServiceAccount),
}
_ONE = re.compile(rf"^/api/v1/namespaces/{NAMESPACE}/(\w+)/([\w.-]+)$")
_QUEUE = re.compile(rf"^/apis/kueue\.x-k8s\.io/v1beta1/namespaces/{NAMESPACE}/localqueues/([\w.-]+)$")
_WIDE = re.compile(r"^/apis/kueue\.x-k8s\.io/v1beta1/(clusterqueues|workloadpriorityclasses)/([\w.-]+)$")
_LOG = re.compile(rf"^/api/v1/namespaces/{NAMESPACE}/pods/([\w.-]+)/log$")


class KubernetesServer(Server):
    """Has what the profile that comes with Spineline asks for; a test takes things away."""

    def __init__(self, *, token: str = "k8s") -> None:
        self.token = token
        self.claims = {"spineline-root": {}, "spineline-cache": {}}
        self.secrets = {"spineline-mlflow": {"MLFLOW_TRACKING_URI": "aA=="}}
        self.accounts: dict[str, Any] = {"spineline-pipeline": {}}
        self.queues: dict[str, Any] = {}
        self.cluster_queues: dict[str, Any] = {}
        self.priorities: dict[str, Any] = {}
        self.quotas: list[Any] = []
        self.nodes = [node("gpu-1", gpus=8, taints=[("nvidia.com/gpu", "", "NoSchedule")]), node("cpu-1")]
        self.pods: list[Any] = []
        self.logs: dict[str, str] = {}
        self.forbidden: set[str] = set()
        """Kinds of objects that may not be read."""
        super().__init__()

    def write_kubeconfig(self, path: Path) -> Path:
        """Write a kubeconfig whose context 'lab' is this server."""
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "lab",
            "clusters": [{"name": "lab", "cluster": {"server": self.url}}],
            "users": [{"name": "ann", "user": {"token": self.token}}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "ann", "namespace": "other"}}],
        }
        path.write_text(yaml.safe_dump(content))
        return path

    def reply(self, method: str, path: str, query: dict[str, str], body: bytes, headers: dict[str, str]) -> Any:
        if headers.get("authorization") != f"Bearer {self.token}":
            raise _status(401, "Unauthorized")
        kind = next((kind for kind in self.forbidden if f"/{kind}" in path), None)
        if kind:
            raise _status(403, f'{kind} is forbidden: User "ann" cannot get resource "{kind}"')
        return _TO_JSON(self._object(path, query))

    def _object(self, path: str, query: dict[str, str]) -> Any:
        if found := _LOG.match(path):
            raise Answer(200, self.logs.get(found[1], ""))
        if (found := _ONE.match(path)) and found[1] in _KINDS:
            field, model = _KINDS[found[1]]
            return self._held(field, found[2], model)
        if found := _QUEUE.match(path):
            return self._custom(self.queues, found[1])
        if found := _WIDE.match(path):
            return self._custom({"clusterqueues": self.cluster_queues}.get(found[1], self.priorities), found[2])
        if path == "/api/v1/nodes":
            return k8s.V1NodeList(items=self.nodes)
        if path == f"/api/v1/namespaces/{NAMESPACE}/resourcequotas":
            return k8s.V1ResourceQuotaList(items=self.quotas)
        if path == f"/api/v1/namespaces/{NAMESPACE}/pods":
            wanted = dict(pair.split("=") for pair in query["labelSelector"].split(","))
            return k8s.V1PodList(items=[pod for pod in self.pods if wanted.items() <= pod.metadata.labels.items()])
        raise _status(404, f"{path} not found")

    def _held(self, field: str, name: str, model: Any) -> Any:
        held = getattr(self, field)
        if name not in held:
            raise _status(404, f'{field} "{name}" not found')
        metadata = k8s.V1ObjectMeta(name=name, namespace=NAMESPACE)
        if field == "secrets":
            return model(metadata=metadata, data=held[name])
        if field == "claims":
            return model(metadata=metadata, status=k8s.V1PersistentVolumeClaimStatus(phase=held[name].get("phase")))
        return model(metadata=metadata)

    def _custom(self, held: dict[str, Any], name: str) -> Any:
        if name not in held:
            raise _status(404, f'"{name}" not found')
        return {"apiVersion": "kueue.x-k8s.io/v1beta1", "metadata": {"name": name}, **held[name]}


def node(
    name: str,
    *,
    cpu: str = "64",
    memory: str = "512Gi",
    gpus: int = 0,
    labels: dict[str, str] | None = None,
    taints: list[tuple[str, str, str]] | None = None,
) -> Any:
    """A node that takes pods."""
    allocatable = {"cpu": cpu, "memory": memory, **({"nvidia.com/gpu": str(gpus)} if gpus else {})}
    return k8s.V1Node(
        metadata=k8s.V1ObjectMeta(name=name, labels=labels or {}),
        spec=k8s.V1NodeSpec(
            taints=[k8s.V1Taint(key=key, value=value, effect=effect) for key, value, effect in taints or []] or None
        ),
        status=k8s.V1NodeStatus(allocatable=allocatable),
    )


def quota(name: str, **hard: str) -> Any:
    """A quota of the namespace; "__" stands for the dots of a resource's name."""
    return k8s.V1ResourceQuota(
        metadata=k8s.V1ObjectMeta(name=name),
        spec=k8s.V1ResourceQuotaSpec(hard={key.replace("__", "."): amount for key, amount in hard.items()}),
    )


def pod(
    name: str,
    *,
    run: str,
    node_name: str,
    phase: str = "Pending",
    step: str | None = None,
    waiting: tuple[str, str] | None = None,
    unschedulable: str | None = None,
    ended: str | None = None,
    is_gated: bool = False,
) -> Any:
    """A pod of a run, as Argo makes it; ``node_name`` is the path of its node in the workflow."""
    state = k8s.V1ContainerState(
        waiting=k8s.V1ContainerStateWaiting(reason=waiting[0], message=waiting[1]) if waiting else None,
        terminated=k8s.V1ContainerStateTerminated(reason=ended, exit_code=137) if ended else None,
    )
    condition = k8s.V1PodCondition(
        type="PodScheduled", status="False", reason="Unschedulable", message=unschedulable or ""
    )
    image = "registry.example/spineline/train:0.1.0"
    status = k8s.V1ContainerStatus(name="main", image=image, image_id="", ready=False, restart_count=0, state=state)
    return k8s.V1Pod(
        metadata=k8s.V1ObjectMeta(
            name=name,
            labels={"pipeline/runid": run, **({"spineline.io/step": step} if step else {})},
            annotations={"workflows.argoproj.io/node-name": node_name},
        ),
        spec=k8s.V1PodSpec(
            scheduling_gates=[k8s.V1PodSchedulingGate(name="kueue.x-k8s.io/admission")] if is_gated else None,
            containers=[k8s.V1Container(name="wait", image="argo"), k8s.V1Container(name="main", image=image)],
        ),
        status=k8s.V1PodStatus(
            phase=phase, container_statuses=[status], conditions=[condition] if unschedulable else None
        ),
    )


def _status(code: int, message: str) -> Answer:
    reason = {401: "Unauthorized", 403: "Forbidden", 404: "NotFound"}[code]
    return Answer(code, {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message})
