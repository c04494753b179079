"""Names that lead nowhere: what breaks selectors, ports, network policies and references."""

from manifests.objects import Object, named
from manifests.planted.places import Break, box, pod, policy, without


def a_pod_loses_its_label(o: list[Object]) -> None:
    del named(o, "Deployment", "mlflow")["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"]


def a_service_looks_for_another_label(o: list[Object]) -> None:
    named(o, "Service", "mlflow")["spec"]["selector"]["app.kubernetes.io/component"] = "tracking"


def a_service_finds_two_workloads(o: list[Object]) -> None:
    del named(o, "Service", "mlflow")["spec"]["selector"]["app.kubernetes.io/component"]


def a_budget_finds_nothing(o: list[Object]) -> None:
    named(o, "PodDisruptionBudget", "mlflow")["spec"]["selector"]["matchLabels"] = {"app": "mlflow"}


def a_port_is_renamed(o: list[Object]) -> None:
    box(o, "mlflow")["ports"][0]["name"] = "web"


def the_way_in_leads_to_no_port(o: list[Object]) -> None:
    path = named(o, "Ingress", "spineline-serve")["spec"]["rules"][0]["http"]["paths"][0]
    path["backend"]["service"]["port"]["name"] = "web"


def all_may_send(o: list[Object]) -> None:
    policy(o, "default-deny")["policyTypes"] = ["Ingress"]


def a_policy_is_for_no_pod(o: list[Object]) -> None:
    policy(o, "serve")["podSelector"]["matchLabels"]["app.kubernetes.io/component"] = "server"


def a_policy_lets_in_nobody(o: list[Object]) -> None:
    policy(o, "postgres")["ingress"][0]["from"][0]["podSelector"]["matchLabels"] = {"app": "mlflow"}


def a_policy_names_no_port(o: list[Object]) -> None:
    policy(o, "mlflow")["ingress"][0]["ports"][0]["port"] = "web"


def only_one_end_may(o: list[Object]) -> None:
    without(o, "NetworkPolicy", "to-postgres")


def only_the_other_end_may(o: list[Object]) -> None:
    without(o, "NetworkPolicy", "store")


def a_volume_is_missing(o: list[Object]) -> None:
    pod(o)["volumes"] = [volume for volume in pod(o)["volumes"] if volume["name"] != "tmp"]


def a_volume_is_not_mounted(o: list[Object]) -> None:
    pod(o)["volumes"].append({"name": "spare", "emptyDir": {"sizeLimit": "1Gi"}})


def a_claim_is_missing(o: list[Object]) -> None:
    without(o, "PersistentVolumeClaim", "spineline-root")


def a_config_map_is_missing(o: list[Object]) -> None:
    without(o, "ConfigMap", "spineline-settings")


def an_account_is_missing(o: list[Object]) -> None:
    without(o, "ServiceAccount", "spineline-mlflow")


def a_secret_is_in_the_tree(o: list[Object]) -> None:
    o.append({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "spineline-store"}, "data": {}})


def a_secret_is_unknown(o: list[Object]) -> None:
    box(o)["env"][-1]["valueFrom"]["secretKeyRef"]["name"] = "spineline-bucket"


def a_key_is_unknown(o: list[Object]) -> None:
    box(o)["env"][-1]["valueFrom"]["secretKeyRef"]["key"] = "AWS_SECRET"


PLANTED: dict[str, tuple[Break, ...]] = {
    "selectors_match": (
        a_pod_loses_its_label,
        a_service_looks_for_another_label,
        a_service_finds_two_workloads,
        a_budget_finds_nothing,
    ),
    "services_hit_ports": (a_port_is_renamed, the_way_in_leads_to_no_port),
    "everything_is_shut_by_default": (all_may_send,),
    "policies_apply": (a_policy_is_for_no_pod, a_policy_names_no_port),
    "volumes_exist": (a_volume_is_missing, a_volume_is_not_mounted),
    "references_exist": (a_claim_is_missing, a_config_map_is_missing, an_account_is_missing),
    "secrets_are_documented": (a_secret_is_in_the_tree, a_secret_is_unknown, a_key_is_unknown),
}
"""By policy, what breaks the production overlay."""
