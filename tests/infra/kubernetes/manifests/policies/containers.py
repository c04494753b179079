"""What every container keeps to: limits, a pinned image, a command and settings that exist."""

import importlib.metadata
import importlib.util
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import get_args

from components.images import VERSION, Target
from manifests.objects import Object, Pod, of_kind, pods, told
from spine.settings import Settings

_DOCKERFILE = Path(__file__).resolve().parents[5] / "infra" / "images" / "Dockerfile"
_OURS = re.compile(r"(?:^|/)spineline/([a-z]+):")
_UNITS = {"": 1, "m": Decimal("0.001"), "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def amount(text: str | int) -> Decimal:
    """Return a quantity as a number: CPUs, bytes or pieces."""
    number, unit = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", str(text)).groups()  # type: ignore[union-attr]
    return Decimal(number) * _UNITS[unit]


def limits_are_set(objects: Sequence[Object]) -> list[str]:
    """Each container asks for CPU and memory and has limits to both; a volume on the node's disk has one too."""
    return [fault for pod in pods(objects) for fault in _limit_faults(pod)]


def _limit_faults(pod: Pod) -> Iterator[str]:
    for container in pod.containers:
        asked, most = (container.get("resources", {}).get(part, {}) for part in ("requests", "limits"))
        for resource in ("cpu", "memory"):
            if resource not in asked or resource not in most:
                yield f"{pod.where}, {container['name']}: no request or no limit of {resource}"
            elif amount(asked[resource]) > amount(most[resource]):
                yield f"{pod.where}, {container['name']}: asks for more {resource} than its limit"
    for name, volume in pod.volumes.items():
        if "emptyDir" in volume and "sizeLimit" not in volume["emptyDir"]:
            yield f"{pod.where}: emptyDir {name} has no sizeLimit"


def images_are_pinned(objects: Sequence[Object]) -> list[str]:
    """An image has a tag that is not latest; one of ours is a target of the Dockerfile in this version."""
    built = set(re.findall(r"^FROM \S+ AS ([a-z]+)$", _DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE))
    targets = built & set(get_args(Target))
    faults = []
    for pod in pods(objects):
        for reference in (container["image"] for container in pod.containers):
            tag = re.search(r":([^/@]+)(?:@sha256:[0-9a-f]{64})?$", reference)
            if tag is None or tag.group(1) == "latest":
                faults.append(f"{pod.where}: {reference} is no fixed version")
            elif ours := _OURS.search(reference):
                if ours.group(1) not in targets:
                    faults.append(f"{pod.where}: {reference} is no target of the Dockerfile: {sorted(targets)}")
                if tag.group(1) != VERSION:
                    faults.append(f"{pod.where}: {reference} is not version {VERSION}")
    return faults


def settings_exist(objects: Sequence[Object]) -> list[str]:
    """A variable SPINELINE_* is a setting, and no Service makes one that is: its variables reach every pod of a run."""
    known = {f"SPINELINE_{name}".upper() for name in Settings.model_fields}
    given = [(pod.where, one["name"]) for pod in pods(objects) for box in pod.containers for one in box.get("env", [])]
    given += [(told(item), name) for item in of_kind(objects, "ConfigMap") for name in item["data"]]
    faults = [
        f"{where}: {name} is no setting" for where, name in given if name.startswith("SPINELINE_") and name not in known
    ]
    for item in of_kind(objects, "Service", "InferenceService"):
        stem = item["metadata"]["name"].upper().replace("-", "_")
        faults += [f"{told(item)}: sets {stem}_{end}" for end in ("PORT", "SERVICE_HOST") if f"{stem}_{end}" in known]
    faults += [f"{pod.where}: enableServiceLinks" for pod in pods(objects) if pod.spec.get("enableServiceLinks", True)]
    return faults


def commands_exist(objects: Sequence[Object]) -> list[str]:
    """What a container of ours starts can be imported, or is a script that our environment has."""
    scripts = {entry.name for entry in importlib.metadata.entry_points(group="console_scripts")} | {"python"}
    faults = []
    for pod in pods(objects):
        for container in pod.containers:
            if not _OURS.search(container["image"]):
                continue
            command = [*container.get("command", []), *container.get("args", [])]
            if not command or command[0] not in scripts:
                faults.append(f"{pod.where}, {container['name']}: nothing that our images have: {command}")
            elif command[1] == "-m" and importlib.util.find_spec(command[2]) is None:
                faults.append(f"{pod.where}, {container['name']}: no module {command[2]}")
    return faults
