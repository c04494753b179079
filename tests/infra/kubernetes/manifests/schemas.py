"""Objects held against the schemas of the newest Kubernetes versions, custom resources against their own."""

from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml
from kubernetes_validate.utils import all_versions
from packaging.version import Version

from manifests.objects import Object, told

_FOLDER = Path(__file__).resolve().parents[1] / "schemas"
_CUSTOM = {"InferenceService": "inference-service.yaml", "PodMonitor": "pod-monitor.yaml"}


def newest_versions(count: int = 3) -> list[str]:
    """Return the newest versions of Kubernetes whose schemas are at hand."""
    return sorted(set(all_versions()), key=Version)[-count:]


def faults(item: Object, *, version: str) -> list[str]:
    """Return what is wrong with an object by the schema of its kind; fields that are unknown are faults."""
    if item["kind"] == "InferenceService":
        own, deployment = _parts(item)
        return [*_custom_faults(own), *_kubernetes_faults(deployment, version)]
    return _custom_faults(item) if item["kind"] in _CUSTOM else _kubernetes_faults(item, version)


def _kubernetes_faults(item: Object, version: str) -> list[str]:
    try:
        kubernetes_validate.validate(item, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        place = ".".join(str(part) for part in error.path)
        return [f"{told(item)}, {place}: {error.message.splitlines()[0]}"]
    return []


def _custom_faults(item: Object) -> list[str]:
    errors = jsonschema.Draft202012Validator(_schema(_CUSTOM[item["kind"]])).iter_errors(item)
    return [f"{told(item)}, {'.'.join(map(str, error.path))}: {error.message}" for error in errors]


@cache
def _schema(name: str) -> Any:
    return yaml.safe_load((_FOLDER / name).read_text(encoding="utf-8"))


def _parts(item: Object) -> tuple[Object, Object]:
    """Split an InferenceService into what KServe adds, and the Deployment that it makes of the rest."""
    predictor = item["spec"]["predictor"]
    known = _schema(_CUSTOM["InferenceService"])["properties"]["spec"]["properties"]["predictor"]["properties"]
    own = {name: value for name, value in predictor.items() if name in known}
    pod = {name: value for name, value in predictor.items() if name not in known}
    metadata = {name: own[name] for name in ("labels", "annotations") if name in own}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": item["metadata"]["name"]},
        "spec": {
            "selector": {"matchLabels": own.get("labels", {})},
            "strategy": own.get("deploymentStrategy", {}),
            "template": {"metadata": metadata, "spec": pod},
        },
    }
    return {**item, "spec": {**item["spec"], "predictor": own}}, deployment
