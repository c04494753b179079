"""Whether network policies shut everything, apply to pods that exist, and let both ends of a connection agree."""

from collections.abc import Iterator, Sequence
from typing import Literal

from manifests.objects import Labels, Object, of_kind, pods, selects, told
from manifests.policies.runs import RUN_PODS
from manifests.policies.selection import ports_of

_PEER = {"ingress": "from", "egress": "to"}
_TYPES = ("Ingress", "Egress")
Direction = Literal["ingress", "egress"]


def everything_is_shut_by_default(objects: Sequence[Object]) -> list[str]:
    """Pods that no other policy names neither send nor receive."""
    for item in of_kind(objects, "NetworkPolicy"):
        spec = item["spec"]
        if spec["podSelector"] == {} and set(spec["policyTypes"]) == set(_TYPES) and not _rules(item):
            return []
    return ["no NetworkPolicy denies all pods both ways"]


def policies_apply(objects: Sequence[Object]) -> list[str]:
    """A policy's selectors find pods, and its named ports are theirs."""
    return [fault for item in of_kind(objects, "NetworkPolicy") for fault in _misses(item, objects)]


def _misses(item: Object, objects: Sequence[Object]) -> Iterator[str]:
    known = _ends(objects)
    if not any(selects(item["spec"]["podSelector"], labels) for labels, _ in known):
        yield f"{told(item)}: it is for no pod"
    for direction, rule in _rules(item):
        peers = [peer["podSelector"] for peer in rule.get(_PEER[direction], []) if _is_here(peer)]
        for selector in peers:
            if not any(selects(selector, labels) for labels, _ in known):
                yield f"{told(item)}: {direction} for {selector}, which is no pod"
        receiving = [item["spec"]["podSelector"]] if direction == "ingress" else peers
        reached = [ports for labels, ports in known if any(selects(one, labels) for one in receiving)]
        for port in rule.get("ports", []):
            if isinstance(port["port"], str) and not any(port["port"] in ports for ports in reached):
                yield f"{told(item)}: {direction} on port {port['port']}, which no such pod has"


def both_ends_agree(objects: Sequence[Object]) -> list[str]:
    """What one pod may send to another, the other may receive; and the other way round."""
    faults = []
    for item in of_kind(objects, "NetworkPolicy"):
        for direction, rule in _rules(item):
            for one in _labels_of(objects, item["spec"]["podSelector"]):
                for peer in filter(_is_here, rule.get(_PEER[direction], [])):
                    for other in _labels_of(objects, peer["podSelector"]):
                        source, target = (other, one) if direction == "ingress" else (one, other)
                        faults += _one_sided(item, direction, rule, source, target, objects)
    return sorted(set(faults))


def _one_sided(
    item: Object, direction: Direction, rule: Object, source: Labels, target: Labels, objects: Sequence[Object]
) -> list[str]:
    other: Direction = "egress" if direction == "ingress" else "ingress"
    ports = _ports(objects, target)
    asked = [ports.get(port["port"], port["port"]) for port in rule["ports"]]
    declared = set(ports.values())
    return [
        f"{told(item)}: {direction} of {_short(source)} to {_short(target)}:{port}, which no {other} lets through"
        for port in asked
        if (not declared or port in declared) and not may_talk(objects, source, target, port, ends=(other,))
    ]


def may_talk(
    objects: Sequence[Object],
    source: Labels,
    target: Labels,
    port: int,
    *,
    ends: Sequence[Direction] = ("ingress", "egress"),
) -> bool:
    """Tell whether a pod of this namespace may open a connection to a port of another."""
    return all(_lets_through(objects, direction, source, target, port) for direction in ends)


def _lets_through(objects: Sequence[Object], direction: Direction, source: Labels, target: Labels, port: int) -> bool:
    own, peer = (target, source) if direction == "ingress" else (source, target)
    names = _ports(objects, target)
    for item in of_kind(objects, "NetworkPolicy"):
        if not selects(item["spec"]["podSelector"], own):
            continue
        for way, rule in _rules(item):
            is_peer = any(_is_here(one) and selects(one["podSelector"], peer) for one in rule.get(_PEER[way], []))
            if way == direction and is_peer and port in [names.get(one["port"], one["port"]) for one in rule["ports"]]:
                return True
    return False


def _rules(item: Object) -> list[tuple[Direction, Object]]:
    directions: tuple[Direction, ...] = ("ingress", "egress")
    return [(direction, rule) for direction in directions for rule in item["spec"].get(direction, [])]


def _is_here(peer: Object) -> bool:
    return "podSelector" in peer and "namespaceSelector" not in peer


def _ends(objects: Sequence[Object]) -> list[tuple[Labels, dict[str, int]]]:
    """Return labels and ports of all pods, those of a run too."""
    return [*((pod.labels, ports_of(pod)) for pod in pods(objects)), *((labels, {}) for labels in RUN_PODS)]


def _ports(objects: Sequence[Object], labels: Labels) -> dict[str, int]:
    return next(ports for known, ports in _ends(objects) if known == labels)


def _labels_of(objects: Sequence[Object], selector: Object) -> list[Labels]:
    return [labels for labels, _ in _ends(objects) if selects(selector, labels)]


def _short(labels: Labels) -> str:
    return labels.get("app.kubernetes.io/component") or labels.get("spineline.io/step") or "driver"
