"""A run that is stopped, and retried after its workflow was deleted."""

import pytest

from tests.cluster.configuration import ACTOR
from tests.cluster.mlflow_runs import mlflow_states
from tests.cluster.waiting import wait_until

pytestmark = pytest.mark.cluster
ENDED = ("FAILED", "CANCELED")
STOP_S, MLFLOW_S = 180.0, 180.0


@pytest.fixture(scope="session")
def stopped(interrupted):
    """A run that was stopped while it trained."""
    run = interrupted["changed"]
    run.wait_for_training()
    run.follow()
    run.stop()
    run.wait_for_state(*ENDED, timeout_s=STOP_S)
    return run


def test_status_names_who_stopped_a_run(stopped):
    assert f"stopped by {ACTOR} at " in stopped.status()["stopped"]


def test_follow_ends_with_who_stopped_the_run_and_how_it_continues(stopped):
    assert stopped.follower.wait(timeout_s=STOP_S) == 1
    assert f"stopped by {ACTOR} at " in stopped.follower.told
    assert f"spineline retry {stopped.run_id[:8]}" in stopped.follower.told


def test_the_mlflow_runs_of_a_stopped_run_are_killed(stopped, kubectl, tmp_path):
    with kubectl.forwarded("mlflow", 5000, log=tmp_path / "forward.log") as address:

        def look():
            states = mlflow_states(address, stopped.run_id)
            return states if states and "RUNNING" not in states else None

        states = wait_until(
            look, "the MLflow runs to end", timeout_s=MLFLOW_S, state=lambda: mlflow_states(address, stopped.run_id)
        )
    assert set(states) == {"KILLED"}


def test_a_stopped_run_is_retried_after_its_workflow_was_deleted_and_continues(stopped):
    stopped.delete_workflow()
    wait_until(lambda: not stopped.pods(), "the pods to be gone", timeout_s=180, state=stopped.describe)
    stopped.spineline.call("retry", stopped.run_id, "--detach").require()
    pod = stopped.wait_for_training()
    log = stopped.kubectl.do("logs", f"pod/{pod.name}", "--container", "main")
    assert "continued from" in log
    stopped.stop()
    stopped.wait_for_state(*ENDED, timeout_s=STOP_S)
