"""Pods that would fail their callers or gain rights: what breaks containers, rights, probes and numbers."""

from manifests.objects import Object, named
from manifests.planted.places import Break, box, pod, without


def a_first_container_has_no_limit(o: list[Object]) -> None:
    del pod(o)["initContainers"][0]["resources"]["limits"]["memory"]


def more_is_asked_than_allowed(o: list[Object]) -> None:
    box(o)["resources"]["requests"]["memory"] = "17Gi"


def a_disk_has_no_end(o: list[Object]) -> None:
    named(o, "Deployment", "mlflow")["spec"]["template"]["spec"]["volumes"][0]["emptyDir"] = {}


def the_latest_image(o: list[Object]) -> None:
    box(o)["image"] = "spineline/serve:latest"


def an_image_without_a_tag(o: list[Object]) -> None:
    box(o)["image"] = "registry.example.org:5000/spineline/serve"


def an_image_that_nobody_builds(o: list[Object]) -> None:
    box(o)["image"] = "spineline/server:0.1.0"


def an_older_image(o: list[Object]) -> None:
    box(o)["image"] = "spineline/serve:0.0.9"


def a_setting_is_misspelt(o: list[Object]) -> None:
    box(o)["env"].append({"name": "SPINELINE_TOKEN", "value": "x"})


def a_shared_setting_is_misspelt(o: list[Object]) -> None:
    named(o, "ConfigMap", "spineline-settings")["data"]["SPINELINE_MODELSTORE"] = "s3://x"


def a_service_sets_a_setting(o: list[Object]) -> None:
    named(o, "Service", "spineline-serve")["metadata"]["name"] = "spineline-metrics"


def a_module_that_is_not_there(o: list[Object]) -> None:
    box(o)["command"] = ["python", "-m", "components.serve"]


def a_shell(o: list[Object]) -> None:
    box(o)["command"] = ["sh", "-c", "python -m components.serve_model"]


def a_pod_may_be_root(o: list[Object]) -> None:
    del pod(o)["securityContext"]["runAsNonRoot"]


def a_first_container_writes_to_its_image(o: list[Object]) -> None:
    pod(o)["initContainers"][0]["securityContext"]["readOnlyRootFilesystem"] = False


def a_container_keeps_capabilities(o: list[Object]) -> None:
    box(o)["securityContext"]["capabilities"] = {"drop": ["ALL"], "add": ["NET_RAW"]}


def a_folder_of_the_node(o: list[Object]) -> None:
    pod(o)["volumes"].append({"name": "node", "hostPath": {"path": "/"}})


def a_server_has_a_token(o: list[Object]) -> None:
    pod(o)["automountServiceAccountToken"] = True


def a_role_for_everything(o: list[Object]) -> None:
    named(o, "Role", "spineline-pipeline")["rules"][0]["verbs"] = ["*"]


def a_role_reads_all_secrets(o: list[Object]) -> None:
    for rule in named(o, "Role", "spineline-pipeline")["rules"]:
        rule.pop("resourceNames", None)


def nobody_mounts_the_cache(o: list[Object]) -> None:
    spec = pod(o, "spineline-monitor")
    spec["volumes"] = [volume for volume in spec["volumes"] if volume["name"] != "cache"]


def a_volume_stays_the_kubelets(o: list[Object]) -> None:
    del pod(o, "spineline-monitor")["securityContext"]["fsGroup"]


def nobody_asks_whether_it_lives(o: list[Object]) -> None:
    del box(o)["livenessProbe"]


def ready_without_a_model(o: list[Object]) -> None:
    box(o)["readinessProbe"]["httpGet"]["path"] = "/healthz"


def no_time_to_load(o: list[Object]) -> None:
    box(o)["startupProbe"]["failureThreshold"] = 6


def a_probe_of_no_port(o: list[Object]) -> None:
    box(o, "mlflow")["readinessProbe"]["httpGet"]["port"] = "web"


