"""Kubernetes objects as plain dictionaries, and the pods that they make."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]
Labels = dict[str, str]


@dataclass(frozen=True)
class Pod:
    """A pod as the object that makes it describes it."""

    where: str
    """Kind and name of that object."""
    labels: Labels
    annotations: Labels
    spec: Object
    claims: tuple[str, ...]
    """Names of volumes that the object itself claims."""
    maker: Object

    @property
    def containers(self) -> list[Object]:
        """All containers, those that run first included."""
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]

    @property
    def lasting(self) -> list[Object]:
        """The containers that run as long as the pod."""
        return list(self.spec["containers"])

    @property
    def volumes(self) -> dict[str, Object]:
        """Volumes by name."""
        named = {volume["name"]: volume for volume in self.spec.get("volumes", [])}
        return {**{name: {"name": name, "claimed": True} for name in self.claims}, **named}


def load(path: Path) -> list[Object]:
    """Return the objects in a file."""
    return [document for document in yaml.safe_load_all(path.read_text(encoding="utf-8")) if document]


def told(item: Object) -> str:
    """Return kind and name, as a fault is told."""
    return f"{item['kind']} {item['metadata']['name']}"


def of_kind(objects: Sequence[Object], *kinds: str) -> list[Object]:
    """Return the objects of some kinds."""
    return [item for item in objects if item["kind"] in kinds]


def named(objects: Sequence[Object], kind: str, name: str) -> Object:
    """Return one object; raises LookupError where it is missing."""
    for item in objects:
        if item["kind"] == kind and item["metadata"]["name"] == name:
            return item
    raise LookupError(f"{kind} {name}")


def pods(objects: Sequence[Object]) -> list[Pod]:
    """Return the pods that objects make, those of an InferenceService too."""
    return list(_pods(objects))


def _pods(objects: Sequence[Object]) -> Iterator[Pod]:
    for item in objects:
        if item["kind"] in ("Deployment", "StatefulSet", "Job"):
            template = item["spec"]["template"]
            metadata, spec = template["metadata"], template["spec"]
        elif item["kind"] == "InferenceService":
            metadata = spec = item["spec"]["predictor"]
        else:
            continue
        claims = tuple(claim["metadata"]["name"] for claim in item["spec"].get("volumeClaimTemplates", []))
        yield Pod(told(item), metadata.get("labels", {}), metadata.get("annotations", {}), spec, claims, item)


def selects(selector: Object, labels: Labels) -> bool:
    """Tell whether a label selector takes in these labels."""
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    return all(_meets(rule, labels) for rule in selector.get("matchExpressions", []))


def _meets(rule: Object, labels: Labels) -> bool:
    value, operator = labels.get(rule["key"]), rule["operator"]
    if operator == "Exists":
        return value is not None
    if operator == "In":
        return value in rule["values"]
    raise ValueError(f"operator {operator}: expected Exists or In")
