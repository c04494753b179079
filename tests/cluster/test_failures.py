"""Every kind of failure: what is retried, by whom, from which checkpoint, and what the user reads."""

import pytest

from tests.cluster.training_runs import TRAIN
from tests.cluster.waiting import wait_until

pytestmark = pytest.mark.cluster
NEXT_ATTEMPT_S = 420.0
"""The longest wait before an attempt that these tests reach is 120 s; the rest is for its pods to start."""


def test_a_step_out_of_memory_is_not_retried_and_the_message_says_what_to_change(interrupted):
    run = interrupted["out of memory"]
    assert run.follower.wait(timeout_s=900) == 1
    assert "OOMKilled" in run.follower.told
    assert "raise `memory` of the step in the profile" in run.follower.told
    assert "retry 1 of" not in run.follower.told
    assert run.events() == []


def test_bad_input_is_not_retried_and_named(interrupted):
    run = interrupted["bad input"]
    assert run.follower.wait(timeout_s=600) == 1
    assert "step 'pull_dataset'" in run.follower.told
    assert "no-such-branch" in run.follower.told
    assert "retry 1 of" not in run.follower.told
    assert run.events() == []


def test_a_killed_process_is_retried_through_the_api_and_continues_from_its_checkpoint(interrupted):
    run = interrupted["killed"]
    pod = run.wait_for_training()
    run.kill_training(pod)
    line = run.follower.wait_for("; retry 1 of ", timeout_s=300)
    assert TRAIN in line
    assert "signal" in line.lower()
    _require_continued(run, after=pod)
    assert [event["action"] for event in run.events()] == ["retry"]


def test_a_run_that_nobody_follows_is_retried_by_the_supervisor(interrupted, kubectl):
    from pipelines.cluster.supervisor import ACTOR as SUPERVISOR

    if not kubectl.has("deployment", "spineline-supervisor"):
        pytest.skip("no Deployment spineline-supervisor")
    run = interrupted["killed"]
    pod = run.wait_for_training()
    run.end_following()
    before = len(run.events())
    run.kill_training(pod)
    events = wait_until(
        lambda: run.events()[before:], "a retry in the run's record", timeout_s=NEXT_ATTEMPT_S, state=run.describe
    )
    assert [(event["actor"], event["action"]) for event in events] == [(SUPERVISOR, "retry")]
    _require_continued(run, after=pod)


def test_a_deleted_pod_is_tried_again(interrupted, kubectl):
    run = interrupted["changed"]
    pod = run.wait_for_training()
    kubectl.do("delete", "pod", pod.name, "--wait=false")
    _require_continued(run, after=pod)


def test_an_evicted_pod_is_tried_again(interrupted):
    run = interrupted["changed"]
    pod = run.wait_for_training()
    run.evict(pod)
    _require_continued(run, after=pod)


def _require_continued(run, *, after):
    """Require another pod of the step that trains on from a checkpoint."""
    seen = frozenset(pod.uid for pod in run.pods() if pod.created_at <= after.created_at) | {after.uid}
    pod = run.wait_for_training(after=seen, timeout_s=NEXT_ATTEMPT_S)
    log = run.kubectl.do("logs", f"pod/{pod.name}", "--container", "main")
    assert "continued from" in log
