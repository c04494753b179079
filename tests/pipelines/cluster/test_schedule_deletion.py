"""Deletion of a schedule with runs in progress: refused by default, waited for, or stopped on request."""

from types import SimpleNamespace

import pytest

from pipelines.cluster import schedule_deletion
from tests.pipelines.cluster.fakes import contract
from tests.pipelines.cluster.fakes.server import LOST_AFTER

NAME = "spine on main"
LIST_RUNS = "GET /apis/v2beta1/runs"


@pytest.fixture
def schedule(kfp, submit):
    """A schedule of the data set's branch main."""
    assert submit("--dataset", "main", "--cron", "0 2 * * *").code == 0
    return kfp.schedules[0]


@pytest.fixture
def delete(spineline, profile):
    """A function of further options that deletes the schedule."""

    def call(*options):
        return spineline("schedules", "--delete", NAME, *options, "--profile", profile)

    return call


def ends_after(kfp, run, looks, *, state="SUCCEEDED"):
    """End a run once runs were listed a number of times."""

    def look(method, path):
        if f"{method} {path}" == LIST_RUNS and kfp.asked.count(LIST_RUNS) > looks:
            run.state = state

    kfp.fault = look


def test_a_schedule_with_a_run_in_progress_is_kept_and_the_run_named(kfp, schedule, delete, profile):
    kfp.begin_run(schedule, state="FAILED")
    run = kfp.begin_run(schedule)
    told = delete()
    assert told.code == 2
    assert f"{run.run_id} (RUNNING)" in told.error and kfp.runs[0].run_id not in told.error
    for option in ("--wait", "--stop-runs"):
        assert f"`spineline schedules --delete 'spine on main' --profile {profile} {option}`" in told.error
    assert kfp.schedules == [schedule] and schedule.status == "ENABLED"


def test_runs_of_others_and_those_that_ended_do_not_keep_a_schedule(kfp, schedule, delete, submit, monkeypatch):
    monkeypatch.setattr(contract, "check_filter", lambda text: {})  # as a gateway that drops it
    assert submit("--detach").code == 0
    kfp.runs[0].state = "RUNNING"
    for state in ("SUCCEEDED", "FAILED", "CANCELED"):
        kfp.begin_run(schedule, state=state)
    kfp.begin_run(schedule).storage_state = "ARCHIVED"
    assert delete().code == 0
    assert kfp.schedules == []


@pytest.mark.parametrize("keeps_workflows", [True, False])
def test_wait_pauses_the_schedule_and_deletes_it_after_its_runs(kfp, schedule, delete, keeps_workflows):
    kfp.keeps_workflows = keeps_workflows
    run = kfp.begin_run(schedule)
    ends_after(kfp, run, 3)
    told = delete("--wait")
    assert told.code == 0, told.err
    assert f"waiting for run {run.run_id} (RUNNING) to end" in told.err
    assert kfp.schedules == [] and kfp.lost == set() and run.state == "SUCCEEDED"
    asked = [line.rsplit("/", 1)[1] for line in kfp.asked if "recurringruns/" in line]
    assert asked == [f"{schedule.recurring_run_id}:disable", schedule.recurring_run_id]
    assert not any("terminate" in line for line in kfp.asked)


def test_a_run_that_begins_just_before_the_pause_is_waited_for(kfp, schedule, delete):
    kfp.keeps_workflows = False

    def begin(method, path):
        if path.endswith(":disable"):
            ends_after(kfp, kfp.begin_run(schedule), 2)

    kfp.fault = begin
    assert delete("--wait").code == 0
    assert kfp.runs[0].state == "SUCCEEDED" and kfp.lost == set()


def test_stop_runs_stops_each_once_and_deletes_after_their_end(kfp, schedule, delete):
    kfp.keeps_workflows = False
    run = kfp.begin_run(schedule)
    ends_after(kfp, run, 3, state="FAILED")
    told = delete("--stop-runs")
    assert told.code == 0, told.err
    assert f"run {run.run_id} is being stopped" in told.err
    assert sum("terminate" in line for line in kfp.asked) == 1
    assert kfp.schedules == [] and kfp.lost == set()


@pytest.mark.parametrize("was_paused", [False, True])
def test_an_interrupted_wait_leaves_the_schedule_as_it_was(kfp, schedule, delete, monkeypatch, was_paused):
    def interrupt(_seconds):
        raise KeyboardInterrupt

    schedule.status = "DISABLED" if was_paused else "ENABLED"
    kfp.begin_run(schedule)
    monkeypatch.setattr(schedule_deletion, "time", SimpleNamespace(sleep=interrupt))
    told = delete("--wait")
    assert told.code == 130
    assert kfp.schedules == [schedule]
    assert schedule.status == ("DISABLED" if was_paused else "ENABLED")
    assert ("was not deleted and is resumed" in told.err) != was_paused


def test_a_schedule_that_can_not_be_resumed_is_reported_with_the_command(kfp, schedule, delete, monkeypatch, profile):
    def interrupt(_seconds):
        kfp.token = "changed"
        raise KeyboardInterrupt

    monkeypatch.setattr(schedule_deletion, "time", SimpleNamespace(sleep=interrupt))
    told = delete("--wait")
    assert told.code == 130
    assert f"`spineline schedules --resume 'spine on main' --profile {profile}`" in told.err


def test_a_deletion_whose_answer_was_lost_is_done(kfp, schedule, delete):
    kfp.fault = lambda method, path: LOST_AFTER if method == "DELETE" else None
    told = delete()
    assert told.code == 0, told.err
    assert kfp.schedules == []


@pytest.mark.parametrize("is_canceling", [False, True])
def test_stop_runs_does_not_wait_for_a_lost_run(kfp, kubernetes, schedule, delete, is_canceling):
    run = kfp.begin_run(schedule, state="CANCELING" if is_canceling else "RUNNING")
    kfp.lost.add(run.run_id)
    kubernetes.deleted_workflows = kfp.lost
    told = delete("--stop-runs")
    assert told.code == 0, told.err
    assert f"run {run.run_id} is lost" in told.err
    assert kfp.schedules == []


def test_wait_ends_at_a_run_that_never_will(kfp, kubernetes, schedule, delete):
    run = kfp.begin_run(schedule)
    kubernetes.deleted_workflows.add(run.run_id)
    told = delete("--wait")
    assert told.code == 1
    assert f"run {run.run_id} is lost" in told.error
    assert kfp.schedules == [schedule] and schedule.status == "ENABLED"
