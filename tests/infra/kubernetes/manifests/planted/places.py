"""Where something is broken: the parts of an overlay that faults are planted in."""

from collections.abc import Callable
from typing import Any

from manifests.objects import Object, named

Break = Callable[[list[Object]], None]


def pod(objects: list[Object], name: str = "spineline-serve", kind: str = "Deployment") -> Any:
    """Return the pod of a workload."""
    return named(objects, kind, name)["spec"]["template"]["spec"]


def box(objects: list[Object], name: str = "spineline-serve") -> Any:
    """Return the container of a Deployment."""
    return pod(objects, name)["containers"][0]


def policy(objects: list[Object], name: str) -> Any:
    """Return what a NetworkPolicy says."""
    return named(objects, "NetworkPolicy", name)["spec"]


def without(objects: list[Object], kind: str, name: str) -> None:
    """Remove an object."""
    objects.remove(named(objects, kind, name))
