"""States of steps, read from task details as a real server writes them."""

import json
from pathlib import Path
from types import SimpleNamespace

import kfp_server_api
import pytest

from pipelines.cluster.graph import Graph
from pipelines.cluster.steps import StepState, steps_of, was_stopped
from tests.pipelines.cluster.fakes import argo

RECORDED = Path(__file__).parents[4] / "shared" / "data" / "kubeflow_2_17"
STEPS = ("pull_dataset", "plan_training", "train_folds", "evaluate_folds", "gate_candidate", "register_candidate")
GRAPH = Graph(steps=STEPS)


def run_of(tasks):
    return SimpleNamespace(run_details=SimpleNamespace(task_details=list(tasks)))


def recorded(name):
    path = RECORDED / f"{name}.json"
    if not path.is_file():
        pytest.skip("the objects recorded on a real cluster are not beside this checkout")
    return kfp_server_api.ApiClient().deserialize(SimpleNamespace(data=path.read_text()), "V2beta1Run")


def summary(run):
    return [(one.step, one.number, one.state, one.failures) for one in steps_of(run, GRAPH)]


def test_every_fold_of_a_recorded_run_is_found_under_its_own_iteration():
    found = summary(recorded("run_succeeded_five_folds"))
    assert found == [
        ("pull_dataset", None, "SUCCEEDED", 0),
        ("plan_training", None, "SUCCEEDED", 0),
        *(("train_folds", number, "SUCCEEDED", 0) for number in range(5)),
        ("evaluate_folds", None, "SUCCEEDED", 0),
        ("gate_candidate", None, "SUCCEEDED", 0),
        ("register_candidate", None, "SUCCEEDED", 0),
    ]


@pytest.mark.parametrize(
    ("name", "failed"),
    [
        ("run_failed_out_of_memory", ("train_folds", 0, "FAILED", 2)),
        ("run_registration_failed_then_retried", ("register_candidate", None, "SUCCEEDED", 1)),
        ("run_killed_then_retried", ("train_folds", 0, "SUCCEEDED", 1)),
        ("run_stopped_image_not_found", ("pull_dataset", None, "FAILED", 1)),
    ],
)
def test_failures_of_a_recorded_run_are_counted_per_step(name, failed):
    found = summary(recorded(name))
    assert failed in found
    assert [one for one in found if one[3]] == [failed]


@pytest.mark.parametrize(
    ("name", "is_stopped"),
    [
        ("run_stopped_image_not_found", True),
        ("run_stopped_then_retried", False),
        ("run_failed_out_of_memory", False),
        ("run_succeeded_five_folds", False),
    ],
)
def test_a_recorded_run_is_stopped_only_where_its_last_end_was_a_stop(name, is_stopped):
    assert was_stopped(recorded(name)) == is_stopped


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("run_succeeded_five_folds", {f"iteration-iterations({number}:{number})" for number in range(5)})],
)
def test_the_fake_writes_the_display_names_of_a_recorded_run(name, wanted):
    ours = {one.display_name for one in argo.tasks({**dict.fromkeys(ALL, "SUCCEEDED"), "train-folds": FIVE})}
    theirs = {one.display_name for one in recorded(name).run_details.task_details}
    workflow = next(one for one in theirs if one.startswith("train-candidate") and "(" not in one)
    same = {one.replace(workflow, argo.WORKFLOW) for one in theirs}
    # The recorded run was started several times before its driver succeeded, and one pod was deleted.
    assert wanted <= ours
    assert {one for one in same if not one.endswith(("(1)", "(2)"))} == ours


ALL = ("pull-dataset", "plan-training", "evaluate-folds", "gate-candidate", "register-candidate")
FIVE = dict.fromkeys(range(5), "SUCCEEDED")


def test_names_of_recorded_pods_are_those_that_the_fake_writes():
    path = RECORDED / "pods_killed_then_retried.json"
    if not path.is_file():
        pytest.skip("the objects recorded on a real cluster are not beside this checkout")
    pods = json.loads(path.read_text())["items"]
    workflow = pods[0]["metadata"]["labels"]["workflows.argoproj.io/workflow"]
    names = {
        one["metadata"]["annotations"]["workflows.argoproj.io/node-name"].replace(workflow, argo.WORKFLOW)
        for one in pods
    }
    expected = {argo.executor(step) for step in (*ALL, "train-folds")} | {argo.driver(step) for step in (*ALL, "root")}
    assert expected <= names


def test_attempts_that_argo_made_are_counted():
    run = recorded("run_succeeded_five_folds")
    attempts = {(one.step, one.number): one.attempts for one in steps_of(run, GRAPH)}
    # A pod of fold 3 was deleted, and Argo tried again.
    assert attempts.pop(("train_folds", 3)) == 2
    assert set(attempts.values()) == {1}


def test_folds_are_told_apart_while_they_run():
    states = {"pull-dataset": "SUCCEEDED", "train-folds": {0: "SUCCEEDED", 1: "RUNNING", 2: "FAILED"}}
    found = [(one.number, one.state) for one in steps_of(run_of(argo.tasks(states)), GRAPH) if one.number is not None]
    assert found == [(0, "SUCCEEDED"), (1, "RUNNING"), (2, "FAILED")]


@pytest.mark.parametrize("state", ["RUNNING", "FAILED"])
@pytest.mark.parametrize("name", [None, "", "-driver"])
def test_a_task_without_a_name_is_ignored(name, state):
    tasks = [detail(name, state), detail("root", state), detail("theirs", "RUNNING")]
    assert steps_of(run_of(tasks), Graph()) == [StepState("theirs", None, "RUNNING")]


def detail(name, state):
    return kfp_server_api.V2beta1PipelineTaskDetail(display_name=name, state=state)
