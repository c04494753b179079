"""A schedule: listed, paused, resumed, kept while one of its runs is in progress, deleted with its runs stopped."""

import pytest

from tests.cluster.kubeflow_api import runs_of_schedule
from tests.cluster.suite_profile import ENDLESS
from tests.cluster.waiting import wait_until

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def schedule(launcher, spineline, new_seed):
    """Id and name of a schedule that starts a run every minute; earlier runs make room for it."""
    launcher.stop_all()
    chosen = launcher.arguments(recipe=ENDLESS, seed=new_seed(), folds="0")
    answer = spineline.call("run", *chosen, "--cron", "* * * * *", "--json", timeout_s=300).require().json()
    yield answer["schedule"], answer["name"]
    spineline.call("schedules", "--delete", answer["schedule"], "--stop-runs", timeout_s=600)


@pytest.fixture(scope="module")
def scheduled_run(schedule, kubectl, launcher, spineline):
    """A run that the schedule started."""
    identifier, name = schedule
    spineline.call("schedules", "--resume", name).require()

    def look():
        return next(runs_of_schedule(kubectl.items("workflows.argoproj.io"), identifier), None)

    return launcher.adopt(wait_until(look, "the schedule's first run", timeout_s=240))


def test_a_schedule_is_listed_paused_and_resumed(schedule, spineline):
    identifier, name = schedule
    for option, status in (("--pause", "DISABLED"), ("--resume", "ENABLED"), ("--pause", "DISABLED")):
        spineline.call("schedules", option, name).require()
        listed = {one["schedule"]: one for one in spineline.call("schedules", "--json").require().json()}
        assert listed[identifier]["name"] == name
        assert listed[identifier]["cron"] == "* * * * *"
        assert listed[identifier]["status"] == status


def test_deletion_is_refused_while_a_run_is_in_progress(schedule, scheduled_run, spineline):
    answer = spineline.call("schedules", "--delete", schedule[1]).require(2)
    assert scheduled_run.run_id in answer.err
    assert "--stop-runs" in answer.err
    assert schedule[0] in {one["schedule"] for one in spineline.call("schedules", "--json").require().json()}


def test_a_schedule_is_deleted_once_its_runs_are_stopped(schedule, scheduled_run, spineline):
    spineline.call("schedules", "--delete", schedule[1], "--stop-runs", timeout_s=600).require()
    assert schedule[0] not in {one["schedule"] for one in spineline.call("schedules", "--json").require().json()}
    assert scheduled_run.status()["state"] in ("FAILED", "CANCELED")
