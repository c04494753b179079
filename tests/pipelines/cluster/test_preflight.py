"""A profile that the cluster can't satisfy: every lack by its name, in one line, before anything is submitted."""

import pytest

from pipelines.cluster import kubernetes_access
from tests.pipelines.cluster.fakes.kubernetes_server import node, quota

QUEUE = {"spec": {"clusterQueue": "shared"}}


def covering(**amounts):
    resources = [{"name": name, "nominalQuota": amount} for name, amount in amounts.items()]
    group = {"coveredResources": list(amounts), "flavors": [{"name": "any", "resources": resources}]}
    return {"spec": {"resourceGroups": [group]}}


@pytest.fixture
def refused(kfp, kubernetes, submit):
    """A function that submits, expects a refusal, and returns its one line."""

    def call(*options):
        told = submit("--detach", *options)
        assert told.code == 2
        assert kfp.runs == [] and kfp.versions == []
        assert told.err.count("error: ") == 1 and told.err.rstrip().count("\n") == 0
        return told.error

    return call


@pytest.fixture
def queued(kfp, write_profile):
    """The profile with a queue and a priority for every step."""
    defaults = {"queue": "gpus", "priority_class": "night"}
    return write_profile({"host": kfp.url, "namespace": "spineline"}, defaults=defaults)


def test_a_cluster_that_has_it_all_is_asked_and_the_run_submitted(kfp, kubernetes, submit):
    told = submit("--detach")
    assert told.code == 0, told.err
    assert len(kfp.runs) == 1
    for kind in ("persistentvolumeclaims/spineline-root", "secrets/spineline-mlflow", "serviceaccounts", "nodes"):
        assert any(kind in asked for asked in kubernetes.asked), kind


def test_everything_that_is_missing_is_named_at_once(kubernetes, refused):
    kubernetes.claims, kubernetes.secrets, kubernetes.accounts = {}, {}, {}
    told = refused()
    for name in (
        "no PersistentVolumeClaim 'spineline-root' in namespace 'spineline'",
        "no Secret 'spineline-mlflow'",
        "no ServiceAccount 'spineline-pipeline'",
        "profile 'lab'",
        "context 'lab'",
    ):
        assert name in told


def test_a_key_that_a_secret_lacks_is_named(kubernetes, refused):
    kubernetes.secrets["spineline-mlflow"] = {"uri": "aA=="}
    assert "Secret 'spineline-mlflow' has no key MLFLOW_TRACKING_URI" in refused()


def test_a_claim_whose_volume_is_gone_is_named(kubernetes, refused):
    kubernetes.claims["spineline-root"] = {"phase": "Lost"}
    assert "'spineline-root' has lost its volume" in refused()


def test_an_unknown_queue_and_priority_are_named(kubernetes, refused, queued):
    told = refused()
    assert "no LocalQueue 'gpus' of Kueue" in told
    assert "no WorkloadPriorityClass 'night'" in told


def test_a_queue_that_could_never_admit_a_step_is_told_by_step_and_resource(kubernetes, refused, queued):
    kubernetes.queues, kubernetes.priorities = {"gpus": QUEUE}, {"night": {"value": 1}}
    kubernetes.cluster_queues = {"shared": covering(cpu="100", memory="16Gi")}
    told = refused()
    assert "step train_folds asks for 32Gi of memory, above the 16Gi of memory of queue 'gpus'" in told
    assert "step train_folds asks for nvidia.com/gpu, of which queue 'gpus' has none" in told


def test_a_queue_that_is_stopped_is_told_by_its_reason(kubernetes, refused, queued):
    stopped = {"type": "Active", "status": "False", "reason": "ClusterQueueIsInactive", "message": "no such flavor"}
    kubernetes.queues = {"gpus": {**QUEUE, "status": {"conditions": [stopped]}}}
    kubernetes.priorities = {"night": {"value": 1}}
    kubernetes.cluster_queues = {"shared": covering(cpu="100", memory="999Gi", **{"nvidia.com/gpu": "8"})}
    assert "LocalQueue 'gpus' is not active (no such flavor)" in refused()


def test_a_queue_that_fits_admits_the_run(kfp, kubernetes, submit, queued):
    kubernetes.queues, kubernetes.priorities = {"gpus": QUEUE}, {"night": {"value": 1}}
    kubernetes.cluster_queues = {"shared": covering(cpu="100", memory="999Gi", **{"nvidia.com/gpu": "8"})}
    assert submit("--detach").code == 0


def test_a_quota_below_one_pods_request_is_told(kubernetes, refused):
    kubernetes.quotas = [quota("team", requests__memory="16Gi", **{"requests__nvidia__com/gpu": "0"})]
    told = refused()
    assert "step train_folds asks for 32Gi of memory, above requests.memory=16Gi of ResourceQuota 'team'" in told
    assert "step train_folds asks for 1 nvidia.com/gpu, above requests.nvidia.com/gpu=0" in told


def test_no_node_with_the_gpu_type_is_told(kubernetes, refused):
    kubernetes.nodes = [node("cpu-1"), node("cpu-2")]
    assert "step train_folds: no node has 1 nvidia.com/gpu (the most is 0 nvidia.com/gpu)" in refused()


def test_no_node_with_the_selected_labels_is_told(kfp, kubernetes, refused, write_profile):
    steps = {"train_folds": {"gpus": 1, "shared_memory": "1Gi", "node_selector": {"nvidia.com/gpu.product": "A100"}}}
    write_profile({"host": kfp.url, "namespace": "spineline"}, steps=steps)
    assert "step train_folds: no node has the labels nvidia.com/gpu.product=A100" in refused()


def test_a_taint_that_is_not_tolerated_is_told(kubernetes, refused):
    kubernetes.nodes = [node("gpu-1", gpus=8, taints=[("team", "radiology", "NoSchedule")]), node("cpu-1")]
    assert "step train_folds: every node that could hold it has a taint" in (told := refused())
    assert "team=radiology:NoSchedule" in told


def test_a_pod_that_is_larger_than_any_node_is_told(kubernetes, refused):
    kubernetes.nodes = [node("gpu-1", gpus=8, memory="16Gi"), node("cpu-1", memory="16Gi")]
    assert "step train_folds: no node has 32Gi of memory (the most is 16Gi of memory)" in refused()


def test_unchecked_submits_all_the_same(kfp, kubernetes, submit):
    kubernetes.nodes = []
    assert submit("--detach", "--unchecked").code == 0
    assert kubernetes.asked == []
    assert len(kfp.runs) == 1


def test_what_may_not_be_read_is_told_and_the_rest_checked(kfp, kubernetes, submit):
    kubernetes.forbidden = {"nodes", "secrets"}
    told = submit("--detach")
    assert told.code == 0, told.err
    assert "may not read Nodes" in told.err and "may not read Secrets" in told.err
    kubernetes.claims = {}
    assert "no PersistentVolumeClaim" in submit("--detach").error


def test_without_access_one_line_says_that_nothing_was_checked(kfp, submit):
    told = submit("--detach")
    assert told.code == 0
    assert told.err.count("not checked") == 1
    assert "no kubeconfig that names a cluster" in told.err


def test_an_api_that_refuses_the_sign_in_or_is_away_stops_nobody(kfp, kubernetes, submit, monkeypatch):
    kubernetes.token = "another"
    told = submit("--detach")
    assert told.code == 0
    assert "the sign-in was refused" in told.err
    monkeypatch.setattr(kubernetes_access, "TIMEOUT_S", (0.2, 0.2))
    kubernetes.close()
    assert submit("--detach").code == 0
