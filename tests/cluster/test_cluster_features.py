"""What only some clusters have: several nodes, Kueue, GPUs, enforced network policies; skipped with the reason."""

import json

import pytest

from tests.cluster.data_set import LABELS, RESTRICTED
from tests.cluster.suite_profile import ENDLESS, image, with_training
from tests.cluster.training_runs import TRAIN
from tests.cluster.waiting import wait_until

pytestmark = pytest.mark.cluster
PROBE = "cluster-suite-probe"
CONNECT = """
import os, socket, sys
host = os.environ.get(sys.argv[1], sys.argv[1])
try:
    socket.create_connection((host, int(sys.argv[2])), timeout=5).close()
except socket.gaierror as error:
    print("no such name")
except OSError:
    print("refused")
else:
    print("connected")
"""


@pytest.fixture(scope="session")
def nodes(kubectl):
    answer = kubectl.call("get", "nodes", "--output", "json")
    if answer.code:
        pytest.skip(f"nodes can't be listed: {answer.err.strip().splitlines()[-1]}")
    return answer.json()["items"]


def test_training_moves_to_another_node_when_its_node_is_drained(nodes, launcher, kubectl, new_seed):
    usable = [node for node in nodes if not node["spec"].get("unschedulable") and not _is_reserved(node)]
    if len(usable) < 2:
        pytest.skip(f"{len(usable)} node takes pods: a drain needs another one to move to")
    run = launcher.start(recipe=ENDLESS, seed=new_seed())
    run.follow()
    pod = run.wait_for_training()
    try:
        # Only this run's pods leave; pods of others stay, and the node takes new ones again afterwards.
        kubectl.do(
            "drain", pod.node, "--pod-selector", f"pipeline/runid={run.run_id}", "--ignore-daemonsets",
            "--delete-emptydir-data", "--force", "--timeout=300s", timeout_s=330,
        )  # fmt: skip
        moved = run.wait_for_training(after=frozenset({pod.uid}))
        assert moved.node != pod.node
        assert "continued from" in kubectl.do("logs", f"pod/{moved.name}", "--container", "main")
    finally:
        kubectl.call("uncordon", pod.node)
        run.end_following()
        run.stop()


def test_folds_wait_in_a_queue_of_kueue_and_are_shown_there(configuration, launcher, kubectl, new_seed, request):
    if not kubectl.call("api-resources", "--api-group=kueue.x-k8s.io", "--output=name").out.strip():
        pytest.skip("no Kueue in the cluster")
    if not configuration.queue:
        pytest.skip("no queue named: set SPINELINE_CLUSTER_QUEUE to a LocalQueue of the namespace")
    profile = _profile(request, "queue", queue=configuration.queue)
    run = launcher.start(recipe=ENDLESS, seed=new_seed(), folds="0,1", profile=profile)
    follower = run.follow()
    try:
        run.wait_for_training()
        wait_until(lambda: len(run.pods()) == 2, "both folds to have a pod", timeout_s=120, state=run.describe)
        workloads = kubectl.items("workloads.kueue.x-k8s.io")
        owners = {owner["name"] for one in workloads for owner in one["metadata"].get("ownerReferences", [])}
        assert {pod.name for pod in run.pods()} <= owners
        if any(pod.queue for pod in run.pods()):
            follower.wait_for(f"in queue {configuration.queue}", timeout_s=120)
    finally:
        run.end_following()
        run.stop()


def test_a_fold_trains_on_a_gpu(configuration, nodes, launcher, new_seed, request):
    if not any(int(node["status"]["allocatable"].get(configuration.gpu_type, 0)) for node in nodes):
        pytest.skip(f"no node offers {configuration.gpu_type}")
    profile = _profile(request, "gpu", gpus=1, gpu_type=configuration.gpu_type, memory="8Gi", shared_memory="1Gi")
    run = launcher.start(recipe=ENDLESS, seed=new_seed(), profile=profile)
    run.wait_for_training()
    log = run.logs(TRAIN, "--fold", "0").require().out
    run.stop()
    assert "train on cuda" in log


def test_network_policies_keep_strangers_from_servers_and_let_runs_pass(registered, kubectl, profile_content):
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": PROBE, "labels": {**LABELS, "cluster-suite": "probe"}},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "imagePullSecrets": [
                {"name": name} for name in profile_content["kubernetes"].get("image_pull_secrets", [])
            ],
            "containers": [
                {
                    "name": "probe",
                    "image": image(profile_content, "data"),
                    "command": ["sleep", "600"],
                    "resources": {
                        "requests": {"cpu": "50m", "memory": "64Mi"},
                        "limits": {"cpu": "1", "memory": "128Mi"},
                    },
                    "securityContext": RESTRICTED,
                }
            ],
        },
    }
    closed = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": PROBE, "labels": LABELS},
        "spec": {"podSelector": {"matchLabels": {"cluster-suite": "probe"}}, "policyTypes": ["Egress"]},
    }
    try:
        kubectl.apply(pod, closed)
        kubectl.do("wait", f"pod/{PROBE}", "--for=condition=Ready", "--timeout=120s")
        try:
            # A network plugin takes a moment before a new policy holds.
            wait_until(
                lambda: _connect(kubectl, "KUBERNETES_SERVICE_HOST", 443) != "connected", "a policy", timeout_s=30
            )
        except AssertionError:
            pytest.skip("the cluster's network plugin does not enforce network policies")
        kubectl.do("delete", "networkpolicy", PROBE)
        addresses = {
            name: json.loads(kubectl.do("get", "service", name, "--output", "json"))["spec"]["clusterIP"]
            for name in ("mlflow", "spineline-serve")
            if kubectl.has("service", name)
        }
        answers = {
            name: _connect(kubectl, addresses[name], port)
            for name, port in (("mlflow", 5000), ("spineline-serve", 8642))
            if name in addresses
        }
        assert set(answers.values()) == {"refused"}, answers
    finally:
        kubectl.call("delete", f"pod/{PROBE}", f"networkpolicy/{PROBE}", "--ignore-not-found", "--now")


def _connect(kubectl, host, port):
    return kubectl.execute(f"pod/{PROBE}", "python", "-c", CONNECT, host, str(port)).require().out.strip()


def _is_reserved(node):
    return any(taint["effect"] in ("NoSchedule", "NoExecute") for taint in node["spec"].get("taints", []))


def _profile(request, name, **settings):
    """Return the file of the suite's profile with other settings of the training step."""
    content = request.getfixturevalue("profile_content")
    return request.getfixturevalue("write_profile")(name, with_training(content, **settings))
