"""Failed runs are retried by whoever follows them where another attempt can succeed, and only there."""

import json

import pytest

from pipelines.cluster import run_retries
from pipelines.cluster.failures import Failure
from pipelines.cluster.graph import Graph
from pipelines.cluster.run_retries import plan_retry
from tests.pipelines.cluster.fakes import argo
from tests.pipelines.cluster.fakes.kfp_server import at
from tests.pipelines.cluster.fakes.kubernetes_server import pod, pod_name
from tests.pipelines.cluster.fakes.server import Answer

TRAIN = argo.executor("train-folds", 1)
DONE = {"pull-dataset": "SUCCEEDED", "plan-training": "SUCCEEDED"}
LAUNCHER = "F1130 22:40:59.2      20 main.go:51] failed to execute component: "
KILLED = f"train_folds: fold 1, epoch 3/9\n{LAUNCHER}signal: killed\nError: exit status 1\n"
UNREACHABLE = f"train_folds: transient error: MLflow at http://mlflow:5000: no answer\n{LAUNCHER}exit status 1\n"
BAD_INPUT = f"train_folds: error: recipe is 'x'; expected a known one\n{LAUNCHER}exit status 1\nError: exit status 1\n"


def tasks(state, *, failures=1):
    return argo.tasks({**DONE, "train-folds": {0: "SUCCEEDED", 1: state}}, failures={"train-folds": failures})


@pytest.fixture
def failing(kfp, kubernetes):
    """A function that lets a run fail with such a pod, and succeed after as many retries as are given."""

    def fail(*, log="", successes_after=1, **ended):
        def look(run):
            retries = sum(line.endswith(":retry") for line in kfp.asked)
            if retries >= successes_after:
                at("SUCCEEDED", tasks("SUCCEEDED", failures=retries))(run)
            else:
                kubernetes.pods = [pod(run=run.run_id, node=TRAIN, phase="Failed", **ended)]
                kubernetes.logs[pod_name(TRAIN)] = log
                at("FAILED", tasks("FAILED", failures=retries + 1))(run)

        kfp.script = [at("RUNNING", tasks("RUNNING")), look]

    return fail


@pytest.mark.parametrize(
    ("log", "ended", "reason"),
    [
        (KILLED, {"ended": ("Error", 1)}, "ended by signal: killed"),
        ("", {"ended": ("Error", 137)}, "ended by signal SIGKILL"),
        ("", {"reason": "Evicted", "message": "The node was low on resource: memory."}, "Evicted: The node was low"),
        ("", {"disruption": "DeletionByTaintManager", "ended": ("Error", 143)}, "DeletionByTaintManager"),
        ("", {"reason": "NodeShutdown", "message": "Pod was terminated in response to node shutdown."}, "NodeShutdown"),
        ("", {"reason": "DeadlineExceeded", "message": "Pod was active on the node"}, "reached the time limit"),
        (UNREACHABLE, {"ended": ("Error", 1)}, "MLflow at http://mlflow:5000: no answer"),
    ],
    ids=["killed process", "killed container", "evicted", "lost node", "drained node", "time limit", "unreachable"],
)
def test_a_failure_that_passes_is_retried_and_reported(kfp, failing, submit, log, ended, reason):
    failing(log=log, **ended)
    told = submit()
    assert told.code == 0, told.err
    assert [line for line in kfp.asked if line.endswith(":retry")] == [f"POST /apis/v2beta1/runs/{run_id(kfp)}:retry"]
    assert f"train_folds (fold 1) failed: {reason}" in told.err
    assert "retry 1 of 2 in 0.01 s" in told.err and f"retry 1 of 2 of run {run_id(kfp)} started" in told.err


def run_id(kfp):
    return kfp.runs[0].run_id


@pytest.mark.parametrize(
    ("log", "ended", "reason"),
    [
        ("", {"ended": ("OOMKilled", 137)}, "used more memory than its limit (OOMKilled)"),
        (BAD_INPUT, {"ended": ("Error", 1)}, "recipe is 'x'; expected a known one"),
        (f"ModuleNotFoundError: No module named 'numba'\n{LAUNCHER}exit status 1\n", {"ended": ("Error", 1)}, "numba"),
        ("", {"ended": ("Error", 1)}, "no reason reported"),
    ],
    ids=["out of memory", "bad input", "missing package", "no reason"],
)
def test_a_failure_that_stays_is_not_retried(kfp, failing, submit, log, ended, reason):
    failing(log=log, **ended)
    told = submit()
    assert told.code == 1
    assert reason in told.error
    assert not any(line.endswith(":retry") for line in kfp.asked)


def test_retries_end_with_those_of_the_step(kfp, failing, submit):
    failing(log=KILLED, successes_after=9, ended=("Error", 1))
    told = submit()
    assert told.code == 1
    assert sum(line.endswith(":retry") for line in kfp.asked) == 2
    assert "ended by signal: killed (after 2 of 2 retries)" in told.error


