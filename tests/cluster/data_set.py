"""The suite's data set in the cluster: a pod that makes it and serves its git repository, and what the pod needs."""

from pathlib import Path
from typing import Any

from tests.cluster import data_set_program
from tests.cluster.commands import Kubectl
from tests.cluster.suite_profile import PROJECT
from tests.cluster.waiting import wait_until

NAME = "cluster-suite-data"
REPOSITORY = f"http://{NAME}:{data_set_program.PORT}/{data_set_program.NAME}"
LABELS = {"app.kubernetes.io/managed-by": "cluster-suite"}
_SOURCES = "/etc/cluster-suite"
_PARAMETERS = "raw: data/raw\nsplit: {seed: 1, test_share: 0.34}\nrejects_allowed: 0.5\n"
RESTRICTED: dict[str, Any] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
    "runAsNonRoot": True,
    "runAsUser": 10001,
    "runAsGroup": 10001,
}


def data_set_objects(profile: dict[str, Any], *, image: str, remote: str, has_policies: bool) -> list[dict[str, Any]]:
    """Return the objects: ConfigMap, Pod, Service and network policies.

    ``has_policies`` says whether the namespace limits what runs reach: only then are they given a way to the pod, for a
    policy takes away every other way of a pod that had none.
    """
    files = {
        "data_set_program.py": Path(data_set_program.__file__).read_text(),
        "dvc.yaml": (PROJECT / "dvc.yaml").read_text(),
        "set_aside.yaml": (PROJECT / "set_aside.yaml").read_text(),
        "params.yaml": _PARAMETERS,
    }
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME, "labels": LABELS}, "data": files}
    port = data_set_program.PORT
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": NAME, "labels": LABELS},
        "spec": {"selector": LABELS, "ports": [{"name": "http", "port": port, "targetPort": port}]},
    }
    return [config, _pod(profile, image=image, remote=remote), service, *_policies(has_policies)]


def endpoint_of(profile: dict[str, Any]) -> str:
    """Return the store's endpoint as the data set's program takes it."""
    return profile["kubernetes"].get("environment", {}).get("s3_endpoint") or "-"


def wait_until_served(kubectl: Kubectl) -> None:
    """Wait until the pod has made the data set; raises AssertionError with its log where it fails."""

    def look() -> bool:
        status = kubectl.items("pods", selector=_selector())[0]["status"]
        ready = [one for one in status.get("conditions", []) if one["type"] == "Ready" and one["status"] == "True"]
        assert status.get("phase") != "Failed", kubectl.call("logs", f"pod/{NAME}").out
        return bool(ready)

    wait_until(
        look, "the data set's pod", timeout_s=600, state=lambda: kubectl.call("describe", "pod", NAME).out[-1500:]
    )


def remove(kubectl: Kubectl, *, remote: str, endpoint: str) -> None:
    """Delete the data set's objects from the store and from the cluster."""
    kubectl.execute(f"pod/{NAME}", "python", f"{_SOURCES}/data_set_program.py", "remove", remote, endpoint)
    kubectl.call(
        "delete", "pod,service,configmap,networkpolicy", "--selector", _selector(), "--ignore-not-found", "--now"
    )


def _selector() -> str:
    return ",".join(f"{name}={value}" for name, value in LABELS.items())


def _pod(profile: dict[str, Any], *, image: str, remote: str) -> dict[str, Any]:
    kubernetes = profile["kubernetes"]
    variables = kubernetes.get("environment", {}).get("variables", {})
    secret = kubernetes.get("store_secret") or kubernetes.get("store_secrets", {}).get("models")
    program = ["python", f"{_SOURCES}/data_set_program.py", "make", remote, endpoint_of(profile), _SOURCES]
    container = {
        "name": "data",
        "image": image,
        "imagePullPolicy": kubernetes.get("image_pull_policy", "IfNotPresent"),
        "command": program,
        "workingDir": "/tmp",
        "env": [{"name": name, "value": value} for name, value in {**variables, "HOME": "/tmp"}.items()],
        "envFrom": [{"secretRef": {"name": secret}}] if secret else [],
        "readinessProbe": {
            "httpGet": {"path": f"/{data_set_program.NAME}/info/refs", "port": data_set_program.PORT},
            "periodSeconds": 3,
        },
        "resources": {"requests": {"cpu": "250m", "memory": "512Mi"}, "limits": {"cpu": "2", "memory": "2Gi"}},
        "securityContext": RESTRICTED,
        "volumeMounts": [{"name": "sources", "mountPath": _SOURCES}],
    }
    # `by-hand` of Spineline: its network policies let such a pod to the store and to the cluster's names.
    labels = {
        **LABELS,
        "app.kubernetes.io/name": "spineline",
        "app.kubernetes.io/part-of": "spineline",
        "app.kubernetes.io/component": "by-hand",
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": NAME, "labels": labels, "annotations": {"sidecar.istio.io/inject": "false"}},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "imagePullSecrets": [{"name": name} for name in kubernetes.get("image_pull_secrets", [])],
            "containers": [container],
            "volumes": [{"name": "sources", "configMap": {"name": NAME}}],
        },
    }


def _policies(has_policies: bool) -> list[dict[str, Any]]:
    ports = [{"protocol": "TCP", "port": data_set_program.PORT}]
    runs = {"matchExpressions": [{"key": "spineline.io/step", "operator": "Exists"}]}
    pod = {"matchLabels": LABELS}
    way_in = {
        "podSelector": pod,
        "policyTypes": ["Ingress"],
        "ingress": [{"from": [{"podSelector": runs}], "ports": ports}],
    }
    way_out = {
        "podSelector": runs,
        "policyTypes": ["Egress"],
        "egress": [{"to": [{"podSelector": pod}], "ports": ports}],
    }
    specifications = {f"{NAME}-in": way_in, f"{NAME}-out": way_out} if has_policies else {}
    return [
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": name, "labels": LABELS},
            "spec": specification,
        }
        for name, specification in specifications.items()
    ]
