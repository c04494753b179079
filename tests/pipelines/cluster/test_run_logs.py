"""`spineline runs logs`: of pods while they exist, else of Kubeflow's archive."""

import pytest

from tests.pipelines.cluster.fakes import argo
from tests.pipelines.cluster.fakes.kfp_server import at
from tests.pipelines.cluster.fakes.kubernetes_server import pod, pod_name

DONE = {"pull-dataset": "SUCCEEDED", "plan-training": "SUCCEEDED"}
RUNNING = argo.tasks({**DONE, "train-folds": {0: "RUNNING", 1: "RUNNING"}})
TRAIN = [argo.executor("train-folds", number) for number in (0, 1)]


@pytest.fixture
def started(kfp, submit):
    """A run that was started; returns its id."""
    assert submit("--detach").code == 0
    return kfp.runs[0].run_id


@pytest.fixture
def read(spineline, started, profile):
    """A function that reads logs of the run."""
    return lambda *arguments: spineline("runs", "logs", started[:8], *arguments, "--profile", profile)


def test_logs_of_all_steps_are_printed_under_the_name_of_each(kfp, kubernetes, started, read):
    kfp.script = [at("RUNNING", RUNNING)]
    kfp.archived[argo.pod_id(argo.executor("pull-dataset"))] = "pulled 20 cases\n"
    kubernetes.pods = [pod(run=started, node=node, phase="Running") for node in TRAIN]
    kubernetes.logs = {pod_name(node): f"epoch 3 of {node[-30:]}\n" for node in TRAIN}
    told = read()
    assert told.code == 0, told.err
    lines = told.out.splitlines()
    assert lines[:2] == ["==> pull_dataset: archived <==", "pulled 20 cases"]
    assert f"==> train_folds (fold 1): {pod_name(TRAIN[1])} <==" in lines


def test_one_fold_of_one_step_is_chosen_by_its_number(kfp, kubernetes, started, read):
    kfp.script = [at("RUNNING", RUNNING)]
    kubernetes.pods = [pod(run=started, node=node, phase="Running") for node in TRAIN]
    kubernetes.logs = {pod_name(TRAIN[0]): "zero\n", pod_name(TRAIN[1]): "one\n"}
    out = read("train_folds", "--fold", "1").out
    assert "one" in out and "zero" not in out


def test_the_newest_attempt_of_a_step_is_read(kfp, kubernetes, started, read):
    kfp.script = [at("RUNNING", RUNNING)]
    attempts = [argo.executor("train-folds", 1, attempt=number) for number in (0, 1)]
    kubernetes.pods = [
        pod(run=started, node=attempts[1], phase="Running"),
        pod(run=started, node=attempts[0], phase="Failed"),
    ]
    kubernetes.logs = {pod_name(attempts[0]): "first\n", pod_name(attempts[1]): "second\n"}
    out = read("train-folds").out
    assert "second" in out and "first" not in out


def test_json_lines_are_printed_as_people_read_them(kfp, started, read):
    kfp.script = [at("SUCCEEDED", argo.tasks(DONE))]
    kfp.archived[argo.pod_id(argo.executor("pull-dataset"))] = '{"level": "INFO", "message": "pulled [red] 20"}\n'
    assert "pulled [red] 20" in read("pull_dataset").out.splitlines()


def test_following_prints_new_lines_once_until_the_run_ends(kfp, kubernetes, started, read):
    def writing(text, state):
        def happens(run):
            kubernetes.logs[pod_name(TRAIN[0])] = text
            at(state, RUNNING)(run)

        return happens

    kubernetes.pods = [pod(run=started, node=TRAIN[0], phase="Running")]
    kfp.script = [
        at("RUNNING", RUNNING),
        writing("one\n", "RUNNING"),
        writing("one\ntwo\n", "RUNNING"),
        writing("one\ntwo\nthree\n", "SUCCEEDED"),
    ]
    told = read("train_folds", "--follow")
    assert told.code == 0, told.err
    assert [line for line in told.out.splitlines() if not line.startswith("==>")] == ["one", "two", "three"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("train",), "step 'train' is not in this run; its steps: pull_dataset, plan_training"),
        (("train_folds", "--fold", "7"), "fold 7 is not trained in this run"),
        (("gate_candidate",), "has no log of gate_candidate: it has not begun"),
    ],
    ids=["unknown step", "unknown fold", "not begun"],
)
def test_what_has_no_log_is_refused_in_one_line(kfp, started, read, arguments, reason):
    kfp.script = [at("RUNNING", RUNNING)]
    told = read(*arguments)
    assert told.code == 2
    assert reason in told.error