def prometheus_is_sent_elsewhere(o: list[Object]) -> None:
    named(o, "Deployment", "spineline-serve")["spec"]["template"]["metadata"]["annotations"]["prometheus.io/port"] = (
        "80"
    )


def uploads_are_cut_off(o: list[Object]) -> None:
    pod(o)["terminationGracePeriodSeconds"] = 1800


def proxies_are_not_waited_for(o: list[Object]) -> None:
    del box(o)["lifecycle"]


def jobs_are_lost(o: list[Object]) -> None:
    named(o, "Service", "spineline-serve")["spec"]["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"] = 600


def a_roll_out_takes_one_away(o: list[Object]) -> None:
    named(o, "Deployment", "spineline-serve")["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] = 1


def all_at_once(o: list[Object]) -> None:
    named(o, "Deployment", "spineline-monitor")["spec"]["strategy"] = {"type": "Recreate"}


def all_on_one_node(o: list[Object]) -> None:
    del pod(o)["topologySpreadConstraints"]


def kserve_takes_one_away(o: list[Object]) -> None:
    named(o, "InferenceService", "vertebrae")["spec"]["predictor"]["deploymentStrategy"]["rollingUpdate"] = {
        "maxUnavailable": 1
    }


def the_manifest_undoes_the_autoscaler(o: list[Object]) -> None:
    named(o, "Deployment", "spineline-serve")["spec"]["replicas"] = 2


def nothing_is_scaled(o: list[Object]) -> None:
    named(o, "HorizontalPodAutoscaler", "spineline-serve")["spec"]["scaleTargetRef"]["name"] = "serve"


def no_node_can_be_drained(o: list[Object]) -> None:
    budget = named(o, "PodDisruptionBudget", "spineline-serve")["spec"]
    del budget["maxUnavailable"]
    budget["minAvailable"] = 3


def all_may_go(o: list[Object]) -> None:
    named(o, "PodDisruptionBudget", "spineline-serve")["spec"]["maxUnavailable"] = 3


def several_without_a_budget(o: list[Object]) -> None:
    without(o, "PodDisruptionBudget", "mlflow")


def no_room(o: list[Object]) -> None:
    named(o, "ResourceQuota", "spineline")["spec"]["hard"]["requests.memory"] = "16Gi"


def steps_are_refused(o: list[Object]) -> None:
    named(o, "ResourceQuota", "spineline")["spec"]["hard"]["limits.cpu"] = "500"


PLANTED: dict[str, tuple[Break, ...]] = {
    "limits_are_set": (a_first_container_has_no_limit, more_is_asked_than_allowed, a_disk_has_no_end),
    "images_are_pinned": (the_latest_image, an_image_without_a_tag, an_image_that_nobody_builds, an_older_image),
    "settings_exist": (a_setting_is_misspelt, a_shared_setting_is_misspelt, a_service_sets_a_setting),
    "commands_exist": (a_module_that_is_not_there, a_shell),
    "nobody_is_root": (
        a_pod_may_be_root,
        a_first_container_writes_to_its_image,
        a_container_keeps_capabilities,
        a_folder_of_the_node,
    ),
    "rights_are_least": (a_server_has_a_token, a_role_for_everything, a_role_reads_all_secrets),
    "claims_have_a_group": (nobody_mounts_the_cache, a_volume_stays_the_kubelets),
    "probes_mean_something": (
        nobody_asks_whether_it_lives,
        ready_without_a_model,
        no_time_to_load,
        a_probe_of_no_port,
        prometheus_is_sent_elsewhere,
    ),
    "requests_may_end": (uploads_are_cut_off, proxies_are_not_waited_for, jobs_are_lost),
    "roll_outs_keep_one_ready": (a_roll_out_takes_one_away, all_at_once, all_on_one_node),
    "autoscalers_decide": (the_manifest_undoes_the_autoscaler, nothing_is_scaled),
    "budgets_let_go_and_keep": (no_node_can_be_drained, all_may_go, several_without_a_budget),
    "the_quota_has_room": (no_room, steps_are_refused),
}
"""By policy, what breaks the production overlay."""
