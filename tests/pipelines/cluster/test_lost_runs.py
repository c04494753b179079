"""Runs whose workflow was deleted: recognised, reported with the command that starts them again, archived."""

import datetime
import json
import shlex

import kfp_server_api as models
import pytest

from pipelines.cluster import lost_runs
from pipelines.cluster.endpoint import Endpoint
from pipelines.cluster.kubernetes_access import UnaskedError, reach
from pipelines.cluster.restarting import restart_options
from spine.recipe import load_recipe
from spine.storage import strict_json
from tests.pipelines.cluster.fakes import argo
from tests.pipelines.cluster.fakes.kfp_server import at
from tests.pipelines.cluster.fakes.kubernetes_server import pod


@pytest.fixture
def lost(kfp, submit):
    """A run of a schedule that was deleted while the run was in progress."""
    assert submit("--dataset", "main", "--cron", "0 2 * * *").code == 0
    run = kfp.begin_run(kfp.schedules[0])
    kfp._delete_workflows(kfp.schedules.pop().recurring_run_id)
    assert kfp.lost == {run.run_id}
    return run


@pytest.fixture
def again(profile, tmp_path):
    """The command that trains again what the lost run trained."""
    options = (
        "--dataset main --recipe spine --folds 0,1 --policy research --repository https://git.example/spine-data.git"
    )
    return f"spineline run --on kubernetes --profile {profile} {options}"


@pytest.fixture
def cluster(kubernetes):
    """The cluster in which the run has no workflow."""
    kubernetes.deleted_workflows.add("lost")
    return reach(Endpoint(namespace="spineline"))


def run_of(**changed):
    content = {
        "run_id": "lost",
        "state": "RUNNING",
        "created_at": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
        "service_account": "spineline-pipeline",
    }
    return models.V2beta1Run(**{**content, **changed})


@pytest.mark.parametrize(
    ("changed", "is_lost"),
    [
        ({}, True),
        ({"state": "PENDING"}, True),
        ({"state": "CANCELING"}, True),
        ({"service_account": None}, True),
        ({"state": "SUCCEEDED"}, False),
        ({"state": "FAILED"}, False),
        ({"run_id": "kept"}, False),
        ({"created_at": None}, False),
        ({"service_account": "of-another-cluster"}, False),
    ],
)
def test_a_run_is_lost_that_has_not_ended_and_has_no_workflow(cluster, changed, is_lost):
    assert lost_runs.is_lost(cluster, run_of(**changed)) is is_lost


def test_a_run_that_was_created_a_moment_ago_is_not_lost(cluster):
    assert not lost_runs.is_lost(cluster, run_of(created_at=datetime.datetime.now(tz=datetime.UTC)))


def test_a_run_with_a_pod_is_not_lost(cluster, kubernetes):
    kubernetes.pods = [pod(run="lost", node=argo.executor("pull-dataset"), phase="Running")]
    assert not lost_runs.is_lost(cluster, run_of())


def test_a_cluster_without_argo_does_not_make_a_run_lost(kubernetes, monkeypatch):
    monkeypatch.setattr("tests.pipelines.cluster.fakes.kubernetes_server._WORKFLOWS", "/none")
    assert not lost_runs.is_lost(reach(Endpoint(namespace="spineline")), run_of())


@pytest.mark.parametrize("kind", ["pods", "workflows", "serviceaccounts"])
def test_what_may_not_be_read_does_not_make_a_run_lost(cluster, kubernetes, kind):
    kubernetes.forbidden.add(kind)
    with pytest.raises(UnaskedError, match="may not read"):
        lost_runs.is_lost(cluster, run_of())
    assert lost_runs.lost_error(cluster, run_of()) is None
    assert lost_runs.lost_error(None, run_of()) is None


def test_following_ends_at_a_lost_run_only_where_its_pods_were_seen(cluster, monkeypatch):
    monkeypatch.setattr(lost_runs, "WATCH_S", 0.0)
    lines = []
    watch = lost_runs.LostWatch(cluster=cluster, report=lines.append)
    watch.look(run_of(), has_pods=False)
    assert "unless it is in another cluster" in lines[0]
    watch.look(run_of(), has_pods=True)
    with pytest.raises(lost_runs.RunLostError, match="run lost is lost: namespace 'spineline'"):
        watch.look(run_of(), has_pods=False)


def test_status_shows_a_lost_run_and_the_command_that_starts_it_again(kfp, kubernetes, lost, again, spineline, profile):
    kubernetes.deleted_workflows = kfp.lost
    told = spineline("status", lost.run_id[:8], "--profile", profile)
    assert told.code == 1
    assert "lost (RUNNING)" in told.out
    assert f"`{again}`" in told.err and f"`spineline stop {lost.run_id[:8]} --profile {profile} --archive`" in told.err
    answer = json.loads(spineline("status", lost.run_id, "--profile", profile, "--json").out)
    assert (answer["state"], answer["lost"]) == ("RUNNING", True)


def test_the_command_that_starts_a_lost_run_again_submits_the_same_training(kfp, lost, again, spineline):
    assert spineline(*shlex.split(again)[1:], "--detach").code == 0
    run = kfp.runs[-1]
    assert run.run_id != lost.run_id
    assert run.runtime_config.parameters == lost.runtime_config.parameters


