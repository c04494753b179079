"""The pods of a run: one that can't start is told by step, image and reason while the run still waits."""

import json
from functools import partial

import pytest

from pipelines.cluster import pod_watch
from tests.pipelines.cluster.fakes import argo
from tests.pipelines.cluster.fakes.kfp_server import at
from tests.pipelines.cluster.fakes.kubernetes_server import pod, pod_name

TRAIN = argo.executor("train-folds", 1)
PULL = argo.executor("pull-dataset")
GATE = argo.executor("gate-candidate")
DONE = {"pull-dataset": "SUCCEEDED", "plan-training": "SUCCEEDED"}


def training(*states):
    return argo.tasks({**DONE, "train-folds": dict(enumerate(states))})


@pytest.fixture
def with_pods(kfp, kubernetes):
    """A function that gives the run pods, made once its id is known, and then lets it end."""

    def give(*makers, then="SUCCEEDED", tasks=None):
        def waiting(run):
            kubernetes.pods = [make(run.run_id) for make in makers]
            at("RUNNING", tasks)(run)

        kfp.script = [waiting, waiting, at(then, tasks)]

    return give


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("ErrImagePull", "manifest for registry.example/spineline/train:0.1.0 not found"),
        ("ImagePullBackOff", "Back-off pulling image"),
        ("CreateContainerConfigError", 'secret "spineline-store" not found'),
    ],
)
def test_a_pod_that_can_not_start_is_told_once_by_step_fold_image_and_reason(with_pods, submit, reason, message):
    with_pods(lambda run: pod(run=run, node=TRAIN, waiting=(reason, message)))
    told = submit()
    lines = [line for line in told.err.splitlines() if reason in line]
    assert len(lines) == 1, told.err
    for part in ("train_folds (fold 1) can't start", "registry.example/spineline/train:0.1.0", message):
        assert part in lines[0]


def test_a_pod_that_fits_no_node_is_told(with_pods, submit):
    reason = "0/5 nodes are available: 5 Insufficient nvidia.com/gpu."
    with_pods(lambda run: pod(run=run, node=TRAIN, unschedulable=reason))
    assert f"train_folds (fold 1) can't start: Unschedulable ({reason})" in submit().err


def test_pods_of_other_runs_are_none_of_ours(with_pods, submit):
    with_pods(lambda run: pod(run="another", node=PULL, waiting=("ErrImagePull", "no")))
    assert "can't start" not in submit().err


@pytest.mark.parametrize(
    "line", [str, lambda text: json.dumps({"level": "INFO", "message": text})], ids=["text", "json"]
)
def test_epochs_are_followed_in_the_log_of_a_training_pod(kubernetes, with_pods, submit, line):
    kubernetes.logs[pod_name(TRAIN)] = (
        "loading\ntrain_folds: fold 1, epoch 11/1000 loss -0.70\n"
        f"{line('train_folds: fold 1, epoch 12/1000 loss -0.71')}\nsomething else\n"
    )
    with_pods(
        lambda run: pod(run=run, node=TRAIN, phase="Running"),
        tasks=training("SUCCEEDED", "RUNNING"),
    )
    told = submit().err
    assert "train_folds: fold 1, epoch 12/1000  loss -0.71" in told
    assert "epoch 11/1000" not in told


@pytest.mark.parametrize(
    "line",
    [
        "train_folds: torch 2.13.0/3 seen",
        "train_folds: tor 1.2.3/4",
        "train_folds: tor 1e/2",
        "train_folds: tor 9e999/1",
    ],
)
def test_words_that_are_no_progress_are_passed_over(kubernetes, with_pods, submit, line):
    kubernetes.logs[pod_name(TRAIN)] = f"{line}\ntrain_folds: fold 1, iterations 2500/1e+06 [/nan] [red]loss :bug:\n"
    with_pods(
        lambda run: pod(run=run, node=TRAIN, phase="Running"),
        tasks=training("SUCCEEDED", "RUNNING"),
    )
    told = submit()
    assert told.code == 0, told.err
    assert "train_folds: fold 1, iterations 2500/1e+06  [/nan] [red]loss :bug:" in told.err
    assert "train_folds: torch" not in told.err


