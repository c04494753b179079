"""What the pods of a compiled pipeline ask of a cluster, read from what is submitted, not from who wrote it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pipelines.cluster.graph import step_name

QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
PRIORITY_LABEL = "kueue.x-k8s.io/priority-class"


@dataclass(frozen=True)
class StepNeeds:
    """What one step's pod asks for."""

    step: str
    requests: Mapping[str, Decimal]
    """Amount of each resource: ``cpu`` in cores, ``memory`` in bytes, GPUs by their type."""
    memory_limit: Decimal
    claims: tuple[str, ...]
    secrets: Mapping[str, tuple[str, ...]]
    """Keys that are taken from each secret; none where the whole secret is mounted."""
    selector: Mapping[str, str]
    tolerations: tuple[Mapping[str, Any], ...]
    queue: str | None
    priority: str | None


def needs_of(documents: list[dict[str, Any]]) -> list[StepNeeds]:
    """Return what each step of a compiled pipeline asks for; ``documents`` are those of its file."""
    executors = documents[0]["deploymentSpec"]["executors"]
    platform = documents[1] if len(documents) > 1 else {}
    settings = platform.get("platforms", {}).get("kubernetes", {}).get("deploymentSpec", {}).get("executors", {})
    return [
        _needs(step_name(name.removeprefix("exec-")), executor["container"], settings.get(name, {}))
        for name, executor in executors.items()
    ]


def _needs(step: str, container: Mapping[str, Any], settings: Mapping[str, Any]) -> StepNeeds:
    resources = container.get("resources", {})
    labels = settings.get("podMetadata", {}).get("labels", {})
    return StepNeeds(
        step=step,
        requests=dict(_requests(resources)),
        memory_limit=_quantity(resources.get("resourceMemoryLimit")),
        claims=tuple(filter(None, (_name(mount, "pvcNameParameter") for mount in settings.get("pvcMount", [])))),
        secrets=_secrets(settings),
        selector=settings.get("nodeSelector", {}).get("labels", {}),
        tolerations=tuple(settings.get("tolerations", [])),
        queue=labels.get(QUEUE_LABEL),
        priority=labels.get(PRIORITY_LABEL),
    )


def _requests(resources: Mapping[str, Any]) -> Iterator[tuple[str, Decimal]]:
    for kind, field in {"cpu": "resourceCpuRequest", "memory": "resourceMemoryRequest"}.items():
        if resources.get(field):
            yield kind, _quantity(resources[field])
    accelerator = resources.get("accelerator", {})
    count = accelerator.get("resourceCount") or accelerator.get("count")
    if count:
        yield accelerator.get("resourceType") or accelerator.get("type"), _quantity(count)


def _secrets(settings: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    found: dict[str, set[str]] = {}
    for use in settings.get("secretAsEnv", []):
        if not use.get("optional") and (name := _name(use, "secretNameParameter", "secretName")):
            found.setdefault(name, set()).update(entry["secretKey"] for entry in use.get("keyToEnv", []))
    for use in (*settings.get("secretAsVolume", []), *settings.get("imagePullSecret", [])):
        if not use.get("optional") and (name := _name(use, "secretNameParameter", "secretName")):
            found.setdefault(name, set())
    return {name: tuple(sorted(keys)) for name, keys in sorted(found.items())}


def _name(use: Mapping[str, Any], parameter: str, old: str = "constant") -> str | None:
    """Return a name that is fixed in the file; None for one that only a run's argument gives."""
    fixed = use.get(parameter, {}).get("runtimeValue", {}).get("constant", use.get(old))
    return str(fixed) if fixed else None


def _quantity(text: object) -> Decimal:
    from kubernetes.utils.quantity import parse_quantity

    return Decimal(parse_quantity(str(text))) if text else Decimal(0)