def test_stop_reports_a_lost_run_by_what_kubeflow_answers(kfp, lost, again, spineline, profile):
    told = spineline("stop", lost.run_id, "--profile", profile)
    assert told.code == 1
    assert "found no workflow of it" in told.error and f"`{again}`" in told.error


def test_a_run_that_is_being_stopped_is_not_stopped_again(kfp, lost, spineline, profile):
    lost.state = "CANCELING"
    told = spineline("stop", lost.run_id, "--profile", profile)
    assert told.code == 2 and "being stopped already" in told.error
    assert not any("terminate" in line for line in kfp.asked)


@pytest.mark.parametrize("state", ["RUNNING", "CANCELING"])
@pytest.mark.parametrize("kubernetes_shows", ["it", "nothing", "no kubeconfig"])
def test_a_lost_run_is_archived(kfp, lost, again, spineline, profile, request, state, kubernetes_shows):
    if kubernetes_shows != "no kubeconfig":
        server = request.getfixturevalue("kubernetes")
        server.deleted_workflows = kfp.lost
        server.forbidden = {"workflows"} if kubernetes_shows == "nothing" else set()
    lost.state = state
    told = spineline("stop", lost.run_id, "--archive", "--profile", profile)
    assert told.code == 0, told.err
    assert lost.storage_state == "ARCHIVED"
    assert f"`{again}`" in told.out


def test_a_run_with_a_workflow_is_stopped_and_not_archived(kfp, kubernetes, submit, spineline, profile):
    assert submit("--detach").code == 0
    run = kfp.runs[0]
    for state, code in (("RUNNING", 0), ("CANCELING", 2)):
        run.state = state
        assert spineline("stop", run.run_id, "--archive", "--profile", profile).code == code
        assert run.state == "CANCELING" and run.storage_state is None


def test_retry_refuses_a_lost_run_with_the_command(kfp, kubernetes, lost, again, spineline, profile):
    kubernetes.deleted_workflows = kfp.lost
    told = spineline("retry", lost.run_id, "--profile", profile)
    assert told.code == 1 and f"`{again}`" in told.error
    assert not any(line.endswith(":retry") for line in kfp.asked)


def test_retry_refuses_a_failed_run_of_a_deleted_schedule(kfp, lost, again, spineline, profile):
    lost.state = "FAILED"
    told = spineline("retry", lost.run_id, "--profile", profile)
    assert told.code == 1 and "whose schedule was deleted" in told.error and f"`{again}`" in told.error
    assert lost.state == "FAILED"


def test_retry_of_a_run_whose_schedule_exists_is_sent(kfp, submit, spineline, profile):
    assert submit("--dataset", "main", "--cron", "0 2 * * *").code == 0
    run = kfp.begin_run(kfp.schedules[0], state="FAILED")
    kfp.script = [at("FAILED"), at("RUNNING")]
    told = spineline("retry", run.run_id, "--detach", "--profile", profile)
    assert told.code == 0, told.err


@pytest.mark.parametrize(
    ("parameters", "options"),
    [
        ({"revision": "v2", "recipe": "spine", "policy": "research"}, "--dataset v2 --recipe spine --policy research"),
        ({"revision": "v2", "recipe": "spine", "start_from": 3.0}, "--dataset v2 --recipe spine --start-from 3"),
        ({"version": 4, "root": "/root"}, ""),
        ({}, ""),
    ],
)
def test_options_are_read_from_the_arguments(parameters, options):
    run = run_of(runtime_config=models.V2beta1RuntimeConfig(parameters=parameters))
    assert options_of(run) == options


@pytest.mark.parametrize(
    ("changed", "options"),
    [
        ({}, "--recipe spine"),
        ({"training.seed": 7}, "--recipe spine --seed 7"),
        ({"training.epochs": 3}, "--recipe spine.yaml"),
        ({"name": "mine"}, "--recipe mine.yaml"),
    ],
)
def test_a_recipe_is_named_or_is_a_file(changed, options):
    content = load_recipe("spine").model_dump(mode="json")
    for key, value in changed.items():
        *path, last = key.split(".")
        (content[path[0]] if path else content)[last] = value
    arguments = {"revision": "main", "recipe": strict_json(content)}
    run = run_of(runtime_config=models.V2beta1RuntimeConfig(parameters=arguments))
    assert options_of(run) == f"--dataset main {options}"


def options_of(run):
    return shlex.join(restart_options(run))


def test_a_run_that_is_followed_when_its_workflow_is_deleted_ends_as_lost(kfp, kubernetes, submit, monkeypatch):
    monkeypatch.setattr(lost_runs, "GRACE_S", 0.0)
    monkeypatch.setattr(lost_runs, "WATCH_S", 0.0)

    def working(run):
        kubernetes.pods = [pod(run=run.run_id, node=argo.executor("pull-dataset"), phase="Running")]
        at("RUNNING", argo.tasks({"pull-dataset": "RUNNING"}))(run)

    def deleted(run):
        kubernetes.pods = []
        kubernetes.deleted_workflows.add(run.run_id)
        at("RUNNING", argo.tasks({"pull-dataset": "RUNNING"}))(run)

    kfp.script = [working, deleted]
    told = submit()
    assert told.code == 1
    assert f"run {kfp.runs[0].run_id} is lost" in told.error and "spineline run --on kubernetes" in told.error
