"""Runs that are there: named by id or its beginning, looked at, stopped, tried again, followed."""

import json

import pytest

from spine.settings import settings
from tests.pipelines.cluster.fakes import argo
from tests.pipelines.cluster.fakes.kfp_server import at

DONE = {"pull-dataset": "SUCCEEDED", "plan-training": "SUCCEEDED"}
FAILED = at("FAILED", argo.tasks({**DONE, "train-folds": {0: "SUCCEEDED", 1: "FAILED"}}))


@pytest.fixture(autouse=True)
def _archived_log(kfp):
    """The log of the fold that failed."""
    kfp.archived[argo.pod_id(argo.executor("train-folds", 1))] = "ValueError: boom\n"


@pytest.fixture
def started(kfp, submit, profile):
    """A run that was started; returns its id."""
    assert submit("--detach").code == 0
    return kfp.runs[0].run_id


def test_status_shows_a_run_step_by_step(kfp, started, spineline, profile):
    kfp.script = [at("RUNNING", argo.tasks({**DONE, "train-folds": {0: "RUNNING", 1: "RUNNING"}}))]
    told = spineline("status", started[:8], "--profile", profile)
    assert told.code == 0, told.err
    assert "RUNNING" in told.out and "pull_dataset" in told.out
    assert "fold 0" in told.out and "fold 1" in told.out
    assert f"/#/runs/details/{started}" in told.out


def test_status_of_a_failed_run_ends_with_1_and_its_message(kfp, started, spineline, profile):
    kfp.script = [FAILED]
    told = spineline("status", started, "--profile", profile, "--json")
    answer = json.loads(told.out)
    assert told.code == 1
    assert answer["state"] == "FAILED"
    assert {"step": "train_folds", "folds": "fold 1", "state": "FAILED", "message": "ValueError: boom"} in answer[
        "steps"
    ]


def test_the_group_of_runs_lists_them_and_shows_one(kfp, started, spineline, profile):
    kfp.script = [at("RUNNING", argo.tasks({**DONE, "train-folds": {0: "RUNNING", 1: "RUNNING"}}))]
    (row,) = json.loads(spineline("runs", "list", "--profile", profile, "--json").out)
    assert (row["run"], row["state"]) == (started, kfp.runs[0].state) and row["name"]
    assert started[:8] in spineline("runs", "list", "--limit", "1", "--profile", profile).out
    told = spineline("runs", "status", started[:8], "--profile", profile)
    assert told.code == 0 and "pull_dataset" in told.out
    assert spineline("runs", "schedules", "--profile", profile).code == 0


def test_a_run_is_stopped_once(kfp, started, spineline, profile):
    told = spineline("stop", started[:6], "--profile", profile)
    assert told.code == 0, told.err
    assert kfp.runs[0].state == "CANCELING"
    kfp.script = [at("CANCELED")]
    again = spineline("stop", started, "--profile", profile)
    assert again.code == 2
    assert "CANCELED" in again.error


def test_a_failed_run_is_tried_again_and_followed_to_its_end(kfp, started, spineline, profile):
    kfp.script = [FAILED, at("RUNNING"), at("SUCCEEDED")]
    told = spineline("retry", started[:8], "--profile", profile)
    assert told.code == 0, told.err
    assert f"POST /apis/v2beta1/runs/{started}:retry" in kfp.asked
    assert "SUCCEEDED" in told.out
    assert len(kfp.runs) == 1


def test_a_run_that_runs_is_not_tried_again(kfp, started, spineline, profile):
    kfp.script = [at("RUNNING")]
    told = spineline("retry", started, "--profile", profile)
    assert told.code == 2
    assert "RUNNING" in told.error


def test_a_run_is_followed_from_another_shell(kfp, started, spineline, profile):
    kfp.script = [at("RUNNING"), FAILED]
    told = spineline("follow", started[:8], "--profile", profile)
    assert told.code == 1
    assert "step 'train_folds (fold 1)': ValueError: boom" in told.error


def test_a_beginning_that_means_none_or_several_lists_them(kfp, started, submit, spineline, profile):
    assert submit("--detach").code == 0
    kfp.runs[0].run_id, kfp.runs[1].run_id = "abcd1111-0000", "abcd2222-0000"
    told = spineline("status", "abcd", "--profile", profile)
    assert told.code == 2
    assert "abcd1111" in told.error and "abcd2222" in told.error
    assert "none" in spineline("status", "ffff", "--profile", profile).error
    assert "first four or more" in spineline("status", "xyz", "--profile", profile).error


def test_an_id_that_is_not_there_is_told(kfp, spineline, profile):
    told = spineline("stop", "00000000-0000-0000-0000-000000000000", "--profile", profile)
    assert told.code == 2
    assert "00000000" in told.error and kfp.url in told.error


def test_a_run_is_found_behind_many_others(kfp, started, submit, spineline, profile):
    kfp.page_size = 1
    for _ in range(2):
        assert submit("--detach").code == 0
    assert spineline("status", started[:13], "--profile", profile).code == 0


def test_repair_and_a_run_are_not_asked_together(spineline):
    assert "--repair" in spineline("status", "abcd", "--repair").error


def test_who_stopped_a_run_is_recorded_and_shown(kfp, kubernetes, started, spineline, profile, monkeypatch):
    monkeypatch.setenv("SPINELINE_ACTOR", "ann")
    settings.cache_clear()
    kfp.script = [at("RUNNING", argo.tasks(DONE))]
    assert spineline("stop", started[:8], "--profile", profile).code == 0
    kfp.script = [at("FAILED", argo.tasks({**DONE, "train-folds": {0: "FAILED"}}))]
    told = spineline("status", started[:8], "--profile", profile)
    assert told.code == 1
    assert "stopped by ann at 2026-01-01 00:02 UTC" in told.out.splitlines()
    assert "was stopped by ann at" in spineline("follow", started[:8], "--profile", profile).error


def test_stopping_a_run_ends_its_mlflow_runs_where_a_server_is_named(
    kfp, started, spineline, profile, monkeypatch, tmp_path
):
    # A real server of MLflow is in tests/model_registry; here, one that is named and does not answer.
    monkeypatch.setenv("SPINELINE_TRACKING_URI", "http://127.0.0.1:9")
    settings.cache_clear()
    kfp.script = [at("RUNNING", argo.tasks(DONE))]
    told = spineline("stop", started[:8], "--profile", profile)
    assert told.code == 0
    assert f"the MLflow runs of run {started} are not ended: MLflow at http://127.0.0.1:9" in told.err
