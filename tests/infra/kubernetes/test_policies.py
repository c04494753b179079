"""What schemas don't say holds for every overlay, and each policy finds what is planted against it."""

import copy
import functools
import re
from pathlib import Path

import pytest
import yaml
from manifests.objects import named, of_kind, pods, selects
from manifests.planted import PLANTED
from manifests.policies import POLICIES
from manifests.policies.network import may_talk
from manifests.policies.runs import DRIVER, TRAINING
from manifests.policies.scaling import room_left
from manifests.rendering import render

from pipelines.profile import load_profile

KUBERNETES = Path(__file__).resolve().parents[3] / "infra" / "kubernetes"
OVERLAYS = ("single-node", "production", "air-gapped", "kserve")


@functools.cache
def overlay(name):
    return render(KUBERNETES / "overlays" / name)


@pytest.mark.parametrize("name", OVERLAYS)
@pytest.mark.parametrize("policy", POLICIES)
def test_every_overlay_keeps_every_policy(policy, name):
    assert POLICIES[policy](overlay(name)) == []


@pytest.mark.parametrize(("policy", "name", "breaking"), PLANTED, ids=lambda value: getattr(value, "__name__", value))
def test_a_policy_finds_what_is_broken(policy, name, breaking):
    objects = copy.deepcopy(overlay(name))
    breaking(objects)
    assert POLICIES[policy](objects) != []


def test_every_policy_is_shown_to_find_something():
    assert {policy for policy, _, _ in PLANTED} == set(POLICIES)


def test_an_overlay_of_a_sites_own_keeps_every_policy(site):
    objects = render(site("pod-monitors", "prometheus", "serve-on-gpu"))
    assert [fault for policy in POLICIES.values() for fault in policy(objects)] == []


@pytest.mark.parametrize("base", OVERLAYS)
def test_a_namespace_that_is_not_ours_is_left_alone(site, base):
    objects = render(site("inside-kubeflow", namespace="kubeflow", base=base))
    assert of_kind(objects, "Namespace", "ResourceQuota", "LimitRange") == []
    selectors = [item["spec"]["podSelector"] for item in of_kind(objects, "NetworkPolicy")]
    assert not any(selects(selector, labels) for selector in selectors for labels in ({}, DRIVER))
    shut = named(objects, "NetworkPolicy", "default-deny")["spec"]["podSelector"]
    assert all(selects(shut, labels) for labels in [TRAINING, *(pod.labels for pod in pods(objects))])


@pytest.mark.parametrize("base", ["single-node", "air-gapped"])
def test_steps_reach_what_they_need_in_a_namespace_that_is_not_ours(site, base):
    objects = render(site("inside-kubeflow", namespace="kubeflow", base=base))
    for target, port in (("mlflow", 5000), ("store", 8333)):
        assert may_talk(objects, TRAINING, component(objects, target), port), target
    assert may_talk(objects, component(objects, "prometheus"), TRAINING, 8641)


KFP_PODS = ({"app": "ml-pipeline"}, {"app": "workflow-controller"}, {"component": "metadata-grpc-server"})


@pytest.mark.parametrize("labels", KFP_PODS, ids=lambda labels: next(iter(labels.values())))
def test_kubeflow_pipelines_is_shut_off_in_a_namespace_of_ours_and_left_alone_in_its_own(site, labels):
    ours = overlay("single-node")
    shut = named(ours, "NetworkPolicy", "default-deny")["spec"]
    assert selects(shut["podSelector"], labels) and shut["policyTypes"] == ["Ingress", "Egress"]
    assert not any(may_talk(ours, labels, component(ours, name), 5000) for name in ("mlflow", "monitor"))
    theirs = render(site("inside-kubeflow", namespace="kubeflow", base="single-node"))
    selectors = [item["spec"]["podSelector"] for item in of_kind(theirs, "NetworkPolicy")]
    assert not any(selects(selector, labels) for selector in selectors)


@pytest.mark.parametrize("page", ["docs/install.md", "infra/kubernetes/README.md"])
def test_no_page_puts_kubeflow_pipelines_into_a_namespace_of_ours(page):
    text = " ".join((KUBERNETES.parents[1] / page).read_text(encoding="utf-8").split())
    assert not re.search(r"(where|or) Kubeflow Pipelines itself is installed", text)
    assert re.search(r"Kubeflow Pipelines can't (be installed|work) in it", text)


def component(objects, name):
    return next(pod.labels for pod in pods(objects) if pod.labels["app.kubernetes.io/component"] == name)


@pytest.mark.parametrize(
    ("source", "target", "port", "may"),
    [
        ("serve", "mlflow", 5000, True),
        ("training", "mlflow", 5000, True),
        ("driver", "mlflow", 5000, True),
        ("serve", "store", 8333, True),
        ("training", "store", 8333, True),
        ("mlflow", "postgres", 5432, True),
        ("prometheus", "serve", 8642, True),
        ("prometheus", "training", 8641, True),
        ("serve", "postgres", 5432, False),
        ("training", "postgres", 5432, False),
        ("training", "serve", 8642, False),
        ("monitor", "mlflow", 5000, True),
        ("monitor", "postgres", 5432, False),
        ("supervisor", "mlflow", 5000, True),
        ("supervisor", "store", 8333, False),
        ("supervisor", "postgres", 5432, False),
        ("prometheus", "supervisor", 8644, True),
        ("store", "mlflow", 5000, False),
        ("mlflow", "store", 9333, False),
    ],
)
def test_who_may_talk_to_whom(source, target, port, may):
    objects = overlay("single-node")
    ends = {"training": TRAINING, "driver": DRIVER}
    labels = [ends.get(name) or component(objects, name) for name in (source, target)]
    assert may_talk(objects, labels[0], labels[1], port) is may


