"""Whether there are always enough servers, and room for them: roll-outs, autoscalers, budgets, quota."""

from collections.abc import Sequence
from decimal import Decimal

from manifests.objects import Object, Pod, named, of_kind, pods, selects, told
from manifests.policies.containers import amount


def roll_outs_keep_one_ready(objects: Sequence[Object]) -> list[str]:
    """A Deployment is never below the number that is wanted, and those of several are spread over nodes."""
    faults = []
    for item in of_kind(objects, "Deployment", "InferenceService"):
        is_ours = item["kind"] == "Deployment"
        strategy = item["spec"]["strategy"] if is_ours else item["spec"]["predictor"].get("deploymentStrategy", {})
        rolling = strategy.get("rollingUpdate", {})
        if strategy.get("type") != "RollingUpdate" or rolling.get("maxUnavailable") != 0 or not rolling.get("maxSurge"):
            faults.append(f"{told(item)}: a roll-out may leave fewer ready than are wanted")
    for pod in pods(objects):
        spread = {entry["topologyKey"] for entry in pod.spec.get("topologySpreadConstraints", [])}
        if replicas(pod, objects)[1] > 1 and "kubernetes.io/hostname" not in spread:
            faults.append(f"{pod.where}: several replicas may share a node")
    return faults


def replicas(pod: Pod, objects: Sequence[Object]) -> tuple[int, int]:
    """Return the least and the most replicas of a pod's maker."""
    spec = pod.maker["spec"]
    if pod.maker["kind"] == "InferenceService":
        return spec["predictor"].get("minReplicas", 1), spec["predictor"].get("maxReplicas", 1)
    for item in of_kind(objects, "HorizontalPodAutoscaler"):
        target = item["spec"]["scaleTargetRef"]
        if (target["kind"], target["name"]) == (pod.maker["kind"], pod.maker["metadata"]["name"]):
            return item["spec"].get("minReplicas", 1), item["spec"]["maxReplicas"]
    return spec.get("replicas", 1), spec.get("replicas", 1)


def autoscalers_decide(objects: Sequence[Object]) -> list[str]:
    """An autoscaler's target is there, and no manifest sets the number that it chooses."""
    faults = []
    for item in of_kind(objects, "HorizontalPodAutoscaler"):
        target = item["spec"]["scaleTargetRef"]
        try:
            scaled = named(objects, target["kind"], target["name"])
        except LookupError:
            faults.append(f"{told(item)}: no {target['kind']} {target['name']}")
            continue
        if "replicas" in scaled["spec"]:
            faults.append(f"{told(scaled)}: sets replicas, which {told(item)} chooses")
    return faults


def budgets_let_go_and_keep(objects: Sequence[Object]) -> list[str]:
    """A node can be drained, and one of several is left when it is; whoever has several has a budget."""
    faults = []
    budgets = of_kind(objects, "PodDisruptionBudget")
    for pod in pods(objects):
        least, _ = replicas(pod, objects)
        own = [item for item in budgets if selects(item["spec"]["selector"], pod.labels)]
        if least > 1 and not own:
            faults.append(f"{pod.where}: no PodDisruptionBudget for {least} replicas")
        for item in own:
            away = _allowed(item, least)
            if away < 1 or (least > 1 and away >= least):
                faults.append(f"{told(item)}: lets {away} of {least} go")
    return faults


def _allowed(budget: Object, count: int) -> int:
    spec = budget["spec"]
    return int(spec["maxUnavailable"]) if "maxUnavailable" in spec else count - int(spec["minAvailable"])


def the_quota_has_room(objects: Sequence[Object]) -> list[str]:
    """All servers at their most, and one more of each while it rolls out, fit into the quota."""
    faults = []
    for item in of_kind(objects, "ResourceQuota"):
        left = room_left(objects)
        faults += [f"{told(item)}: {name} is {-value} short" for name, value in left.items() if value < 0]
        if any(name.startswith("limits.cpu") for name in item["spec"]["hard"]):
            faults.append(f"{told(item)}: counts CPU limits, which steps of runs don't have")
    return faults


def room_left(objects: Sequence[Object]) -> dict[str, Decimal]:
    """Return what the quota leaves beside the servers, by its own names."""
    left = {name: amount(value) for name, value in named(objects, "ResourceQuota", "spineline")["spec"]["hard"].items()}
    for pod in pods(objects):
        count = replicas(pod, objects)[1] + 1
        left["pods"] -= count
        for part in ("requests", "limits"):
            for resource in ("cpu", "memory"):
                name = f"{part}.{resource}"
                if name in left:
                    left[name] -= count * sum(amount(one["resources"][part][resource]) for one in pod.lasting)
    for claim in _claims(objects):
        left["persistentvolumeclaims"] -= 1
        left["requests.storage"] -= amount(claim["resources"]["requests"]["storage"])
    return left


def _claims(objects: Sequence[Object]) -> list[Object]:
    own = [claim["spec"] for one in of_kind(objects, "StatefulSet") for claim in one["spec"]["volumeClaimTemplates"]]
    return own + [item["spec"] for item in of_kind(objects, "PersistentVolumeClaim")]