def test_each_retry_is_recorded_with_who_made_it_and_why(kfp, kubernetes, failing, submit, monkeypatch):
    monkeypatch.setenv("SPINELINE_ACTOR", "ann")
    failing(log=KILLED, ended=("Error", 1))
    assert submit().code == 0
    (found,) = kubernetes.config_maps.values()
    assert found["immutable"] and found["metadata"]["labels"]["spineline.io/run"] == run_id(kfp)
    event = json.loads(found["data"]["event.json"])
    assert (event["actor"], event["action"], event["format"]) == ("ann", "retry", 1)
    assert event["reason"] == "retry 1 of 2: train_folds (fold 1): ended by signal: killed"


def test_a_retry_that_can_not_be_recorded_is_made_all_the_same(kfp, kubernetes, failing, submit):
    failing(log=KILLED, ended=("Error", 1))
    kubernetes.forbidden = {"configmaps"}
    told = submit()
    assert told.code == 0
    assert "not recorded who did this and why" in told.err and "may not read ConfigMaps" not in told.out


def test_a_run_that_somebody_stops_is_not_retried(kfp, submit):
    kfp.script = [at("RUNNING", tasks("RUNNING")), at("CANCELING", tasks("RUNNING")), at("FAILED", tasks("FAILED"))]
    assert submit().code == 1
    assert not any(line.endswith(":retry") for line in kfp.asked)


def test_a_run_that_somebody_else_retried_meanwhile_is_followed_on(kfp, failing, submit):
    failing(log=KILLED, ended=("Error", 1))

    def retried_elsewhere(method, path):
        if path.endswith(":retry"):
            return Answer(400, {"code": 9, "message": "Only failed or canceled runs can be retried"})
        return None

    script = kfp.script
    kfp.fault = retried_elsewhere
    looks = iter([*[script[1]] * 2])
    kfp.script = [script[0], lambda run: next(looks, at("SUCCEEDED", tasks("SUCCEEDED")))(run)]
    told = submit()
    assert told.code == 0, told.err


def test_whoever_may_not_retry_is_told_so_and_the_run_ends_as_failed(kfp, failing, submit):
    failing(log=KILLED, successes_after=9, ended=("Error", 1))
    kfp.fault = lambda method, path: Answer(403, {"message": "no"}) if path.endswith(":retry") else None
    told = submit()
    assert told.code == 1
    assert "not retried: " in told.err


def test_without_the_kubernetes_api_the_archived_log_decides(kfp, submit):
    kfp.archived[argo.pod_id(TRAIN)] = KILLED

    def look(run):
        retried = any(line.endswith(":retry") for line in kfp.asked)
        at(*("SUCCEEDED", tasks("SUCCEEDED")) if retried else ("FAILED", tasks("FAILED")))(run)

    kfp.script = [look]
    told = submit()
    assert told.code == 0, told.err
    assert "ended by signal: killed; retry 1 of 2" in told.err


def test_a_step_whose_pods_are_gone_is_explained_by_the_workflow(kfp, kubernetes, submit):
    def look(run):
        kubernetes.workflow_nodes[run.run_id] = list(argo.wait_nodes("train-folds", 1, reason="pod deleted"))
        at("FAILED", tasks("FAILED"))(run)

    kfp.script = [look]
    assert "step 'train_folds (fold 1)': pod deleted" in submit().error


GRAPH = Graph(steps=("train_folds",), retries={"train_folds": 3})


@pytest.mark.parametrize(
    ("failures", "expected"),
    [
        ([Failure("train_folds", 0, "signal", "", 1)], (1, 60.0)),
        ([Failure("train_folds", 0, "signal", "", 3), Failure("train_folds", 1, "evicted", "", 1)], (3, 240.0)),
        ([Failure("train_folds", 0, "signal", "", 4)], None),
        ([Failure("train_folds", 0, "signal", ""), Failure("train_folds", 1, "out of memory", "")], None),
        ([Failure("train_folds", 0, "signal", "", 1, 4)], None),
        ([Failure("train_folds", 0, "signal", "", 1, 2)], (1, 60.0)),
        ([Failure("train_folds", 0, "unknown", "")], None),
        ([], None),
    ],
    ids=[
        "first",
        "third",
        "used up",
        "used up by Argo",
        "some used by Argo",
        "beside one that stays",
        "unknown",
        "none",
    ],
)
def test_a_plan_needs_every_failure_to_be_worth_another_attempt(monkeypatch, failures, expected):
    monkeypatch.setattr(run_retries, "FIRST_WAIT_S", 60.0)
    plan = plan_retry(failures, GRAPH)
    assert (plan and (plan.attempt, plan.wait_s)) == expected
