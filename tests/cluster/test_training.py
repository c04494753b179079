"""Two runs to registration, side by side: what they print, register, record and log."""

import pytest

from tests.cluster.configuration import ACTOR
from tests.cluster.training_runs import TRAIN

pytestmark = pytest.mark.cluster


def test_two_runs_at_once_on_one_volume_register_a_version_each(registered):
    first, second = registered.times
    assert first[0] <= second[1] and second[0] <= first[1], "the runs did not overlap"
    assert len(set(registered.versions)) == 2


@pytest.mark.parametrize("place", [0, 1])
def test_every_step_of_a_run_succeeded(registered, place):
    status = registered.runs[place].status()
    assert status["state"] == "SUCCEEDED"
    assert {step["state"] for step in status["steps"]} == {"SUCCEEDED"}
    assert {step["step"] for step in status["steps"]} >= {"pull_dataset", "plan_training", TRAIN, "register_candidate"}


def test_status_names_each_fold(registered):
    steps = registered.runs[0].status()["steps"]
    assert sorted(step["folds"] for step in steps if step["step"] == TRAIN) == ["fold 0", "fold 1"]


def test_follow_names_each_fold(registered):
    told = registered.runs[0].follower.told
    assert f"{TRAIN}: fold 0 1/1" in told
    assert f"{TRAIN}: fold 1 1/1" in told


def test_who_started_a_run_registered_its_version(registered, registry):
    events = [event for event in registry.history() if event["kind"] == "register"]
    actors = {event["version"]: event["actor"] for event in events}
    assert [actors[version] for version in registered.versions] == [ACTOR, ACTOR]


def test_logs_of_one_fold_are_printed_from_its_pod_and_from_the_archive_once_the_pod_is_gone(registered):
    run = registered.runs[1]
    of_pod = run.logs(TRAIN, "--fold", "1").require().out
    assert f"==> {TRAIN} (fold 1): " in of_pod
    assert "(fold 0)" not in of_pod
    assert "fold 1, epoch" in of_pod
    run.delete_pods()
    archived = run.logs(TRAIN, "--fold", "1").require().out
    assert f"==> {TRAIN} (fold 1): archived <==" in archived
    assert "fold 1, epoch" in archived


def test_a_step_that_a_run_does_not_have_is_refused_by_name(registered):
    answer = registered.runs[0].logs("polish_folds").require(2)
    assert "polish_folds" in answer.err
    assert TRAIN in answer.err
