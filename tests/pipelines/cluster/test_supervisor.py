"""The supervisor: runs that nobody follows are retried, and the MLflow runs of ended ones are ended."""

import datetime

import pytest

from pipelines.cluster import run_retries
from pipelines.cluster.connection import connected
from pipelines.cluster.endpoint import Endpoint
from pipelines.cluster.kubernetes_access import reach
from pipelines.cluster.supervisor import Supervisor
from tests.pipelines.cluster.fakes import argo
from tests.pipelines.cluster.fakes.kfp_server import at, change
from tests.pipelines.cluster.fakes.kubernetes_server import pod, pod_name
from tests.pipelines.cluster.fakes.server import Answer

TRAIN = argo.executor("train-folds", 1)
DONE = {"pull-dataset": "SUCCEEDED", "plan-training": "SUCCEEDED"}
KILLED = "F1130 22:40:59.2      20 main.go:51] failed to execute component: signal: killed\n"


def tasks(state):
    return argo.tasks({**DONE, "train-folds": {0: "SUCCEEDED", 1: state}})


@pytest.fixture
def ended():
    """MLflow runs that were ended: the run of Kubeflow and the status."""
    return []


@pytest.fixture
def supervisor(kfp, kubernetes, ended):
    endpoint = Endpoint(host=kfp.url, namespace="spineline")
    with connected(endpoint) as connection:
        yield Supervisor(connection, reach(endpoint), end_mlflow_runs=lambda *given: ended.append(given))


@pytest.fixture
def detached(kfp, kubernetes, submit):
    """A function that starts a run which nobody follows, and lets it end in a state a moment ago."""

    def start(*states):
        assert submit("--detach").code == 0
        run = kfp.runs[-1]
        for state in states:
            at(state, tasks("FAILED" if state == "FAILED" else "RUNNING"))(run)
        run.finished_at = datetime.datetime.now(datetime.UTC)
        kubernetes.pods.append(pod(run=run.run_id, node=TRAIN, phase="Failed", ended=("Error", 1)))
        kubernetes.logs[pod_name(TRAIN)] = KILLED
        return run

    return start


def retries(kfp):
    return [line for line in kfp.asked if line.endswith(":retry")]


def test_a_failed_run_is_retried_once_its_wait_is_over(kfp, supervisor, detached, ended):
    run = detached("RUNNING", "FAILED")
    supervisor.look()
    supervisor.look()
    assert retries(kfp) == [f"POST /apis/v2beta1/runs/{run.run_id}:retry"]
    assert run.state == "RUNNING" and ended == []
    assert supervisor.counts.retries == 1


def test_a_wait_is_not_slept_but_left_for_a_later_look(kfp, supervisor, detached, monkeypatch):
    monkeypatch.setattr(run_retries, "FIRST_WAIT_S", 60.0)
    detached("RUNNING", "FAILED")
    for _ in range(3):
        supervisor.look()
    assert retries(kfp) == []


@pytest.mark.parametrize(
    ("states", "status"),
    [(("RUNNING", "CANCELING", "FAILED"), "KILLED"), (("RUNNING", "CANCELED"), "KILLED")],
    ids=["as 2.17 reports a stop", "as earlier versions do"],
)
def test_a_stopped_run_is_left_alone_and_its_mlflow_runs_are_killed(kfp, supervisor, detached, ended, states, status):
    run = detached(*states)
    supervisor.look()
    supervisor.look()
    assert retries(kfp) == []
    assert ended == [(run.run_id, status)]


def test_a_run_whose_failure_stays_ends_its_mlflow_runs_as_failed(kfp, kubernetes, supervisor, detached, ended):
    run = detached("RUNNING", "FAILED")
    kubernetes.logs[pod_name(TRAIN)] = "train_folds: error: recipe is 'x'; expected a known one\n"
    supervisor.look()
    assert (retries(kfp), ended) == ([], [(run.run_id, "FAILED")])
    assert supervisor.counts.given_up == 1


def test_a_run_that_failed_long_ago_is_not_woken(kfp, supervisor, detached):
    detached("RUNNING", "FAILED").finished_at = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=2)
    supervisor.look()
    assert retries(kfp) == []


def test_a_run_that_fails_again_after_its_retry_is_retried_again(kfp, supervisor, detached):
    run = detached("RUNNING", "FAILED")
    for _ in range(2):
        supervisor.look()
    change(run, "FAILED")
    run.finished_at = datetime.datetime.now(datetime.UTC)
    for _ in range(2):
        supervisor.look()
    assert len(retries(kfp)) == 2


def test_pipelines_of_others_are_left_alone(kfp, supervisor, detached, ended):
    run = detached("RUNNING", "FAILED")
    kfp.versions[0].pipeline_spec["pipeline_spec"]["pipelineInfo"]["name"] = "theirs"
    supervisor.look()
    assert (retries(kfp), ended, run.state) == ([], [], "FAILED")


def test_an_error_of_one_run_leaves_the_others_supervised(kfp, supervisor, detached):
    first, second = detached("RUNNING", "FAILED"), detached("RUNNING", "FAILED")
    kfp.fault = lambda method, path: Answer(500, {"message": "no"}) if path.endswith(first.run_id) else None
    for _ in range(2):
        supervisor.look()
    assert second.state == "RUNNING" and first.state == "FAILED"


def test_a_run_whose_schedule_was_deleted_is_given_up(kfp, supervisor, detached, ended):
    run = detached("RUNNING", "FAILED")
    run.recurring_run_id = "4be7a1d2-0000-0000-0000-000000000000"
    for _ in range(3):
        supervisor.look()
    assert retries(kfp) == [] and ended == [(run.run_id, "FAILED")]
    assert supervisor.counts.given_up == 1


def test_one_look_from_the_command_line(kfp, detached, spineline, profile):
    detached("RUNNING", "SUCCEEDED")
    told = spineline("runs", "supervise", "--once", "--metrics-port", "0", "--profile", profile)
    assert told.code == 0, told.err


def test_the_command_takes_the_namespace_of_the_runs(kfp, kubernetes, detached, spineline, write_profile):
    detached("FAILED")
    profile = write_profile({"host": kfp.url})
    told = spineline("runs", "supervise", "--once", "--namespace", "spineline", "--profile", profile)
    assert told.code == 0, told.err
    assert "GET /api/v1/namespaces/spineline/pods" in kubernetes.asked
    assert "expected an endpoint" in spineline("runs", "supervise", "--namespace", "No_Name").error