@pytest.mark.parametrize("page", ["upgrade", "rollback"])
@pytest.mark.parametrize("name", ["single-node", "production"])
def test_a_copy_of_a_pod_that_somebody_works_in_gets_no_requests_and_reaches_what_it_needs(page, name):
    text = (KUBERNETES.parents[1] / "docs" / f"{page}.md").read_text(encoding="utf-8")
    given = re.findall(r"label pod \S+ ((?:\S+=\S+ ?)+)", text)
    assert len(given) == 1
    labels = dict(pair.split("=") for pair in given[0].split())
    objects = overlay(name)
    selectors = [{"matchLabels": item["spec"]["selector"]} for item in of_kind(objects, "Service")]
    assert not any(selects(selector, labels) for selector in selectors)
    if name == "single-node":
        assert may_talk(objects, labels, component(objects, "postgres"), 5432)
        assert may_talk(objects, labels, component(objects, "store"), 8333)
        return
    out = [item for item in of_kind(objects, "NetworkPolicy") if selects(item["spec"]["podSelector"], labels)]
    assert {"database-outside", "store-outside"} <= {item["metadata"]["name"] for item in out}


def test_a_look_from_the_monitor_asks_mlflow_and_can_forget_servers():
    box = named(overlay("production"), "Deployment", "spineline-monitor")["spec"]["template"]["spec"]["containers"][0]
    assert "MLFLOW_TRACKING_URI" in {entry["name"] for entry in box["env"]}
    below_the_root = {mount["mountPath"]: mount for mount in box["volumeMounts"] if mount["name"] == "root"}
    assert set(below_the_root) == {"/spineline", "/spineline/replicas"}
    assert below_the_root["/spineline"].get("readOnly") is True
    assert not below_the_root["/spineline/replicas"].get("readOnly")


def test_an_air_gapped_site_sends_nothing_out():
    private = {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.20.10/32"}
    policies = of_kind(overlay("air-gapped"), "NetworkPolicy")
    blocks = {
        peer["ipBlock"]["cidr"]
        for item in policies
        for rule in item["spec"].get("egress", [])
        for peer in rule["to"]
        if "ipBlock" in peer
    }
    assert blocks == private


def test_an_air_gapped_site_pulls_from_its_own_registry_only():
    objects = overlay("air-gapped")
    images = {container["image"] for pod in pods(objects) for container in pod.containers}
    assert {image.partition("/")[0] for image in images} == {"registry.example.org"}
    for pod in pods(objects):
        account = pod.spec.get("serviceAccountName")
        source = named(objects, "ServiceAccount", account) if account else pod.spec
        assert source["imagePullSecrets"] == [{"name": "site-registry"}], pod.where


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_namespace_keeps_to_the_restricted_standard(name):
    labels = overlay(name)[0]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    assert {item["metadata"].get("namespace", "spineline") for item in overlay(name)} == {"spineline"}


@pytest.mark.parametrize("name", ["production", "kserve"])
def test_the_shared_volumes_are_for_several_nodes(name):
    claims = of_kind(overlay(name), "PersistentVolumeClaim")
    assert {claim["metadata"]["name"] for claim in claims} == {"spineline-root", "spineline-cache"}
    assert all(claim["spec"]["accessModes"] == ["ReadWriteMany"] for claim in claims)


@pytest.mark.parametrize(
    ("name", "profile", "tasks"), [("production", "kubernetes", 5), ("single-node", "kubernetes-one-node", 1)]
)
def test_the_quota_has_room_for_training_beside_the_servers(name, profile, tasks):
    from manifests.policies.containers import amount

    left, asked = room_left(overlay(name)), load_profile(profile).kubernetes.settings_of("train_folds")
    assert left["requests.cpu"] >= tasks * amount(asked.cpu)
    assert left["requests.memory"] >= tasks * amount(asked.memory)
    assert left["limits.memory"] >= tasks * amount(asked.memory)
    assert left["requests.nvidia.com/gpu"] >= tasks * asked.gpus


def test_kserves_pod_is_the_servers_own():
    own = next(pod.spec for pod in pods(overlay("production")) if pod.where == "Deployment spineline-serve")
    theirs = named(overlay("kserve"), "InferenceService", "vertebrae")["spec"]["predictor"]
    told = yaml.safe_dump({name: theirs[name] for name in own})
    assert yaml.safe_load(told.replace("kserve-container", "serve")) == own


def test_jobs_have_the_names_that_the_rules_know():
    jobs = {"spineline-serve", "spineline-monitor", "spineline-supervisor", "spineline-training"}
    config = yaml.safe_load((KUBERNETES / "components" / "prometheus" / "prometheus.yml").read_text())
    assert {job["job_name"] for job in config["scrape_configs"]} == jobs
    monitors = render(KUBERNETES / "components" / "pod-monitors")
    ends = [end for item in monitors for end in item["spec"]["podMetricsEndpoints"]]
    assert {
        rule["replacement"] for end in ends for rule in end["relabelings"] if rule.get("targetLabel") == "job"
    } == jobs
