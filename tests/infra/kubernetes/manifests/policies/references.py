"""Whether what a manifest names is there: volumes, claims, ConfigMaps, accounts, and Secrets that the README makes."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from manifests.objects import Object, Pod, named, of_kind, pods, told

_README = Path(__file__).resolve().parents[5] / "infra" / "kubernetes" / "README.md"
_KEY = re.compile(r"--from-(?:literal|file)=([A-Za-z_.]+)=|([A-Z][A-Z_]+)=%s")
_LATER = {"spineline-prometheus-rules"}
"""ConfigMaps that infra/observability makes."""


def volumes_exist(objects: Sequence[Object]) -> list[str]:
    """What is mounted is a volume, and every volume is mounted."""
    return [fault for pod in pods(objects) for fault in _volume_faults(pod)]


def _volume_faults(pod: Pod) -> Iterator[str]:
    mounted = set()
    for container in pod.containers:
        places = [mount["mountPath"] for mount in container.get("volumeMounts", [])]
        if len(places) != len(set(places)):
            yield f"{pod.where}, {container['name']}: two volumes in one place"
        for mount in container.get("volumeMounts", []):
            mounted.add(mount["name"])
            if mount["name"] not in pod.volumes:
                yield f"{pod.where}, {container['name']}: no volume {mount['name']}"
    for name in sorted(set(pod.volumes) - mounted):
        yield f"{pod.where}: volume {name} is mounted nowhere"


def references_exist(objects: Sequence[Object]) -> list[str]:
    """Claims, ConfigMaps with their keys, and accounts are in the same rendering."""
    return [
        f"{pod.where}: no {kind} {name}{f' with key {key}' if key else ''}"
        for pod in pods(objects)
        for kind, name, key in _named_by(pod)
        if kind != "Secret" and not _is_there(objects, kind, name, key)
    ]


def _is_there(objects: Sequence[Object], kind: str, name: str, key: str | None) -> bool:
    try:
        item = named(objects, kind, name)
    except LookupError:
        return kind == "ConfigMap" and name in _LATER
    return key is None or key in item["data"]


def secrets_are_documented(objects: Sequence[Object]) -> list[str]:
    """No Secret is in the tree; each that is named, with its key, is made by a command of the README."""
    known = documented_secrets()
    faults = [f"{told(item)}: secrets are named, never kept" for item in of_kind(objects, "Secret")]
    asked = [(pod.where, name, key) for pod in pods(objects) for kind, name, key in _named_by(pod) if kind == "Secret"]
    for item in of_kind(objects, "ServiceAccount"):
        asked += [(told(item), secret["name"], None) for secret in item.get("imagePullSecrets", [])]
    for item in of_kind(objects, "Ingress"):
        asked += [(told(item), entry["secretName"], None) for entry in item["spec"]["tls"]]
    for where, name, key in asked:
        if name not in known:
            faults.append(f"{where}: the README does not say how Secret {name} is made")
        elif key is not None and key not in known[name]:
            faults.append(f"{where}: the README makes Secret {name} without {key}")
    return faults


def documented_secrets() -> dict[str, set[str]]:
    """Return the keys of each Secret that the README's commands make; a line that pipes names them before it."""
    made: dict[str, set[str]] = {}
    for block in re.findall(r"```sh\n(.*?)```", _README.read_text(encoding="utf-8"), flags=re.DOTALL):
        for command in re.split(r"\n(?=\S)", block):
            found = re.search(r"create secret (?:generic|tls|docker-registry) ([a-z-]+)", command)
            if found:
                keys = {first or second for first, second in _KEY.findall(command)}
                made.setdefault(found.group(1), set()).update(keys)
    return made


def _named_by(pod: Pod) -> Iterator[tuple[str, str, str | None]]:
    """Yield kind, name and key of what a pod names and can't start without."""
    yield "ServiceAccount", pod.spec.get("serviceAccountName", ""), None
    for secret in pod.spec.get("imagePullSecrets", []):
        yield "Secret", secret["name"], None
    for volume in pod.spec.get("volumes", []):
        if "persistentVolumeClaim" in volume:
            yield "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"], None
        if "configMap" in volume:
            yield "ConfigMap", volume["configMap"]["name"], None
        if "secret" in volume:
            yield "Secret", volume["secret"]["secretName"], None
    for container in pod.containers:
        yield from _named_in_environment(container)


def _named_in_environment(container: Object) -> Iterator[tuple[str, str, str | None]]:
    for source in container.get("envFrom", []):
        for field, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
            if field in source:
                yield kind, source[field]["name"], None
    for variable in container.get("env", []):
        for field, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
            reference = variable.get("valueFrom", {}).get(field)
            if reference and not reference.get("optional"):
                yield kind, reference["name"], reference["key"]