def test_the_gates_verdict_is_told_at_the_end_from_its_pods_log(kubernetes, with_pods, submit):
    kubernetes.logs[pod_name(GATE)] = "gate_candidate: judge 1/1 fail: the test Dice is below the floor\n"
    with_pods(lambda run: pod(run=run, node=GATE, phase="Succeeded"))
    assert "gate_candidate: judge 1/1  fail: the test Dice is below the floor" in submit().err


def test_a_failure_that_kubeflow_does_not_explain_is_explained_by_the_pods_log(kubernetes, with_pods, submit):
    kubernetes.logs[pod_name(PULL)] = (
        "Traceback (most recent call last):\n  File x\n"
        "spine.errors.OutOfSpaceError: /spineline: no space left on this disk; expected free space\n"
        "F0101 main.go:57] failed to execute component: exit status 1\n"
    )
    with_pods(
        lambda run: pod(run=run, node=PULL, phase="Failed"),
        then="FAILED",
        tasks=argo.tasks({"pull-dataset": "FAILED"}),
    )
    told = submit()
    assert told.code == 1
    assert "step 'pull_dataset': spine.errors.OutOfSpaceError: /spineline: no space left" in told.error


def test_a_pod_that_ran_out_of_memory_says_so(with_pods, submit):
    with_pods(
        lambda run: pod(run=run, node=TRAIN, phase="Failed", ended=("OOMKilled", 137)),
        then="FAILED",
        tasks=training("SUCCEEDED", "FAILED"),
    )
    error = submit().error
    assert "step 'train_folds (fold 1)': used more memory than its limit (OOMKilled); raise `memory`" in error
    # Another try has the same limit.
    assert "start the run anew" in error and "runs again what failed" not in error


def test_pods_that_may_not_be_read_are_told_of_once_and_the_run_followed(kfp, kubernetes, submit):
    kubernetes.forbidden = {"pods"}
    kfp.script = [at("RUNNING"), at("RUNNING"), at("SUCCEEDED")]
    told = submit()
    assert told.code == 0, told.err
    assert told.err.count("pods are not watched") == 1


def test_status_tells_what_keeps_pods_from_starting(kfp, kubernetes, submit, spineline, profile):
    assert submit("--detach").code == 0
    run = kfp.runs[0].run_id
    kubernetes.pods = [
        pod(run=run, node=TRAIN, waiting=("ImagePullBackOff", "Back-off")),
        pod(run=run, node=PULL, unschedulable="0/3 nodes are available."),
        pod(run=run, node=argo.executor("plan-training"), phase="Succeeded"),
    ]
    kfp.script = [at("RUNNING", argo.tasks({"pull-dataset": "RUNNING"}))]
    steps = json.loads(spineline("status", run[:8], "--profile", profile, "--json").out)["steps"]
    image = "image registry.example/spineline/train:0.1.0"
    stuck = f"Unschedulable (0/3 nodes are available.); {image}"
    assert steps == [
        {"step": "pull_dataset", "folds": None, "state": "RUNNING", "message": stuck},
        {
            "step": "train_folds",
            "folds": "fold 1",
            "state": "PENDING",
            "message": f"ImagePullBackOff (Back-off); {image}",
        },
    ]
    assert "ImagePullBackOff" in spineline("status", run[:8], "--profile", profile).out


def test_status_of_a_failed_step_tells_its_pods_last_words(kfp, kubernetes, submit, spineline, profile):
    assert submit("--detach").code == 0
    run = kfp.runs[0].run_id
    kubernetes.pods = [pod(run=run, node=PULL, phase="Failed")]
    kubernetes.logs[pod_name(PULL)] = "ValueError: bad thing [/x]\n"
    kfp.script = [at("FAILED", argo.tasks({"pull-dataset": "FAILED"}))]
    told = spineline("status", run, "--profile", profile)
    assert told.code == 1
    assert "ValueError: bad thing [/x]" in told.out


