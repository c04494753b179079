"""A Kubernetes API server with as much of a cluster as preflight and a run's pods ask for."""

import json
import re
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client as k8s

from pipelines.cluster.argo_nodes import NodeName
from tests.pipelines.cluster.fakes import argo, kueue
from tests.pipelines.cluster.fakes.server import Answer, Server

NAMESPACE = "spineline"
_TO_JSON = k8s.ApiClient().sanitize_for_serialization
_KINDS = {
    "persistentvolumeclaims": ("claims", k8s.V1PersistentVolumeClaim),
    "secrets": ("secrets", k8s.V1Secret),
    "serviceaccounts": ("accounts", k8s.V1ServiceAccount),
}
_ONE = re.compile(rf"^/api/v1/namespaces/{NAMESPACE}/(\w+)/([\w.-]+)$")
_QUEUE = re.compile(rf"^/apis/kueue\.x-k8s\.io/(\w+)/namespaces/{NAMESPACE}/localqueues/([\w.-]+)$")
_WIDE = re.compile(r"^/apis/kueue\.x-k8s\.io/(\w+)/(clusterqueues|workloadpriorityclasses)/([\w.-]+)$")
_CONFIG_MAP = re.compile(rf"^/api/v1/namespaces/{NAMESPACE}/configmaps$")
_CONTROLLER = re.compile(r"^/api/v1/namespaces/([\w-]+)/configmaps/workflow-controller-configmap$")
ON_ERROR = "spec: {templateDefaults: {retryStrategy: {limit: '2', retryPolicy: OnError}}}"
"""Defaults of workflows, as Kubeflow Pipelines 2.17 sets them."""
_WORKFLOWS = f"/apis/argoproj.io/v1alpha1/namespaces/{NAMESPACE}/workflows"
_LOG = re.compile(rf"^/api/v1/namespaces/{NAMESPACE}/pods/([\w.-]+)/log$")


