"""Recurring runs: put on a timetable once, listed, deleted; on a branch only."""

import json

import pytest


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


def test_a_schedule_is_deleted_by_its_name(kfp, submit, spineline, profile):
    submit("--dataset", "main", "--cron", "0 2 * * *")
    assert spineline("schedules", "--delete", "spine on main", "--profile", profile).code == 0
    assert kfp.schedules == []
    told = spineline("schedules", "--delete", "spine on main", "--profile", profile)
    assert told.code == 2
    assert "spine on main" in told.error


@pytest.mark.parametrize("cron", ["0 2 * *", "0 0 2 * * *", "61 2 * * *", "0 24 * * *", "at night", "0 2 * * mon; rm"])
def test_what_is_no_crontab_is_refused_before_anything_is_sent(kfp, submit, cron):
    told = submit("--dataset", "main", "--cron", cron)
    assert told.code == 2
    assert "--cron" in told.error and "five fields" in told.error
    assert kfp.asked == []


@pytest.mark.parametrize("cron", ["*/15 * * * *", "0 2 * * mon-fri", "0 2 1,15 * *", "30 4 1-7 */3 *"])
def test_crontabs_of_all_kinds_are_taken(kfp, submit, cron):
    told = submit("--dataset", "main", "--cron", cron)
    assert told.code == 0, told.err
    assert kfp.schedules[0].trigger.cron_schedule.cron == f"0 {cron}"


def test_a_commit_is_refused_for_it_never_changes(kfp, submit):
    told = submit("--dataset", "3f2a91c03f2a91c03f2a91c03f2a91c03f2a91c0", "--cron", "0 2 * * *")
    assert told.code == 2
    assert "branch" in told.error
    assert kfp.asked == []