def test_status_without_a_kubernetes_api_says_so_and_shows_the_steps(kfp, submit, spineline, profile):
    assert submit("--detach").code == 0
    kfp.script = [at("RUNNING", argo.tasks({"pull-dataset": "RUNNING"}))]
    told = spineline("status", kfp.runs[0].run_id, "--profile", profile)
    assert told.code == 0
    assert "the Kubernetes API is not used: no kubeconfig" in told.err and "pull_dataset" in told.out


def test_a_run_that_has_no_pod_for_a_while_is_told_of_once(kfp, kubernetes, submit, monkeypatch):
    monkeypatch.setattr(pod_watch, "STILL_S", 0.0)
    kfp.script = [at("PENDING"), at("PENDING"), at("PENDING"), at("SUCCEEDED")]
    assert submit().err.count("no pod yet") == 1


def test_folds_that_wait_in_a_queue_are_counted_and_not_shown_as_running(kfp, kubernetes, with_pods, submit):
    with_pods(
        *(partial(queued, number=number) for number in (0, 1)), tasks=training("RUNNING", "RUNNING"), then="SUCCEEDED"
    )
    told = submit().err
    assert told.count("train_folds: 2 wait in queue spine") == 1
    assert "train_folds: fold 0 0/1  waits in queue spine" in told
    assert "fold 0 0/1  runs" not in told and "can't start" not in told


def queued(run, *, number):
    return pod(run=run, node=argo.executor("train-folds", number), queue="spine")


def test_status_shows_queued_folds_as_such(kfp, kubernetes, submit, spineline, profile):
    assert submit("--detach").code == 0
    run = kfp.runs[0].run_id
    kubernetes.pods = [queued(run, number=1)]
    kfp.script = [at("RUNNING", training("RUNNING", "RUNNING"))]
    steps = json.loads(spineline("status", run[:8], "--profile", profile, "--json").out)["steps"]
    assert {"step": "train_folds", "folds": "fold 1", "state": "QUEUED", "message": "waits in queue spine"} in steps


def test_reasons_that_alternate_while_an_image_is_missing_are_one_line(kfp, kubernetes, submit):
    def waiting(reason):
        def happens(run):
            kubernetes.pods = [pod(run=run.run_id, node=PULL, waiting=(reason, f"{reason} of the image"))]
            at("RUNNING", argo.tasks({"pull-dataset": "RUNNING"}))(run)

        return happens

    kfp.script = [*map(waiting, ["ErrImagePull", "ImagePullBackOff"] * 2), at("SUCCEEDED")]
    assert submit().err.count("can't start") == 1


def test_a_driver_that_fails_is_reported_while_kubeflow_tries_again(kfp, kubernetes, submit, spineline, profile):
    def failing(run):
        kubernetes.pods = [pod(run=run.run_id, node=argo.driver(), phase="Failed", ended=("Error", 1))]
        name = kubernetes.pods[0].metadata.name
        kubernetes.logs[name] = "F1130 22:24:14.2       1 main.go:127] KFP driver: could not reach the store\n"
        at("RUNNING", argo.tasks({}, drivers={"root": "FAILED"}))(run)

    kfp.script = [failing, failing, at("SUCCEEDED")]
    assert submit().err.count("root driver failed: KFP driver: could not reach the store") == 1
    kfp.script = [failing]
    status = spineline("status", kfp.runs[0].run_id, "--profile", profile)
    assert "KFP driver: could not reach the store" in status.out


def test_the_wait_before_argos_next_attempt_is_shown(kfp, kubernetes, submit):
    def waiting(run):
        kubernetes.workflow_nodes[run.run_id] = list(argo.wait_nodes("train-folds", 1, reason="pod deleted"))
        at("RUNNING", training("RUNNING", "RUNNING"))(run)

    kfp.script = [waiting, waiting, at("SUCCEEDED")]
    told = submit().err
    assert told.count("train_folds (fold 1): pod deleted; try 2 of 3 in 60 s") == 1
    assert "train_folds: fold 1 0/1  pod deleted; try 2 of 3 in 60 s" in told
