"""Queues and priority classes, by the version of Kueue's API that the cluster serves."""

import json
from pathlib import Path

import jsonschema
import pytest

from pipelines.cluster.pod_requirements import QUEUE_LABEL
from tests.pipelines.cluster.fakes import kueue

RECORDED = Path(__file__).parents[4] / "shared" / "data" / "kubeflow_2_17"
QUEUE = {"spec": {"clusterQueue": "shared"}}
AMPLE = {"cpu": "100", "memory": "999Gi", "nvidia.com/gpu": "8"}
COHORT = {"v1beta2": "cohortName", "v1beta1": "cohort"}


def covering(amounts, **spec):
    resources = [{"name": name, "nominalQuota": amount} for name, amount in amounts.items()]
    group = {"coveredResources": list(amounts), "flavors": [{"name": "any", "resources": resources}]}
    return {"spec": {"resourceGroups": [group], **spec}}


def recorded(name):
    path = RECORDED / f"{name}.json"
    if not path.is_file():
        pytest.skip("the objects recorded on a real cluster are not beside this checkout")
    return json.loads(path.read_text())["items"]


@pytest.fixture
def queued(kfp, write_profile, profile):
    """The profile with a queue and a priority class for every step."""
    defaults = {"queue": "gpus", "priority_class": "night"}
    return write_profile({"host": kfp.url, "namespace": "spineline"}, defaults=defaults)


@pytest.fixture
def filled(kubernetes):
    """A cluster whose queue and priority class are those of the profile."""
    kubernetes.queues, kubernetes.priorities = {"gpus": QUEUE}, {"night": {"value": 1}}
    kubernetes.cluster_queues = {"shared": covering(AMPLE)}
    return kubernetes


@pytest.mark.parametrize(
    ("served", "read"),
    [
        (["v1beta2", "v1beta1"], "v1beta2"),
        (["v1beta1", "v1beta2"], "v1beta2"),
        (["v1beta1"], "v1beta1"),
        (["v1", "v1beta2"], "v1beta2"),
    ],
)
def test_queues_are_read_in_the_newest_known_version_that_is_served(filled, queued, submit, served, read):
    filled.kueue = served
    told = submit("--detach")
    assert told.code == 0, told.err
    asked = {path.split("/")[3] for path in filled.asked if "/apis/kueue.x-k8s.io/" in path}
    assert asked == {read}


def test_a_cluster_without_kueue_is_refused_with_the_names_that_need_it(filled, kfp, queued, submit):
    filled.kueue = []
    told = submit("--detach")
    assert told.code == 2
    assert "Kueue is not installed, and the profile names queue 'gpus', priority class 'night'" in told.error
    assert kfp.runs == []


def test_a_cluster_without_kueue_is_not_asked_about_it_by_a_profile_without_queues(kubernetes, submit):
    kubernetes.kueue = []
    assert submit("--detach").code == 0
    assert "GET /apis/" not in kubernetes.asked


def test_a_version_that_is_not_known_is_reported_and_the_rest_checked(filled, queued, submit):
    filled.kueue = ["v2"]
    told = submit("--detach")
    assert told.code == 0, told.err
    assert "the cluster serves v2 of kueue.x-k8s.io; known are v1beta2, v1beta1" in told.err
    filled.claims = {}
    assert "no PersistentVolumeClaim" in submit("--detach").error


@pytest.mark.parametrize("version", ["v1beta2", "v1beta1"])
def test_a_queue_of_a_cohort_may_borrow_what_it_lacks(filled, queued, submit, version):
    filled.kueue = [version]
    filled.cluster_queues = {"shared": covering({**AMPLE, "memory": "1Gi"})}
    assert "above the 1Gi of memory of queue 'gpus'" in submit("--detach").error
    filled.cluster_queues = {"shared": covering({**AMPLE, "memory": "1Gi"}, **{COHORT[version]: "hospital"})}
    told = submit("--detach")
    assert told.code == 0, told.err


def test_a_pod_does_not_fit_into_the_sum_of_two_flavors(filled, queued, submit):
    halves = covering({**AMPLE, "memory": "20Gi"})
    (group,) = halves["spec"]["resourceGroups"]
    group["flavors"].append({**group["flavors"][0], "name": "other"})
    filled.cluster_queues = {"shared": halves}
    assert (
        "step train_folds asks for 32Gi of memory, above the 20Gi of memory of queue 'gpus'" in submit("--detach").error
    )


def test_fields_of_another_version_are_outside_the_contract_of_the_fakes():
    item = {"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": "ClusterQueue", "metadata": {"name": "shared"}}
    kueue.check({**item, "spec": {"cohortName": "hospital"}})
    with pytest.raises(jsonschema.ValidationError, match="cohort"):
        kueue.check({**item, "spec": {"cohort": "hospital"}})


def test_workloads_of_a_real_cluster_are_in_the_queue_that_the_label_of_their_pod_names():
    pods = {pod["metadata"]["name"]: pod for pod in recorded("pods_waiting_in_kueue")}
    workloads = recorded("workloads_kueue_0_19")
    assert workloads
    for workload in workloads:
        kueue.check(workload)
        (owner,) = workload["metadata"]["ownerReferences"]
        assert workload["spec"]["queueName"] == pods[owner["name"]]["metadata"]["labels"][QUEUE_LABEL]
