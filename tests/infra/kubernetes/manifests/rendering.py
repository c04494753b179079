"""As much of kustomize as our overlays use, so that a machine without kubectl tests them too; it refuses the rest."""

import copy
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from manifests.merging import json_patched, merged
from manifests.objects import Object, load

_CLUSTER_WIDE = ("Namespace",)
_FILE = "kustomization.yaml"


class UnknownFieldError(Exception):
    """A kustomization uses what this renderer does not know."""


def render(folder: Path) -> list[Object]:
    """Return the objects of a kustomization; raises UnknownFieldError."""
    return _accumulated(folder, [])


def _accumulated(folder: Path, objects: list[Object]) -> list[Object]:
    given = yaml.safe_load((folder / _FILE).read_text(encoding="utf-8"))
    _require_known(given, folder)
    for entry in given.get("resources", []):
        place = folder / entry
        objects = [*objects, *(render(place) if place.is_dir() else load(place))]
    for entry in given.get("components", []):
        objects = _accumulated(folder / entry, objects)
    objects = [*objects, *(_config_map(entry, folder) for entry in given.get("configMapGenerator", []))]
    for name, transform in _TRANSFORMS.items():
        if name in given:
            objects = transform(objects, given[name], folder)
    return objects


def _require_known(given: Object, folder: Path) -> None:
    known = {"apiVersion", "kind", "resources", "components", "configMapGenerator", *_TRANSFORMS}
    if unknown := set(given) - known:
        raise UnknownFieldError(f"{folder / _FILE}: {', '.join(sorted(unknown))}; expected {', '.join(sorted(known))}")


def _config_map(entry: Object, folder: Path) -> Object:
    if not entry.get("options", {}).get("disableNameSuffixHash") or set(entry) - {"name", "files", "options"}:
        raise UnknownFieldError(f"{folder}: ConfigMap {entry['name']} expected of files, without a hash in its name")
    data = {name: (folder / name).read_text(encoding="utf-8") for name in entry["files"]}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": entry["name"]}, "data": data}


def _patched(objects: list[Object], patches: Sequence[Object], folder: Path) -> list[Object]:
    for entry in patches:
        text = (folder / entry["path"]).read_text(encoding="utf-8") if "path" in entry else entry["patch"]
        for patch in yaml.safe_load_all(text):
            if isinstance(patch, list):
                objects = _each(objects, _is_target(entry["target"]), lambda item, by=patch: json_patched(item, by))
            elif patch.get("$patch") == "delete":
                objects = [item for item in objects if not _is_same(patch)(item)]
            else:
                objects = _each(objects, _is_same(patch), lambda item, by=patch: merged(item, by))
    return objects


def _each(objects: list[Object], wanted: Callable[[Object], bool], change: Callable[[Object], Object]) -> list[Object]:
    if not any(map(wanted, objects)):
        raise LookupError("a patch is for an object that is not there")
    return [change(item) if wanted(item) else item for item in objects]


def _is_same(patch: Object) -> Callable[[Object], bool]:
    wanted = (patch["apiVersion"], patch["kind"], patch["metadata"]["name"])
    return lambda item: (item["apiVersion"], item["kind"], item["metadata"]["name"]) == wanted


def _is_target(target: Object) -> Callable[[Object], bool]:
    name = re.compile(f"^({target.get('name', '.*')})$")
    return lambda item: item["kind"] == target["kind"] and name.match(item["metadata"]["name"]) is not None


def _in_namespace(objects: list[Object], namespace: str, _: Path) -> list[Object]:
    accounts = {item["metadata"]["name"] for item in objects if item["kind"] == "ServiceAccount"}
    moved = copy.deepcopy(objects)
    for item in moved:
        item["metadata"]["name" if item["kind"] == "Namespace" else "namespace"] = namespace
        if item["kind"] in _CLUSTER_WIDE:
            item["metadata"].pop("namespace", None)
        for subject in item.get("subjects", []):
            if subject["kind"] == "ServiceAccount" and subject["name"] in accounts:
                subject["namespace"] = namespace
    return moved


def _labelled(objects: list[Object], entries: Sequence[Object], _: Path) -> list[Object]:
    result = copy.deepcopy(objects)
    for entry in entries:
        if set(entry) != {"pairs", "includeTemplates"}:
            raise UnknownFieldError(f"labels: {sorted(entry)}; expected pairs and includeTemplates")
        for item in result:
            for metadata in _labelled_places(item):
                metadata["labels"] = {**metadata.get("labels", {}), **entry["pairs"]}
    return result


def _labelled_places(item: Object) -> Iterator[Object]:
    yield item["metadata"]
    if item["kind"] in ("Deployment", "StatefulSet", "Job"):
        yield item["spec"]["template"]["metadata"]
    if item["kind"] == "StatefulSet":
        yield from (claim["metadata"] for claim in item["spec"].get("volumeClaimTemplates", []))


def _with_images(objects: list[Object], entries: Sequence[Object], _: Path) -> list[Object]:
    wanted = {entry["name"]: entry for entry in entries}
    return [_image_set(copy.deepcopy(item), wanted) for item in objects]


def _image_set(part: Any, wanted: dict[str, Object]) -> Any:
    if isinstance(part, list):
        return [_image_set(item, wanted) for item in part]
    if not isinstance(part, dict):
        return part
    for field in ("containers", "initContainers"):
        for container in part.get(field) or []:
            container["image"] = _image(container["image"], wanted)
    return {name: _image_set(value, wanted) for name, value in part.items()}


def _image(reference: str, wanted: dict[str, Object]) -> str:
    name, tag = re.fullmatch(r"(.+?)(?::([^:/]+))?", reference).groups()  # type: ignore[union-attr]
    entry = wanted.get(name, {})
    new_tag = entry.get("newTag", tag)
    return f"{entry.get('newName', name)}{f':{new_tag}' if new_tag else ''}"


_TRANSFORMS: dict[str, Callable[[list[Object], Any, Path], list[Object]]] = {
    "patches": _patched,
    "namespace": _in_namespace,
    "labels": _labelled,
    "images": _with_images,
}
"""By the field of a kustomization, in the order in which kustomize goes through them."""
