"""Whether what selects pods finds them: controllers, Services, budgets, monitors and the way in."""

from collections.abc import Iterator, Sequence

from manifests.objects import Object, Pod, named, of_kind, pods, selects, told
from manifests.policies.runs import RUN_PODS


def selectors_match(objects: Sequence[Object]) -> list[str]:
    """Every selector takes in the pods that it is for."""
    return list(_blind_controllers(objects)) + list(_blind_others(objects))


def _blind_controllers(objects: Sequence[Object]) -> Iterator[str]:
    for item in of_kind(objects, "Deployment", "StatefulSet"):
        if not selects(item["spec"]["selector"], item["spec"]["template"]["metadata"]["labels"]):
            yield f"{told(item)}: its selector does not match its own pods"


def _blind_others(objects: Sequence[Object]) -> Iterator[str]:
    made = [pod.labels for pod in pods(objects)]
    for item in of_kind(objects, "Service"):
        if sum(selects({"matchLabels": item["spec"]["selector"]}, labels) for labels in made) != 1:
            yield f"{told(item)}: expected to find the pods of one workload"
    for item in of_kind(objects, "PodDisruptionBudget", "PodMonitor"):
        if sum(selects(item["spec"]["selector"], labels) for labels in [*made, *RUN_PODS]) != 1:
            yield f"{told(item)}: expected to find the pods of one workload"


def services_hit_ports(objects: Sequence[Object]) -> list[str]:
    """A Service's port has a name that its pods have, and what comes in from outside has a Service's port."""
    return list(_ports_missed(objects)) + list(_backends_missed(objects))


def ports_of(pod: Pod) -> dict[str, int]:
    """Return a pod's ports by name."""
    return {port["name"]: port["containerPort"] for one in pod.lasting for port in one.get("ports", [])}


def _ports_missed(objects: Sequence[Object]) -> Iterator[str]:
    for item in of_kind(objects, "Service"):
        for pod in pods(objects):
            if not selects({"matchLabels": item["spec"]["selector"]}, pod.labels):
                continue
            for port in item["spec"]["ports"]:
                if port.get("targetPort") not in ports_of(pod):
                    yield f"{told(item)}: port {port.get('targetPort')} is none of {pod.where}'s names"
    for item in of_kind(objects, "PodMonitor"):
        for pod in pods(objects):
            asked = {end["port"] for end in item["spec"]["podMetricsEndpoints"] if "port" in end}
            if selects(item["spec"]["selector"], pod.labels) and asked - set(ports_of(pod)):
                yield f"{told(item)}: {sorted(asked)} is none of {pod.where}'s ports"


def _backends_missed(objects: Sequence[Object]) -> Iterator[str]:
    for item in of_kind(objects, "Ingress"):
        for path in _paths(item):
            asked = path["backend"]["service"]
            try:
                ports = {port["name"] for port in named(objects, "Service", asked["name"])["spec"]["ports"]}
            except LookupError:
                ports = set()
            if asked["port"].get("name") not in ports:
                yield f"{told(item)}, {path['path']}: no Service {asked['name']} with port {asked['port']}"


def ways_in(objects: Sequence[Object]) -> list[tuple[str, bool]]:
    """Return the paths that are reached from outside, and whether what lies below them is reached too."""
    return [
        (path["path"], path["pathType"] == "Prefix") for item in of_kind(objects, "Ingress") for path in _paths(item)
    ]


def _paths(ingress: Object) -> Iterator[Object]:
    for rule in ingress["spec"]["rules"]:
        yield from rule["http"]["paths"]
