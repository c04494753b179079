"""Recurring runs: put on a timetable once, listed, deleted; on a branch only."""

import copy
import json

import pytest

from spine.settings import settings
from tests.pipelines.cluster.fakes.server import Answer


def test_a_schedule_is_made_of_the_uploaded_version_and_listed(kfp, submit, spineline, profile):
    told = submit("--dataset", "main", "--cron", "0 2 * * *")
    assert told.code == 0, told.err
    (schedule,) = kfp.schedules
    assert schedule.trigger.cron_schedule.cron == "0 0 2 * * *"
    assert (schedule.no_catchup, schedule.max_concurrency, schedule.mode) == (True, "1", "ENABLE")
    assert schedule.runtime_config.parameters["revision"] == "main"
    assert kfp.runs == []
    (row,) = json.loads(spineline("schedules", "--profile", profile, "--json").out)
    assert (row["name"], row["cron"], row["data set"]) == ("spine on main", "0 2 * * *", "main")
    assert "spine on main" in spineline("schedules", "--profile", profile).out


def test_the_same_schedule_is_found_again_and_another_of_its_name_refused(kfp, submit):
    for _ in range(2):
        assert submit("--dataset", "main", "--cron", "0 2 * * *").code == 0
    assert len(kfp.schedules) == 1
    told = submit("--dataset", "main", "--cron", "0 3 * * *")
    assert told.code == 2
    assert "spineline schedules --delete 'spine on main'" in told.error
    assert len(kfp.schedules) == 1


def test_the_same_schedule_of_another_person_is_found_again(kfp, submit, monkeypatch):
    for actor in ("ann", "ben"):
        monkeypatch.setenv("SPINELINE_ACTOR", actor)
        settings.cache_clear()
        told = submit("--dataset", "main", "--cron", "0 2 * * *")
        assert told.code == 0, told.err
    assert [one.runtime_config.parameters["actor"] for one in kfp.schedules] == ["ann"]


def test_a_schedule_is_deleted_by_its_name(kfp, submit, spineline, profile):
    submit("--dataset", "main", "--cron", "0 2 * * *")
    assert spineline("schedules", "--delete", "spine on main", "--profile", profile).code == 0
    assert kfp.schedules == []
    told = spineline("schedules", "--delete", "spine on main", "--profile", profile)
    assert told.code == 2
    assert "spine on main" in told.error


@pytest.mark.parametrize("cron", ["0 2 * *", "", "  ", "0 2 31 2 *"])
def test_what_is_no_crontab_is_refused_before_anything_is_sent(kfp, submit, cron):
    told = submit("--dataset", "main", "--cron", cron)
    assert told.code == 2
    assert "--cron" in told.error and "five fields" in told.error
    assert kfp.asked == []


def test_an_empty_cron_is_refused_on_this_machine_too(spineline):
    told = spineline("run", "--cron", "")
    assert told.code == 2
    assert "--cron" in told.error and "--on kubernetes" in told.error


@pytest.mark.parametrize("name", ["", "s", "spi"])
def test_a_schedule_is_not_deleted_by_less_than_a_name(kfp, submit, spineline, profile, name):
    submit("--dataset", "main", "--cron", "0 2 * * *")
    kfp.schedules[0].recurring_run_id = "spin-1"
    told = spineline("schedules", "--delete", name, "--profile", profile)
    assert told.code == 2
    assert "spine on main" in told.error and "spin-1" in told.error
    assert len(kfp.schedules) == 1


def test_a_schedule_is_deleted_by_the_beginning_of_its_id(kfp, submit, spineline, profile):
    submit("--dataset", "main", "--cron", "0 2 * * *")
    beginning = kfp.schedules[0].recurring_run_id[:4]
    assert spineline("schedules", "--delete", beginning, "--profile", profile).code == 0
    assert kfp.schedules == []


def test_of_two_schedules_of_one_name_the_ids_are_told(kfp, submit, spineline, profile):
    submit("--dataset", "main", "--cron", "0 2 * * *")
    kfp.schedules.append(copy.copy(kfp.schedules[0]))
    kfp.schedules[1].recurring_run_id = "another"
    told = spineline("schedules", "--delete", "spine on main", "--profile", profile)
    assert told.code == 2
    assert kfp.schedules[0].recurring_run_id in told.error and "another" in told.error
    assert spineline("schedules", "--delete", "another", "--profile", profile).code == 0


def test_a_schedule_is_paused_and_resumed(kfp, submit, spineline, profile):
    submit("--dataset", "main", "--cron", "0 2 * * *")
    told = spineline("schedules", "--pause", "spine on main", "--profile", profile)
    assert told.code == 0 and "paused" in told.out, told.err
    assert kfp.schedules[0].status == "DISABLED"
    assert "paused" in spineline("schedules", "--profile", profile).out
    again = submit("--dataset", "main", "--cron", "0 2 * * *")
    assert f"spineline schedules --resume 'spine on main' --profile {profile}" in again.out
    told = spineline("schedules", "--resume", "spine on main", "--profile", profile, "--json")
    assert json.loads(told.out)["status"] == kfp.schedules[0].status == "ENABLED"
    assert "enabled" in spineline("schedules", "--profile", profile).out


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--pause", "a", "--resume", "b"], "--pause and --resume"),
        (["--delete", "a", "--pause", "b"], "--delete and --pause"),
        (["--wait"], "--delete NAME"),
        (["--pause", "a", "--stop-runs"], "--delete NAME"),
        (["--delete", "a", "--wait", "--stop-runs"], "--wait and --stop-runs"),
    ],
)
def test_options_of_a_schedule_that_exclude_each_other_are_refused(kfp, spineline, profile, options, named):
    told = spineline("schedules", *options, "--profile", profile)
    assert told.code == 2 and named in told.error
    assert kfp.asked == []


def test_a_schedule_that_was_given_no_id_is_not_believed(kfp, submit):
    kfp.fault = lambda method, path: Answer(200, {"ok": 1}) if method == "POST" and "recurring" in path else None
    told = submit("--dataset", "main", "--cron", "0 2 * * *")
    assert told.code == 2
    assert "an answer without recurring_run_id" in told.error


def test_a_commit_is_refused_for_it_never_changes(kfp, submit):
    told = submit("--dataset", "3f2a91c03f2a91c03f2a91c03f2a91c03f2a91c0", "--cron", "0 2 * * *")
    assert told.code == 2
    assert "branch" in told.error
    assert kfp.asked == []
