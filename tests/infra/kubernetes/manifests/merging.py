"""The two kinds of patch that our overlays use: Kubernetes' strategic merge, and JSON patch (RFC 6902)."""

import copy
from typing import Any

from manifests.objects import Object

_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "env": "name",
    "volumeMounts": "mountPath",
    "imagePullSecrets": "name",
    "topologySpreadConstraints": "topologyKey",
}
"""What tells the items of a list apart; other lists are replaced as a whole."""


def merged(item: Any, patch: Any, *, field: str = "") -> Any:
    """Return ``item`` with a strategic merge patch applied; a null removes its field."""
    if isinstance(item, dict) and isinstance(patch, dict):
        result = {name: copy.deepcopy(value) for name, value in item.items() if patch.get(name, value) is not None}
        for name, value in patch.items():
            if value is not None:
                result[name] = merged(result.get(name), value, field=name)
        return result
    if isinstance(item, list) and isinstance(patch, list) and field in _KEYS:
        return _merged_list(item, patch, key=_KEYS[field])
    return copy.deepcopy(patch)


def _merged_list(items: list[Object], patches: list[Object], *, key: str) -> list[Object]:
    patched = {patch[key]: patch for patch in patches}
    kept = [merged(item, patched.pop(item[key])) if item[key] in patched else copy.deepcopy(item) for item in items]
    # What is new comes first, as kustomize has it.
    return [*copy.deepcopy(list(patched.values())), *kept]


def json_patched(item: Object, operations: list[Object]) -> Object:
    """Return ``item`` after operations on members of objects; raises ValueError for any other."""
    result = copy.deepcopy(item)
    for operation in operations:
        *parents, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
        place: Any = result
        for name in parents:
            place = place[name]
        if not isinstance(place, dict):
            raise ValueError(f"{operation['path']}: a place in a list; expected a member of an object")
        if operation["op"] in ("remove", "replace") and last not in place:
            raise ValueError(f"{operation['path']}: expected to be there")
        if operation["op"] == "remove":
            del place[last]
        elif operation["op"] in ("add", "replace"):
            place[last] = copy.deepcopy(operation["value"])
        else:
            raise ValueError(f"{operation['op']}: expected add, replace or remove")
    return result