class KubernetesServer(Server):
    """Has what the profile that comes with Spineline asks for; a test takes things away."""

    def __init__(self, *, token: str = "k8s") -> None:
        self.token = token
        self.claims = {"spineline-root": {}, "spineline-cache": {}}
        self.secrets = {"spineline-mlflow": {"MLFLOW_TRACKING_URI": "aA=="}}
        self.accounts: dict[str, Any] = {"spineline-pipeline": {}}
        self.kueue: list[str] = ["v1beta2", "v1beta1"]
        """Versions of Kueue's API, the preferred one first; none where it is not installed."""
        self.controllers: dict[str, Any] = {"kubeflow": {"workflowDefaults": ON_ERROR}}
        """Data of the ConfigMap of Argo's controller, by its namespace."""
        self.queues: dict[str, Any] = {}
        self.cluster_queues: dict[str, Any] = {}
        self.priorities: dict[str, Any] = {}
        self.quotas: list[Any] = []
        self.nodes = [node("gpu-1", gpus=8, taints=[("nvidia.com/gpu", "", "NoSchedule")]), node("cpu-1")]
        self.pods: list[Any] = []
        self.config_maps: dict[str, Any] = {}
        self.workflow_nodes: dict[str, list[Any]] = {}
        """Nodes of each run's workflow."""
        self.logs: dict[str, str] = {}
        self.deleted_workflows: set[str] = set()
        """Runs without a workflow; every other run has one."""
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
        if found := _CONTROLLER.match(path):
            if found[1] not in self.controllers:
                raise _status(404, 'configmaps "workflow-controller-configmap" not found')
            return _TO_JSON(k8s.V1ConfigMap(data=self.controllers[found[1]]))
        if _CONFIG_MAP.match(path):
            return self._config_map(method, query, json.loads(body) if body else {})
        return _TO_JSON(self._object(path, query))

    def _object(self, path: str, query: dict[str, str]) -> Any:
        if found := _LOG.match(path):
            raise Answer(200, self.logs.get(found[1], ""))
        if (found := _ONE.match(path)) and found[1] in _KINDS:
            field, model = _KINDS[found[1]]
            return self._held(field, found[2], model)
        if found := _QUEUE.match(path):
            return self._of_kueue("localqueues", found[2], version=found[1])
        if found := _WIDE.match(path):
            return self._of_kueue(found[2], found[3], version=found[1])
        if path == "/apis/":
            return self._groups()
        if path == "/api/v1/nodes":
            return k8s.V1NodeList(items=self.nodes)
        if path == f"/api/v1/namespaces/{NAMESPACE}/resourcequotas":
            return k8s.V1ResourceQuotaList(items=self.quotas)
        if path == f"/api/v1/namespaces/{NAMESPACE}/pods":
            wanted = dict(pair.split("=") for pair in query["labelSelector"].split(","))
            return k8s.V1PodList(items=[pod for pod in self.pods if wanted.items() <= pod.metadata.labels.items()])
        if path == _WORKFLOWS:
            return self._workflows(query)
        raise _status(404, f"{path} not found")

    def _config_map(self, method: str, query: dict[str, str], body: Any) -> Any:
        """Create ConfigMaps, and list those with a label."""
        if method == "POST":
            name = str(body["metadata"]["name"])
            if name in self.config_maps:
                raise Answer(409, {"kind": "Status", "reason": "AlreadyExists", "code": 409})
            self.config_maps[name] = body
            return {"kind": "ConfigMap", "apiVersion": "v1", **body}
        label, _, value = query["labelSelector"].partition("=")
        items = [one for one in self.config_maps.values() if one["metadata"]["labels"].get(label) == value]
        return {"kind": "ConfigMapList", "apiVersion": "v1", "metadata": {}, "items": items}

    def _workflows(self, query: dict[str, str]) -> Any:
        run_id = query["labelSelector"].removeprefix("pipeline/runid=")
        metadata = {"name": argo.WORKFLOW, "labels": {"pipeline/runid": run_id}}
        nodes = {node["id"]: node for node in self.workflow_nodes.get(run_id, [])}
        found = {"kind": "Workflow", "metadata": metadata, "status": {"nodes": nodes}}
        known = [] if run_id in self.deleted_workflows else [found]
        return {"apiVersion": "argoproj.io/v1alpha1", "kind": "WorkflowList", "metadata": {}, "items": known}

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

    def _groups(self) -> Any:
        kueue = [k8s.V1GroupVersionForDiscovery(f"kueue.x-k8s.io/{one}", one) for one in self.kueue]
        apps = [k8s.V1GroupVersionForDiscovery("apps/v1", "v1")]
        groups = {"apps": apps, **({"kueue.x-k8s.io": kueue} if kueue else {})}
        return k8s.V1APIGroupList(
            groups=[
                k8s.V1APIGroup(name=name, preferred_version=versions[0], versions=versions)
                for name, versions in groups.items()
            ]
        )

    def _of_kueue(self, plural: str, name: str, *, version: str) -> Any:
        if version not in self.kueue:
            raise Answer(404, "404 page not found")
        queues = {"localqueues": self.queues, "clusterqueues": self.cluster_queues}
        held = queues.get(plural, self.priorities)
        if name not in held:
            raise _status(404, f'{plural}.kueue.x-k8s.io "{name}" not found')
        item = {"apiVersion": f"kueue.x-k8s.io/{version}", "kind": kueue.KINDS[plural], "metadata": {"name": name}}
        kueue.check(item | held[name])
        return item | held[name]


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
    *,
    run: str,
    node: str,
    phase: str = "Pending",
    waiting: tuple[str, str] | None = None,
    unschedulable: str | None = None,
    ended: tuple[str, int] | None = None,
    reason: str | None = None,
    message: str | None = None,
    disruption: str | None = None,
    queue: str | None = None,
) -> Any:
    """A pod of a run as Argo makes it for the node with this name (see ``argo``).

    ``ended`` is the reason and exit code of its main container, ``reason`` what Kubernetes itself says of the pod.
    """
    name = NodeName(node)
    step = name.task.replace("-", "_")
    state = k8s.V1ContainerState(
        waiting=k8s.V1ContainerStateWaiting(reason=waiting[0], message=waiting[1]) if waiting else None,
        terminated=k8s.V1ContainerStateTerminated(reason=ended[0], exit_code=ended[1]) if ended else None,
    )
    conditions = []
    if unschedulable or queue:
        conditions.append(
            k8s.V1PodCondition(
                type="PodScheduled",
                status="False",
                reason="SchedulingGated" if queue else "Unschedulable",
                message="Scheduling is blocked due to non-empty scheduling gates" if queue else unschedulable,
            )
        )
    if disruption:
        conditions.append(k8s.V1PodCondition(type="DisruptionTarget", status="True", reason=disruption))
    image = "registry.example/spineline/train:0.1.0"
    status = k8s.V1ContainerStatus(name="main", image=image, image_id="", ready=False, restart_count=0, state=state)
    labels = {"pipeline/runid": run, "workflows.argoproj.io/workflow": argo.WORKFLOW}
    labels |= {} if name.is_driver else {"spineline.io/step": step}
    labels |= {"kueue.x-k8s.io/queue-name": queue} if queue else {}
    template = "system-dag-driver" if name.is_driver else "metadata-0-3-retry-system-container-impl"
    return k8s.V1Pod(
        metadata=k8s.V1ObjectMeta(
            name=pod_name(node, template=template),
            labels=labels,
            annotations={
                "workflows.argoproj.io/node-id": argo.pod_id(node),
                "workflows.argoproj.io/node-name": node,
            },
        ),
        spec=k8s.V1PodSpec(
            scheduling_gates=[k8s.V1PodSchedulingGate(name="kueue.x-k8s.io/admission")] if queue else None,
            containers=[k8s.V1Container(name="wait", image="argo"), k8s.V1Container(name="main", image=image)],
        ),
        status=k8s.V1PodStatus(
            phase=phase, reason=reason, message=message, container_statuses=[status], conditions=conditions or None
        ),
    )


def pod_name(node: str, *, template: str = "metadata-0-3-retry-system-container-impl") -> str:
    """The name of a node's pod: workflow, template and the digest of the node's name."""
    return f"{argo.WORKFLOW}-{template}-{argo.pod_id(node).rpartition('-')[2]}"


def _status(code: int, message: str) -> Answer:
    reason = {401: "Unauthorized", 403: "Forbidden", 404: "NotFound"}[code]
    return Answer(code, {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message})
